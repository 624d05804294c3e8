"""Figures of criticality.zarr: what they plot is what the store has, and whatever is missing leaves a figure."""

import numpy as np
import pytest
import xarray as xr
from criticality_data import criticality_groups

from nnqft.criticality.scale_invariant import relative_variance
from nnqft.figures import collapse, corrections, dynamics, exponents, lengths, phase
from nnqft.figures.critical import label, phases, spread, transition
from nnqft.figures.style import image

FIGURES = {f.__name__.rpartition(".")[2]: f for f in (phase, exponents, lengths, corrections, collapse, dynamics)}


@pytest.fixture(scope="module")
def critical():
    """Point set -> its group."""
    with pytest.MonkeyPatch.context() as patch:
        return criticality_groups(patch)


def stored(data, row, name, **more):
    """One number of the store, at the architecture and (if it has one) the width of a row."""
    at = {"architecture": row["architecture"], "width": row["width"]}
    return data[name].sel({key: value for key, value in at.items() if key in data[name].dims}).isel(more).item()


def same(numbers, data, columns):
    """Columns equal variables at every row; returns how many numbers there were."""
    found = 0
    for row in numbers.records():
        for column, name in columns.items():
            name = name.format(**row)
            np.testing.assert_equal(row[column], stored(data, row, name))
            found += bool(np.isfinite(row[column]))
    return found


def test_exponents_are_those_of_the_store(critical, texts):
    names = ("lyapunov", "lyapunov_stderr", "lyapunov_annealed", "lyapunov_annealed_stderr", "lyapunov_theory")
    for points, rows in (("pair", 12), ("one", 6)):
        figure, numbers = exponents.plot(critical[points], points)
        assert len(numbers.rows) == rows
        assert same(numbers, critical[points], dict(zip(names, names, strict=True))) == rows * len(names)
        assert all(row["sigma_w_squared"] == row["sigma_w"] ** 2 for row in numbers.records())
        assert not any(numbers.column("lyapunov_annealed_trusted"))
        assert "not converged" in texts(figure)


def test_lengths_are_those_of_the_store(critical):
    columns = {
        "measured": "{scale}_measured", "measured_stderr": "{scale}_measured_stderr", "decay": "{scale}_decay",
        "mean_field": "{scale}", "corrected": "{scale}_corrected", "chi_perp": "chi_perp",
    }  # fmt: skip
    figure, numbers = lengths.plot(critical["pair"], "pair")
    assert same(numbers, critical["pair"], columns) > 100
    assert {row["scale"] for row in numbers.records()} == {"xi_c", "xi_q"}
    assert figure.axes[0].get_yscale() == "log"
    broken = [line for line in figure.axes[0].lines if line.get_color() == "black"]
    assert [len(line.get_xdata()) for line in broken] == [2, 1]  # order and chaos are not joined


def test_corrections_are_scaled_differences_with_their_chi2(critical):
    data = critical["pair"]
    figure, numbers = corrections.plot(data, "pair")
    first = numbers.rows[0][0]
    assert {row["architecture"] for row in numbers.records()} == {
        name for name in data["architecture"].values if data["c_star"].sel(architecture=name) == 1 and "tanh" in name
    }
    for row in numbers.records():
        value, error = (stored(data, row, f"lambda_{row['rate']}{end}") for end in ("", "_stderr"))
        chi, change = stored(data, row, f"chi_{row['rate']}"), stored(data, row, f"d_lambda_{row['rate']}")
        assert row["scaled"] == pytest.approx(row["width"] * (value - chi), rel=1e-12)
        assert row["scaled_stderr"] == pytest.approx(row["width"] * error, rel=1e-12)
        assert (row["chi"], row["prediction"]) == (chi, change)
        scale = {"par": "xi_q", "perp": "xi_c"}[row["rate"]]
        assert row["xi_ratio"] == pytest.approx(stored(data, row, f"{scale}_measured") / stored(data, row, scale))
        at = data.sel(architecture=row["architecture"])
        measured, spread_ = at[f"lambda_{row['rate']}"].values, at[f"lambda_{row['rate']}_stderr"].values
        for column, model in (("chi2_corrected", chi + change / at["width"].values), ("chi2_uncorrected", chi)):
            assert row[column] == pytest.approx(np.sum(((measured - model) / spread_) ** 2), rel=1e-9)
        assert row["dof"] == 2
    curve = next(line for line in figure.axes[3].lines if len(line.get_xdata()) > 100)
    n, ratio = curve.get_data()
    near = np.interp([8, 32], n, ratio)
    wanted = [r["xi_ratio_corrected"] for r in numbers.records() if (r["rate"], r["architecture"]) == ("perp", first)]
    np.testing.assert_allclose(near, wanted, rtol=1e-4)


def test_the_collapse_is_the_relative_variance(critical, texts):
    data = critical["pair"]
    figure, numbers = collapse.plot(data, "pair")
    assert "the 4 nearest to criticality of 7" in texts(figure)
    assert next(numbers.records())["architecture"] == "relu"  # the only critical one comes first
    for row in numbers.records():
        at = {"layer": row["layer"] - 1, "pair": 0}
        V, error = (stored(data, row, f"V_measured{end}", **at, pair_b=0) for end in ("", "_stderr"))
        scale = row["width"] * stored(data, row, "K_measured", **at) ** 2
        assert row["layers_over_width"] == (row["layer"] - 1) / row["width"]
        assert row["relative_variance"] == pytest.approx(V / scale, rel=1e-12)
        assert row["relative_variance_stderr"] == pytest.approx(error / scale, rel=1e-12)
        if row["architecture"] == "relu":
            assert row["theory"] == pytest.approx((1 + 5 / row["width"]) ** (row["layer"] - 1) - 1, rel=1e-10)
            assert row["limit"] == pytest.approx(np.expm1(5 * row["layers_over_width"]), rel=1e-12)
        else:
            theory = stored(data, row, "V_pairs", **at, pair_b=0) / stored(data, row, "K", **at) ** 2
            assert row["theory"] == pytest.approx(theory / row["width"], rel=1e-12)
    assert relative_variance("relu", 1, 8) == pytest.approx(5 / 8)


def test_the_phase_diagram_has_the_map_the_boundary_and_the_crossings(critical):
    data = critical["pair"]
    _, numbers = phase.plot(data, "pair")
    rows = {kind: [r for r in numbers.records() if r["quantity"] == kind] for kind in numbers.column("quantity")}
    assert {kind: len(found) for kind, found in rows.items()} == {
        "xi_c": 2 * 48, "boundary": 2 * 6, "critical": 4, "network": 7,
    }  # fmt: skip
    for row in rows["xi_c"]:
        at = {"unit": row["unit"], "map_sigma_w": row["sigma_w"], "map_sigma_b": row["sigma_b"]}
        np.testing.assert_equal(row["value"], data["map_xi_c"].sel(at).item())
    for row in rows["boundary"]:
        at = {"unit": row["unit"], "map_sigma_b": row["sigma_b"]}
        np.testing.assert_equal(row["sigma_w"], data["boundary_sigma_w"].sel(at).item())
    for row in rows["critical"]:
        a = np.flatnonzero((data["sigma_b"].values == row["sigma_b"]) & (data["family"].values == "tanh"))[0]
        at = data.isel(architecture=a).sel(width=row["width"])
        assert row["sigma_w"] == at["critical_sigma_w"].item() > 0
        assert row["value_stderr"] == at["critical_sigma_w_stderr"].item()


def test_correlators_are_those_of_the_largest_width(critical):
    data = critical["one"]
    _, numbers = dynamics.plot(data, "one")
    assert {(r["architecture"], r["phase"]) for r in numbers.records()} == {
        ("rnn[sigma_w=2.0]", "chaotic"), ("rnn[sigma_w=0.8]", "ordered")
    }  # fmt: skip
    for row in numbers.records():
        at = {"time": row["s"]} if row["quantity"] == "C(tau)" else {"time": row["t"], "time_b": row["s"]}
        name = "autocorrelation" if row["quantity"] == "C(tau)" else "two_time"
        assert row["width"] == 32
        assert row["measured"] == stored(data, row, name, **at)
        assert row["measured_stderr"] == stored(data, row, f"{name}_stderr", **at)
        assert row["theory"] == stored(data, row, f"{name}_theory", **at)


def test_where_chi_perp_passes_one():
    sigma = np.array([0.5, 1.0, 2.0, 4.0])
    assert transition(sigma, (sigma / 1.7) ** 2) == pytest.approx(1.7, rel=1e-12)  # a power is linear in logarithms
    assert np.isnan(transition(sigma, sigma / 10))
    assert [part.tolist() for part in phases(np.array([0.5, 1.0, 1.1]))] == [[0, 1], [2]]
    assert spread(list(range(10)), 4, "x") == ([0, 3, 6, 9], "4 of 10 x")
    assert spread([7], 4, "x") == ([7], "")


def gone(data):
    """Nothing could be measured or predicted."""
    return data.map(lambda v: v * np.nan if v.dtype == np.float64 else v)


def many(data):
    """A scan with a hundred architectures, of a family with a dollar in its name."""
    names = np.array([f"n$o[{i}]" for i in range(105)], dtype=object)
    parts = [data] * (-(-105 // data.sizes["architecture"]))
    wide = xr.concat(parts, "architecture", data_vars="minimal", coords="minimal").isel(architecture=slice(105))
    family = np.array([f"f$_{i // data.sizes['architecture']}" for i in range(105)], dtype=object)
    return wide.assign_coords(architecture=names, family=("architecture", family))


EDGES = {
    "one width": lambda data: data.isel(width=[0]),
    "one architecture": lambda data: data.isel(architecture=[0]),
    "one point": lambda data: data.isel(pair=[0], pair_b=[0]) if "pair_b" in data.dims else data.isel(pair=[0]),
    "nothing known": gone,
    "a hundred": many,
}


@pytest.mark.parametrize("name", FIGURES)
def test_whatever_is_missing_there_is_a_figure(name, critical):
    for points, data in critical.items():
        for edge in EDGES.values():
            figure, _ = FIGURES[name].plot(edge(data), points)
            assert figure.axes


@pytest.mark.parametrize(("name", "points", "edge"), [
    ("phase", "pair", "a hundred"), ("exponents", "one", "nothing known"), ("lengths", "pair", "one width"),
    ("lengths", "pair", "nothing known"), ("corrections", "pair", "a hundred"), ("dynamics", "one", "nothing known"),
    ("collapse", "pair", "nothing known"), ("corrections", "one", "one width"),
])  # fmt: skip
def test_and_it_can_be_drawn_and_says_why(name, points, edge, critical, texts):
    figure, _ = FIGURES[name].plot(EDGES[edge](critical[points]), points)
    assert image(figure, "png").startswith(b"\x89PNG")
    if edge == "nothing known" or (name, points) == ("corrections", "one"):
        assert any(word in texts(figure) for word in ("no ", "nothing"))
    if (name, edge) == ("corrections", "a hundred"):
        assert "4 of 60 ordered architectures" in texts(figure)


def test_names_for_people(critical):
    data = critical["pair"]
    assert label(data, list(data["architecture"].values).index("relu")) == "relu"
    assert label(data, 0) == r"tanh, $\sigma_w=0.8$, $\sigma_b=0.2$"
