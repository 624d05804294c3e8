"""Figures of the flows with depth and with sigma_w: what they plot, and when a scan has them."""

import numpy as np
import pytest
import xarray as xr

from nnqft.figures import depth, potential
from nnqft.figures.style import image
from nnqft.figures.sweeps import panel_names, sweeps
from nnqft.spec.load import parse_scan
from nnqft.stages.gallery import figures, galleries

WIDTHS = [16, 64, 256, 4096, 65536]
SCAN = {
    "name": "kinds",
    "seed": 1,
    "points": {"line": [[0.5], [1.0]], "near": [[0.1]]},
    "architectures": {
        "erf": {"activation": "erf", "depth": [4, 1], "points": "line"},
        "gauss": {"activation": "gauss", "sigma_w": [1.0, 0.5], "points": "near"},
    },
    "widths": WIDTHS,
}


def coordinates(**columns):
    """Coordinates of architectures: those given, and the same for all else."""
    size = len(next(iter(columns.values())))
    plain = {"family": "net", "network": "mlp", "activation": "gauss", "depth": 1, "sigma_w": 1.0, "sigma_b": 0.0}
    filled = {key: columns.get(key, [value] * size) for key, value in (plain | {"options": "{}"}).items()}
    data = {key: ("architecture", np.array(v, dtype=object if isinstance(v[0], str) else None))
            for key, v in filled.items()}  # fmt: skip
    return data | {"architecture": np.array([f"a{i}" for i in range(size)], dtype=object), "width": WIDTHS}


def trusted(size):
    good = np.ones((size, len(WIDTHS), 3), dtype=bool)
    good[0, 0, 2] = False
    return xr.Dataset({"trusted": (("architecture", "width", "order"), good)}, {"order": [2, 4, 6]})


@pytest.fixture(scope="module")
def deep():
    """Two linear sweeps, exact and to leading order."""
    depths, N = np.array([1, 2, 4, 8] * 2), np.array(WIDTHS, dtype=float)
    names = ["exact"] * 4 + ["lead$ing"] * 4
    exact = -3 * N * ((1 + 2 / N) ** depths[:, None] - 1)
    flow = {
        f"depth_{key}{end}": (("architecture", "width", "point"), np.stack([exact, exact * factor], axis=2))
        for key in ("coupling", "beta")
        for end, factor in (("", 1.01), ("_stderr", -0.02), ("_theory", 1.0))
    }
    flow["depth_coupling_theory"][1][4:] = -6 * depths[4:, None, None]
    flow["depth_status"] = (("architecture", "width"), np.full(exact.shape, "", dtype=object))
    kinds = np.array([["exact"] * 3] * 4 + [["leading-1/N"] * 3] * 4, dtype=object)
    theory = xr.Dataset({"prediction": (("architecture", "order"), kinds)}, {"order": [2, 4, 6]})
    return xr.Dataset(flow, coordinates(depth=depths, family=names)), trusted(8), theory


@pytest.fixture(scope="module")
def gauss():
    """Couplings of one Gauss-net that follow tree level, an LPA flow that is flat."""
    sigma, N = np.array([1.0, 0.5, 2.0]), np.array(WIDTHS, dtype=float)
    data = {}
    for u, power, order in (("u4", 3, 1), ("u6", 4, 2)):
        values = -(10.0 ** (2 * order)) * sigma[:, None] ** power / N**order
        data |= {u: values, f"{u}_stderr": 0.1 * np.abs(values), f"{u}_tree": values * 1.1}
        data |= {f"{u}_lpa": values[2] + 0 * values, f"{u}_lpa_stderr": 0.1 * np.abs(values[2]) + 0 * values}
    for end, number in (("", 3.02), ("_stderr", 0.03), ("_tree", 3.0)):
        data[f"u4_exponent{end}"] = np.full(values.shape, number)
    flow = {name: (("architecture", "width"), values) for name, values in data.items()}
    flow["potential_status"] = (("architecture", "width"), np.full((3, 5), "", dtype=object))
    return xr.Dataset(flow, coordinates(sigma_w=sigma)), trusted(3)


def test_only_scans_that_sweep_have_these_figures():
    kinds = figures(parse_scan(SCAN))
    usual = ["deviations", "scaling", "couplings", "pulls", "sextic", "sixpoints", "action"]
    assert list(kinds) == [*usual, "depth", "potential"]
    assert sorted(name for job in galleries(parse_scan(SCAN)).values() for name in job) == sorted(kinds)
    assert (kinds["depth"].points, kinds["potential"].points) == (("line",), ("near",))
    assert "depth" in figures(parse_scan(SCAN | {"cumulants": {"orders": [2, 4]}}))
    assert "potential" not in figures(parse_scan(SCAN | {"cumulants": {"orders": [2, 4]}}))
    assert "depth" not in figures(parse_scan(SCAN | {"cumulants": {"orders": [2]}}))


def test_sweeps_of_a_dataset_are_named_by_what_tells_them_apart():
    data = xr.Dataset(coords=coordinates(depth=[1, 2, 1, 2], sigma_w=[1.0, 1.0, 1.5, 1.5]))
    found = sweeps(data, "depth")
    assert found == [[0, 1], [2, 3]]
    assert panel_names(data, found) == [r"net, $\sigma_w=1$", r"net, $\sigma_w=1.5$"]
    assert panel_names(data, found[:1]) == ["net"]


def test_the_depth_figure_plots_the_last_point_for_a_few_widths(deep, texts):
    figure, numbers = depth.plot(*deep, "line")
    rows = [row for row in numbers.records() if row["architecture"] == "a3"]
    assert [row["width"] for row in rows] == WIDTHS
    assert sum(row["drawn"] for row in rows) == 4
    assert {row["point"] for row in rows} == {1}
    assert rows[0]["coupling"] == pytest.approx(1.01 * -3 * 16 * (1.125**8 - 1))
    words = texts(figure)
    for expected in ("exact", r"lead\$ing", "hidden layers $l$", "$-u(l)$", "leading order in $1/N$", "$N=65536$"):
        assert expected in words
    black = [line for line in figure.axes[1].lines if line.get_color() == "black"]
    np.testing.assert_allclose(black[0].get_ydata(), [6, 12, 24, 48])
    assert not [line for line in figure.axes[0].lines if line.get_color() == "black"]
    assert image(figure, "png")


def test_the_potential_figure_scales_out_the_width(gauss, texts):
    figure, numbers = potential.plot(*gauss, "near")
    rows = [row for row in numbers.records() if row["coupling"] == "u6" and row["sigma_w"] == 2.0]
    assert [row["scaled_value"] for row in rows] == pytest.approx([-160000.0] * 5)
    assert [row["scaled_tree"] for row in rows] == pytest.approx([-176000.0] * 5)
    words = texts(figure)
    for expected in (r"$-N\,u_4$", r"$-N^2\,u_6$", "power $3.020(30)$", "tree level", "hollow, grey"):
        assert expected in words
    assert len(figure.axes[0].collections) >= 4  # bands
    assert image(figure, "pdf")


def test_panels_say_why_they_are_empty(deep, gauss, texts):
    flow, cumulants, theory = (data.copy(deep=True) for data in deep)
    flow["depth_coupling"][:4] = np.nan
    flow["depth_status"][:4] = "the four-point cumulant was not estimated (cumulants.orders)"
    assert "the four-point cumulant" in texts(depth.plot(flow, cumulants, theory)[0])
    flow, cumulants = (data.copy(deep=True) for data in gauss)
    for name in ("u6", "u6_lpa", "u6_tree", "u4_lpa"):
        flow[name][:] = np.nan
    flow["potential_status"][:] = "no flow: no kappa"
    figure = potential.plot(flow, cumulants)[0]
    assert "no u6: no flow: no kappa" in texts(figure)
    flow["u4_lpa"][:] = 1e3
    assert image(potential.plot(flow, cumulants)[0], "png")
