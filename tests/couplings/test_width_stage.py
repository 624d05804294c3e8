"""Powers of the width in flow.zarr, from stores with planted cumulants and couplings."""

import numpy as np
import pytest
import xarray as xr

from nnqft.spec.load import parse_scan
from nnqft.stages.widths import flow_with_width

WIDTHS = [5, 10, 20, 50, 100]
SCAN = {
    "name": "planted",
    "seed": 1,
    "points": {"one": [[1.0]]},
    "architectures": {"net": {"activation": "erf", "points": "one"}},
    "widths": WIDTHS,
    "couplings": {"cutoffs": [7, 10], "models": [["lambda_0"], ["lambda_2"]]},
}


def stores(seed=0, kappa=True, trusted=True):
    """(cumulants, couplings, theory): G4c = 2/N (1 + 3/N), G6c = -1/N^2, lambda = -1/N, kappa = 5/N^2, errors of 1%."""
    rng, n = np.random.default_rng(seed), np.array(WIDTHS, dtype=float)
    dims, variables, theory = ("architecture", "width"), {}, {}
    for order, exact, component in ((4, 2 / n * (1 + 3 / n), "quad"), (6, -1 / n**2, "sext")):
        groups = exact[:, None] * (1 + 0.01 * np.sqrt(64) * rng.normal(size=(5, 64)))
        replicates = (groups.sum(axis=1, keepdims=True) - groups) / 63
        variables[f"G{order}c"] = ((*dims, component), groups.mean(axis=1)[None, :, None])
        variables[f"G{order}c_replicate"] = ((*dims, "replicate", component), replicates[None, ..., None])
        theory[f"G{order}c"] = ((*dims, component), np.full((1, 5, 1), np.nan if order == 6 else 1.0))
    good = np.full((1, 5, 3), True)
    good[0, 0] = trusted
    variables["trusted"] = ((*dims, "order"), good)
    shape, fitted = (1, 5, 2, 2), {}
    for name, exact in (("lambda_0", -1 / n), ("kappa", 5 / n**2)):
        error = 0.01 * np.abs(exact)[:, None] * np.ones((5, 2))
        values = exact[:, None] + error * rng.normal(size=(5, 1))
        for end, array in (("", values), ("_stderr", error)):
            fitted[name + end] = ((*dims, "cutoff", "model"), np.full(shape, np.nan))
            if kappa or name != "kappa":
                fitted[name + end][1][0, :, :, 0] = array
    coords = {"width": WIDTHS, "order": [2, 4, 6]}
    return xr.Dataset(variables, coords), xr.Dataset(fitted, {"width": WIDTHS}), xr.Dataset(theory)


def flow(**changes):
    cumulants, fitted, theory = stores(**changes)
    return xr.Dataset(flow_with_width(parse_scan(SCAN), cumulants, fitted, theory))


def test_planted_powers_and_corrections_come_back_with_their_errors():
    pulls = {"width_exponent_lambda_0": [], "width_exponent_kappa": [], "width_correction": [], "width_exponent": []}
    for seed in range(150):
        found = flow(seed=seed)
        for name, exact in (("width_exponent_lambda_0", -1), ("width_exponent_kappa", -2)):
            value, error = found[name].values[0, :, 0], found[f"{name}_stderr"].values[0, :, 0]
            pulls[name].append((value[0] - exact) / error[0])
            assert value[0] == value[1]
        for name, exact, o in (("width_correction", 3, 0), ("width_exponent", -2, 1)):
            pulls[name].append((found[name].values[0, o] - exact) / found[f"{name}_stderr"].values[0, o])
    for name, values in pulls.items():
        assert abs(np.mean(values)) < 4 / np.sqrt(150), name
        assert abs(np.mean(np.square(values)) - 1) < 4 * np.sqrt(2 / 150) + 4 / 63, name
    assert found["width_exponent_p_value"].values[0, 0] < 1e-6
    assert found["width_exponent_status"].values[0].tolist() == ["", ""]
    assert found["width_correction"].dims == ("architecture", "order")
    assert found["width_exponent_kappa"].dims == ("architecture", "cutoff", "model")


def test_what_was_not_fitted_has_no_power_but_a_reason():
    found = flow(kappa=False)
    assert np.isnan(found["width_exponent_kappa"]).all()
    assert set(found["width_exponent_kappa_status"].values.flat) == {"kappa was not determined at any width"}
    assert found["width_exponent_lambda_0_status"].values[0, 0].tolist() == [
        "",
        "lambda_0 was not determined at any width",
    ]
    assert np.isfinite(found["width_exponent_lambda_0"].values[0, :, 0]).all()


def test_untrusted_widths_do_not_count():
    cumulants, fitted, theory = stores()
    cumulants["trusted"][0, 1:, 1:] = False
    found = xr.Dataset(flow_with_width(parse_scan(SCAN), cumulants, fitted, theory))
    assert "fewer than two" in found["width_exponent_status"].values[0, 0]
    assert "fewer than two" in found["width_correction_status"].values[0, 1]
    assert "trusted correlators" in found["width_exponent_lambda_0_status"].values[0, 0, 0]
    cumulants, fitted, theory = stores()
    cumulants["trusted"][0, 0] = False
    cumulants["G4c"][0, 0] = 100.0
    found = xr.Dataset(flow_with_width(parse_scan(SCAN), cumulants, fitted, theory))
    assert found["width_correction"].values[0, 0] == pytest.approx(3, abs=1)
