"""The quartic coupling layer by layer: exact linear nets, the recursion of V, planted noise, reasons."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import erf

from nnqft.spec.grid import architectures
from nnqft.spec.load import parse_scan
from nnqft.stages.depth import NOT_SWEPT, flow_with_depth
from nnqft.stages.theory import theory

DEPTHS, WIDTHS = [1, 2, 4], np.array([8, 64])
CRITICAL = float(np.sqrt(np.pi) / 2)
SCAN = {
    "name": "deep",
    "seed": 1,
    "points": {"line": [[0.6], [1.0]]},
    "architectures": {
        "linear": {"network": "linear", "depth": DEPTHS, "points": "line"},
        "erf": {"activation": "erf", "depth": DEPTHS, "sigma_w": CRITICAL, "points": "line"},
        "one": {"activation": "relu", "points": "line"},
    },
    "widths": WIDTHS.tolist(),
    "cumulants": {"orders": [2, 4]},
}


@pytest.fixture(scope="module")
def deep():
    scan = parse_scan(SCAN)
    group = architectures(scan)
    return scan, group, theory(scan, "line", group)


def noisy(exact, seed, size=0.02):
    """Cumulants with replicates: G2 and G4c fluctuate together."""
    rng = np.random.default_rng(seed)
    G2, G4c = exact["G2"].values, exact["G4c"].values
    common = rng.normal(size=(*G2.shape[:2], 64, 1))
    data = {"trusted": (("architecture", "width", "order"), np.full((*G2.shape[:2], 2), True))}
    for name, values, dim, slope in (("G2", G2, "pair", 0.3), ("G4c", G4c, "quad", 1.0)):
        groups = values[:, :, None] * (1 + size * 8 * (slope * common + 0.3 * rng.normal(size=common.shape)))
        data[name] = (("architecture", "width", dim), groups.mean(axis=2))
        replicates = (groups.sum(axis=2, keepdims=True) - groups) / 63
        data[f"{name}_replicate"] = (("architecture", "width", "replicate", dim), replicates)
    coords = {"order": [2, 4], "quad_points": (("quad", "leg4"), exact["quad_points"].values)}
    return xr.Dataset(data, coords).assign_coords(point=[0, 1])


def linear_coupling(depth):
    return -3 * WIDTHS * ((1 + 2 / WIDTHS) ** depth - 1)


def test_linear_nets_flow_as_they_exactly_do(deep):
    scan, group, exact = deep
    found = xr.Dataset(flow_with_depth(scan, group, noisy(exact, 0), exact))
    for a, depth in enumerate(DEPTHS):
        for point in (0, 1):
            np.testing.assert_allclose(
                found["depth_coupling_theory"].values[a, :, point], linear_coupling(depth), rtol=1e-10
            )
    beta = found["depth_beta_theory"].values
    np.testing.assert_allclose(beta[0, :, 0], linear_coupling(2) - linear_coupling(1), rtol=1e-10)
    np.testing.assert_allclose(beta[1, :, 1], (linear_coupling(4) - linear_coupling(2)) / 2, rtol=1e-10)
    assert np.isnan(beta[2]).all()


def variance_recursion(q, C_W, layers):
    """K and V of erf nets on one input after so many hidden layers, by Gauss-Hermite quadrature."""
    z, w = np.polynomial.hermite_e.hermegauss(120)
    w, V = w / w.sum(), 0.0
    for _ in range(layers):
        square = erf(np.sqrt(q) * z) ** 2
        chi = C_W * (w @ (square * (z**2 - 1))) / (2 * q)
        V = C_W**2 * (w @ square**2 - (w @ square) ** 2) + chi**2 * V
        q = C_W * (w @ square)
    return q, V


def test_erf_nets_follow_the_recursion_of_the_variance(deep):
    scan, group, exact = deep
    found = xr.Dataset(flow_with_depth(scan, group, noisy(exact, 0), exact))
    for a, depth in enumerate(DEPTHS, start=3):
        for point, x in enumerate((0.6, 1.0)):
            K, V = variance_recursion(CRITICAL**2 * x**2, CRITICAL**2, depth)
            np.testing.assert_allclose(found["depth_coupling_theory"].values[a, :, point], -3 * V / K**2, rtol=2e-5)
    K, V = variance_recursion(1.0, CRITICAL**2, 1000)
    np.testing.assert_allclose(3 * V / K**2 / 1000, 2, rtol=0.005)


def test_planted_noise_is_covered_by_the_errors(deep):
    scan, group, exact = deep
    pulls = {"coupling": [], "beta": []}
    for seed in range(100):
        found = xr.Dataset(flow_with_depth(scan, group, noisy(exact, seed), exact))
        for what, last in (("coupling", 3), ("beta", 2)):
            value, error, true = (found[f"depth_{what}{end}"].values[:last, :, 1] for end in ("", "_stderr", "_theory"))
            pulls[what].append(((value - true) / error).ravel())
    for values in pulls.values():
        values = np.array(values)
        assert np.abs(values.mean(axis=0)).max() < 4.5 / np.sqrt(100)
        assert np.mean(values**2) == pytest.approx(1, abs=4 * np.sqrt(2 / values.size) + 4 / 63)


def test_status_says_what_is_missing(deep):
    scan, group, exact = deep
    data = noisy(exact, 0)
    data["trusted"][0, 1, 1] = False
    status = flow_with_depth(scan, group, data, exact)["depth_status"][1]
    assert status[0, 0] == ""
    assert "not converged" in status[0, 1]
    assert "no deeper network" in status[2, 0]
    assert set(status[6]) == {NOT_SWEPT}
    few = data.isel(quad=[0])  # aaaa of the first point only
    found = flow_with_depth(scan, group, few, exact.isel(quad=[0]))
    assert np.isfinite(found["depth_coupling"][1][:3, :, 0]).all()
    assert np.isnan(found["depth_coupling"][1][:3, :, 1]).all()
    assert "not selected at every point" in found["depth_status"][1][0, 0]
    none = flow_with_depth(scan, group, data.drop_vars(["G4c", "G4c_replicate"]), exact)
    assert np.isnan(none["depth_coupling"][1]).all()
    assert "was not estimated" in none["depth_status"][1][0, 0]
    data["G2"][0, 0, 0] = data["G2_replicate"][0, 0, :, 0] = 0.0
    assert "does not fluctuate" in flow_with_depth(scan, group, data, exact)["depth_status"][1][0, 0]
