"""Canonical couplings of Gauss-nets against sigma_w, from planted lambda and kappa; the flow against another solver."""

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from nnqft.spec.grid import architectures
from nnqft.spec.load import parse_scan
from nnqft.stages.gallery import potential_sweeps
from nnqft.stages.potential import NOT_SWEPT, flow_with_sigma

SIGMAS, WIDTHS = [0.5, 1.0, 2.0], [10_000, 100_000]
SCAN = {
    "name": "gauss",
    "seed": 1,
    "points": {"near": [[0.0], [0.01]]},
    "architectures": {
        "gauss": {"activation": "gauss", "sigma_w": [1.0, 0.5, 2.0], "sigma_b": 1.0, "points": "near"},
        "deep": {"activation": "gauss", "sigma_w": [1.0, 2.0], "depth": 2, "points": "near"},
        "erf": {"activation": "erf", "sigma_w": [1.0, 2.0], "points": "near"},
    },
    "widths": WIDTHS,
    "couplings": {"cutoffs": [5, 20], "models": [["lambda_0", "lambda_2"], ["lambda_0"]]},
}
ORDER = [1, 0, 2]  # positions of the rising sigmas


@pytest.fixture(scope="module")
def scan():
    return parse_scan(SCAN)


def stores(scan, seed=0, error=0.01):
    """(cumulants, couplings) with N lambda = -5.3457 sigma_w^-3, N^2 kappa = -2947.9 sigma_w^-5, as at small points."""
    rng, group = np.random.default_rng(seed), architectures(scan)
    shape = len(group), len(WIDTHS), 2, 2
    dims = ("architecture", "width", "cutoff", "model")
    data = {}
    for name, height, power, order in (("lambda_0", -5.3457, -3, 1), ("kappa", -2947.9, -5, 2)):
        values = np.full(shape, np.nan)
        samples = np.full((*shape, 64), np.nan)
        for a, w in np.ndindex(3, 2):
            true = height * group[a].sigma_w ** power / WIDTHS[w] ** order
            groups = true * (1 + error * 8 * rng.normal(size=64))
            values[a, w, 1, 1] = groups.mean()
            samples[a, w, 1, 1] = (groups.sum() - groups) / 63
        data[name], data[f"{name}_replicate"] = (dims, values), ((*dims, "replicate"), samples)
    good = xr.Dataset({"trusted": (("architecture", "width", "order"), np.full((len(group), 2, 3), True))})
    models = np.array(["lambda_0+lambda_2", "lambda_0"], dtype=object)
    return good.assign_coords(order=[2, 4, 6]), xr.Dataset(data, {"model": models, "width": WIDTHS})


def flow(scan, cumulants, fitted):
    return xr.Dataset(flow_with_sigma(scan, architectures(scan), cumulants, fitted))


def wetterich(log_k, u):
    """The equations as printed for d = 1: V_1 = 1 / pi."""
    k = np.exp(log_k)
    b2, b4, b6 = u[0] / k**2, u[1] * k**-3, u[2] * k**-4
    du2 = -(k**2) * b4 / (1 + b2) ** 2
    du4 = k**3 * (6 * b4**2 / (1 + b2) - b6) / (1 + b2) ** 2
    du6 = k**4 * b4 * (30 * b6 - 90 * b4**2 / (1 + b2)) / (1 + b2) ** 3
    return np.array([du2, du4, du6]) / np.pi


def test_which_sweeps_have_a_potential(scan):
    group = architectures(scan)
    assert potential_sweeps(group) == [ORDER]
    assert potential_sweeps(group[:1]) == []


def test_measured_couplings_tree_level_and_flow(scan):
    found = flow(scan, *stores(scan, error=1e-9))
    for a, sigma in zip(ORDER, SIGMAS, strict=True):
        K0 = np.sqrt(2 * np.pi) * sigma
        Z = 1 / (2 * sigma**2 * K0)
        for w, N in enumerate(WIDTHS):
            exact = 2 * sigma**2, -24 * 5.3457 * sigma**-3 / Z**2 / N, -720 * 2947.9 * sigma**-5 / Z**3 / N**2
            for kind in ("", "_tree"):
                measured = [found[f"{u}{kind}"].values[a, w] for u in ("u2", "u4", "u6")]
                np.testing.assert_allclose(measured, exact, rtol=1e-7)
    start = [found[u].values[2, 1] for u in ("u2", "u4", "u6")]
    other = solve_ivp(wetterich, np.log([2.0, 0.5]), start, t_eval=np.log([1.0, 0.5]), rtol=1e-11, atol=1e-14)
    lpa = np.array([found[f"{u}_lpa"].values[:2, 1] for u in ("u2", "u4", "u6")])
    np.testing.assert_allclose(lpa, other.y, rtol=1e-6)
    assert [found[f"{u}_lpa"].values[2, 1] for u in ("u2", "u4", "u6")] == start
    assert found["potential_status"].values[:3].tolist() == [["", ""]] * 3
    assert found["u4_exponent_tree"].values[:3].tolist() == [[3, 3]] * 3


def test_errors_are_those_of_the_scatter(scan):
    """u4 and u6 of the flow, and the power of sigma_w, over samples; 3% errors of both couplings."""
    flows = [flow(scan, *stores(scan, seed, error=0.03)) for seed in range(60)]
    for name in ("u4", "u4_tree", "u4_lpa", "u6_lpa", "u4_exponent"):
        values, errors = (np.array([f[name + end].values[1, 1] for f in flows]) for end in ("", "_stderr"))
        assert values.std() == pytest.approx(np.sqrt(np.mean(errors**2)), rel=0.35), name
    pulls = [(f["u4_exponent"].values[0, 0] - 3) / f["u4_exponent_stderr"].values[0, 0] for f in flows]
    assert abs(np.mean(pulls)) < 4 / np.sqrt(60)


@pytest.mark.parametrize("how", ["nan", "no replicates"])
def test_without_kappa_there_is_tree_level_only(scan, how):
    cumulants, fitted = stores(scan)
    if how == "nan":
        fitted["kappa"][:] = fitted["kappa_replicate"][:] = np.nan
    else:
        fitted = fitted.drop_vars("kappa_replicate")
    found = flow(scan, cumulants, fitted)
    assert np.isfinite([found[name].values[:3] for name in ("u2", "u4", "u4_stderr", "u4_tree", "u4_exponent")]).all()
    assert np.isnan([found[name].values[:3] for name in ("u6", "u4_lpa", "u6_lpa_stderr", "u6_tree")]).all()
    assert found["potential_status"].values[0, 0] == (
        "no flow: model {lambda_0} has no kappa at sigma_w = 2, where it starts"
    )


def test_a_singular_flow_is_told(scan):
    cumulants, fitted = stores(scan)
    for end in ("", "_replicate"):
        fitted[f"lambda_0{end}"][2, 0] *= 1000
    found = flow(scan, cumulants, fitted)
    assert "singular" in found["potential_status"].values[1, 0]
    assert np.isnan(found["u4_lpa"].values[1, 0])
    assert found["potential_status"].values[1, 1] == ""


def test_couplings_that_are_not_constant_are_told(scan):
    cumulants, fitted = stores(scan)
    for name, value in (("p_value", 0.5), ("kappa_p_value", 1e-5)):
        fitted[name] = (fitted["kappa"].dims, np.full(fitted["kappa"].shape, value))
    fitted["kappa_p_value"][1] = np.nan
    status = flow(scan, cumulants, fitted)["potential_status"].values
    assert status[0, 0] == "a constant kappa is rejected: what was fitted means little"
    assert status[1, 0] == ""


def test_what_has_no_potential_says_why(scan):
    cumulants, fitted = stores(scan)
    cumulants["trusted"][0, 0, 2] = False
    found = flow(scan, cumulants, fitted)
    assert set(found["potential_status"].values[3:].flat) == {NOT_SWEPT}
    assert np.isnan(found["u4"].values[3:]).all()
    assert "not converged" in found["potential_status"].values[0, 0]
    no_model = flow(scan, cumulants, fitted.isel(model=[0]))
    assert "has no lambda_0 and kappa" in no_model["potential_status"].values[1, 0]
