"""Samples against exact results: HMS's three nets at small and large width, and the plain route against the default."""

import numpy as np
import pytest
import xarray as xr

from nnqft.estimation.agreement import combined_p, look_elsewhere
from nnqft.figures.comparison import compare
from nnqft.sampling.budget import budget
from nnqft.sampling.cells import leaves
from nnqft.sampling.check import check
from nnqft.spec.load import parse_scan
from nnqft.stages.assemble import assemble
from nnqft.stages.couplings import couplings
from nnqft.stages.cumulants import estimate_cumulants
from nnqft.stages.ensemble import generate
from nnqft.stages.flow import flow
from nnqft.stages.layout import Layout, by_points
from nnqft.stages.theory import theory

POINTS = {
    "relu-ray": [[0.2], [0.4], [0.6], [0.8], [1.0], [1.2]],
    "erf-line": [[-1.0], [-0.6], [-0.2], [0.2], [0.6], [1.0]],
    "gauss-line": [[-0.01], [-0.006], [-0.002], [0.002], [0.006], [0.01]],
}
NETS = {
    "relu": {"activation": "relu", "points": "relu-ray"},
    "erf": {"activation": "erf", "sigma_b": 1.0, "points": "erf-line"},
    "gauss": {"activation": "gauss", "sigma_b": 1.0, "points": "gauss-line"},
}
PREDICTED = {"G2": 2, "G4c": 4, "G6c": 6}


def measured(root, seed, nets, widths, networks, **ensemble):
    """cumulants and theory by point set, from the real pipeline in this process."""
    data = {
        "name": "t", "seed": seed, "points": POINTS, "architectures": nets, "widths": widths,
        "ensemble": {"networks": networks, "block": 16384, "replicates": 128} | ensemble,
    }  # fmt: skip
    scan = check(parse_scan(data), "test")
    layout = Layout(root)
    for leaf in leaves(scan):
        generate(leaf, budget(scan), layout.leaf(leaf.name), "inline")
    assemble(scan, layout)
    estimate_cumulants(scan, layout)
    tree = xr.open_datatree(layout.store("cumulants"), engine="zarr")
    groups = by_points(scan)
    return scan, {p: (tree[p].to_dataset().load(), theory(scan, p, group), group) for p, group in groups.items()}


@pytest.fixture(scope="module")
def hms(tmp_path_factory):
    return measured(tmp_path_factory.mktemp("hms"), 1, NETS, [2, 5, 20, 100], 131_072)


def test_every_trusted_component_is_within_five_errors_of_exact(hms):
    looks, worst = 0, 0.0
    p_values = {name: [] for name in PREDICTED}
    for points, (data, exact, _) in hms[1].items():
        for cell in compare(data, exact):
            if points == "gauss-line" or not cell.tested:
                continue
            looks += cell.result.components
            worst = max(worst, cell.result.worst)
            p_values[cell.name].append(cell.result.p_value)
    assert looks == 2 * 4 * (21 + 126 + 462)
    assert worst < 5
    assert look_elsewhere(worst, int(looks)) > 1e-4
    for values in p_values.values():
        assert combined_p(np.array(values)) > 1e-3


def test_relu_and_erf_are_trusted_and_the_gauss_net_is_flagged(hms):
    data = {p: d for p, (d, _, _) in hms[1].items()}
    assert data["relu-ray"]["trusted"].all()
    assert data["erf-line"]["trusted"].all()
    assert not data["gauss-line"]["trusted"].sel(order=[4, 6]).any()


@pytest.mark.parametrize("change", ["2% error", "wrong sign", "dropped pairing"])
def test_a_wrong_prediction_is_rejected(hms, change):
    """Negative controls: each planted mistake must fail where the truth passes."""
    data, exact, _ = hms[1]["erf-line"]
    wrong = exact.copy(deep=True)
    factor = {"2% error": 1.02, "wrong sign": -1.0, "dropped pairing": 2 / 3}[change]
    wrong["G4c"] = wrong["G4c"] * factor
    p = combined_p(np.array([c.result.p_value for c in compare(data, wrong) if c.name == "G4c"]))
    assert p < 1e-6


def test_deviation_of_the_relu_four_point_function_is_five_over_n(hms):
    """HMS: m_4 = (G4 - G4_GP) / G4_GP = 5/N for every component of the ReLU-net on a ray."""
    data, exact, _ = hms[1]["relu-ray"]
    free = exact["G4_gp"].values[0]
    for w, width in enumerate(data["width"].values):
        samples = data["G4_replicate"].values[0, w] / free - 1
        m4 = float((data["G4"].values[0, w] / free - 1).mean())
        error = float(np.sqrt((len(samples) - 1) * samples.mean(axis=1).var()))
        assert abs(m4 - 5 / width) < 4 * error
        assert error < 0.15 * 5 / width or width == 100


def test_relu_coupling_is_minus_twelve_and_a_half_and_runs_with_slope_minus_five(hms):
    scan, groups = hms
    data, exact = ({points: found[i] for points, found in groups.items()} for i in (0, 1))
    fitted = couplings(scan, "relu-ray", data, exact)
    flowing = flow(scan, "relu-ray", data, {"relu-ray": fitted}, exact)
    scale = fitted["width"] * fitted["cutoff"] ** 5
    pulls = ((fitted["lambda_0"] * scale + 12.5) / (fitted["lambda_0_stderr"] * scale)).values
    assert np.abs(pulls).max() < 4
    assert (fitted["lambda_0_stderr"] * scale).max() < 0.15
    np.testing.assert_allclose(flowing["slope_lambda"], -5, atol=1e-10)
    exponent, error = flowing["width_exponent"].values[0], flowing["width_exponent_stderr"].values[0]
    assert np.abs((exponent - [-1, -2]) / error).max() < 4


def test_gauss_coupling_is_flagged_as_untrusted(hms):
    scan, groups = hms
    data, exact = ({points: found[i] for points, found in groups.items()} for i in (0, 1))
    status = couplings(scan, "gauss-line", data, exact)["status"].values
    assert all("not converged" in text for text in status.ravel())


@pytest.mark.parametrize(
    ("nets", "widths"),
    [(NETS, [5, 20]), pytest.param({"erf3": NETS["erf"] | {"depth": 3}}, [5], marks=pytest.mark.slow)],
)
def test_the_plain_sampler_with_the_product_estimator_agrees(tmp_path, nets, widths):
    _, default = measured(tmp_path / "a", 2, nets, widths, 131_072)
    _, plain = measured(tmp_path / "b", 3, nets, widths, 262_144, sampler="weights", estimator="product")
    for points, (a, _, _) in default.items():
        b = plain[points][0]
        for name, order in PREDICTED.items():
            trusted = (a["trusted"] & b["trusted"]).sel(order=order).values
            if points == "gauss-line" and order > 2:
                assert not trusted.any()
            error = np.hypot(a[f"{name}_stderr"].values, b[f"{name}_stderr"].values)[trusted]
            pulls = (a[name].values - b[name].values)[trusted] / np.maximum(error, 1e-300)
            assert np.abs(pulls[np.isfinite(pulls)]).max(initial=0) < 5


@pytest.mark.slow
def test_deep_networks_approach_the_leading_order(tmp_path):
    """tanh, three layers: N G4c at N = 64 against leading 1/N; the remainder is O(1/N)."""
    net = {"tanh3": {"activation": "tanh", "depth": 3, "sigma_w": 1.3, "sigma_b": 0.3, "points": "erf-line"}}
    _, groups = measured(tmp_path, 4, net, [64], 49_152)
    data, leading, _ = groups["erf-line"]
    assert leading["prediction"].sel(order=4).item() == "leading-1/N"
    assert leading["prediction"].sel(order=6).item() == "none"
    large = np.abs(leading["G4c"].values) > 0.2 * np.abs(leading["G4c"].values).max()
    ratio = data["G4c"].values[large] / leading["G4c"].values[large]
    error = data["G4c_stderr"].values[large] / np.abs(leading["G4c"].values[large])
    assert np.abs(ratio - 1).max() < 0.12 + 4 * error.max()
    free = leading["G2_gp"].values[0]
    shift = data["G2"].values[0, 0] - free
    predicted = leading["G2"].values[0, 0] - free
    assert np.abs(shift - predicted).max() < 4 * data["G2_stderr"].values.max() + 0.3 * np.abs(predicted).max()
    assert np.abs(shift / data["G2_stderr"].values[0, 0]).max() > 5  # the 1/N correction is seen
