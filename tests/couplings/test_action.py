"""The stage `action`: from a scan's cumulants to couplings on its points, and beside the continuum fit."""

import numpy as np
import pytest
import xarray as xr

from nnqft.core.packing import multisets, number, rank
from nnqft.couplings.finite_set import couplings, expansion, transform
from nnqft.couplings.vertices import design, vertex_integrals
from nnqft.estimation.jackknife import stderr
from nnqft.fieldtheory import couplings_from_cumulants
from nnqft.stages.action import action
from nnqft.stages.layout import by_points
from nnqft.storage.results import open_results

CUMULANTS = {2: "G2", 4: "G4c", 6: "G6c"}


@pytest.fixture(scope="module")
def stores(small_results):
    """(scan, cumulants, couplings, action) of the points `ray`: relu, erf with two sigma_w; 3 points."""
    scan, layout = small_results
    results = open_results(layout.root)
    return scan, *(t["ray"].to_dataset().load() for t in (results.cumulants, results.couplings, results.action))


def test_points_with_an_action(stores):
    """erf: the numbers and errors are those of the public function applied to the cumulants and their replicates."""
    _, cumulants, _, found = stores
    at = {"architecture": 1, "width": 1}
    assert found["modes"].values.tolist() == [1, 3, 3]
    values = [cumulants[name].isel(at).values for name in CUMULANTS.values()]
    replicates = [cumulants[f"{name}_replicate"].isel(at).values for name in CUMULANTS.values()]
    for name, g, r in zip(
        ("g2", "g4", "g6"), couplings_from_cumulants(*values), couplings_from_cumulants(*replicates), strict=True
    ):
        np.testing.assert_allclose(found[name].isel(at), g, rtol=1e-6, atol=1e-9 * np.abs(g).max())
        np.testing.assert_allclose(found[f"{name}_stderr"].isel(at), stderr(r), rtol=1e-5, atol=1e-9 * np.abs(g).max())
        rows = found["principal"].isel(architecture=1).values
        samples = transform(found[f"{name}_principal_replicate"].isel(at).values, int(name[1]), rows.T)
        np.testing.assert_allclose(samples, r, rtol=1e-6, atol=1e-8 * np.abs(r).max())
    size = expansion(*values[:2], n=3)
    assert found["expansion_parameter"].isel(at) == pytest.approx(float(size.parameter))
    by_modes = found["expansion_by_modes"].isel(at).values
    assert by_modes[-1] == pytest.approx(float(size.parameter))
    assert np.all(np.diff(by_modes) > 0)
    assert by_modes[0] == pytest.approx(abs(found["kurtosis"].isel(at).values[0]))


def test_one_component_of_a_singular_kernel(stores):
    """relu on x > 0 without biases: G2 has rank one; N kappa_4 / G2^2 = 15 for its only component."""
    found = stores[3].sel(architecture="relu")
    assert all(np.isnan(found[name]).all() for name in ("g2", "g4", "g6"))
    assert all("1 principal component(s) only" in reason for reason in found["status"].values)
    kurtosis = found["kurtosis"].isel(mode=0) * found["width"]
    np.testing.assert_allclose(kurtosis, 15, rtol=0.3)
    first = [stores[1][name].sel(architecture="relu").values[:, :1] for name in CUMULANTS.values()]
    scale = found["principal"].values[0] @ [0.2, 0.4, 1.2] / 0.2  # u = scale phi(x_0)
    one = couplings(*first, n=1)
    for order, g in zip(CUMULANTS, one, strict=True):
        np.testing.assert_allclose(found[f"g{order}_principal"].values[:, 0], g[:, 0] / scale**order, rtol=1e-6)
    assert np.isnan(found["g4_principal"].values[:, 1:]).all()


def test_measured_couplings_are_the_exact_ones(stores):
    """relu at one point: G2 = x^2 / 2, kappa_4 = 15 G2^2 / N, kappa_6 = 660 G2^3 / N^2 in closed form."""
    found = stores[3].sel(architecture="relu")
    norm = 0.5 * (found["principal"].values[0] @ [0.2, 0.4, 1.2]) ** 2  # the exact variance of u
    for w, N in enumerate(found["width"].values):
        exact = couplings(*(np.array([k]) for k in (norm, 15 * norm**2 / N, 660 * norm**3 / N**2)), n=1)
        for name, wanted in zip(("g2", "g4", "g6"), exact, strict=True):
            value, error = (found[f"{name}_principal{end}"].values[w, 0] for end in ("", "_stderr"))
            assert abs(value - wanted[0]) < 4 * error < 4 * abs(wanted[0])


def test_doubts_are_written_down(stores):
    status = stores[3]["status"].values
    size = stores[3]["expansion_parameter"].values
    assert (size > 0.1).any()
    assert [["expansion parameter" in s for s in row] for row in status] == (size > 0.1).tolist()
    trusted = stores[1]["trusted"].values.all(axis=-1)
    assert [["not converged" in s for s in row] for row in status] == (~trusted).tolist()


def test_without_six_points_the_leading_order_remains(stores):
    scan, cumulants, fitted, found = stores
    four = cumulants.drop_vars([name for name in cumulants.variables if "sext" in cumulants[name].dims])
    leading = action(scan, by_points(scan)["ray"], four.sel(order=[2, 4]), fitted)
    assert "g6" not in leading
    np.testing.assert_allclose(leading["g4_principal"], found["g4_principal_leading"], rtol=1e-12)
    assert all("leading order" in reason for reason in leading["status"].values.flat)
    two = four.drop_vars([name for name in four.variables if "quad" in four[name].dims])
    nothing = action(scan, by_points(scan)["ray"], two.sel(order=[2]), fitted)
    assert np.isnan(nothing["g2"]).all()
    assert all("four-point cumulant was not estimated" in reason for reason in nothing["status"].values.flat)


def test_a_continuum_theory_is_at_no_distance_from_its_own_action(stores):
    """Planted: G4c of constant lambda; beside it the fit of half the coupling, and of none."""
    scan, cumulants, fitted, _ = stores
    cumulants, fitted = cumulants.copy(deep=True), fitted.copy(deep=True)
    x = np.array(scan.points["ray"])
    columns = design(vertex_integrals("erf", 1.0, 1.0, x, [80.0]), ["lambda_0"])[0, :, 0]
    cumulants["G4c"][1] = -0.2 / cumulants["width"].values[:, None] * columns
    cumulants["G4c_replicate"][1] = cumulants["G4c"][1].values[:, None]
    where = {"architecture": 1, "cutoff": 2, "model": 1}
    for width, factor in ((0, 1.0), (1, 0.5)):
        fitted["lambda_0"][where | {"width": width}] = -0.2 * factor / cumulants["width"].values[width]
    found = action(scan, by_points(scan)["ray"], cumulants, fitted)
    np.testing.assert_allclose(found["continuum_distance"].values[1, :, 1], [0, 0.5], atol=1e-9)
    assert found["continuum_noise"].values[1, 0, 1] < 0.1
    planted = found["g4_principal_continuum"].values[1, 0, 1]
    np.testing.assert_allclose(planted, found["g4_principal_leading"].values[1, 0], rtol=1e-8)
    fitted["lambda_0"][where] = np.nan
    assert np.isnan(action(scan, by_points(scan)["ray"], cumulants, fitted)["continuum_distance"].values[1, :, 1]).all()


def test_packed_modes_are_where_the_coordinates_say(stores):
    """Components of m < n modes sit where `quad_points` names them."""
    values = xr.DataArray(stores[3]["g4_principal"].values[0, 0], dims="quad")
    assert np.flatnonzero(np.isfinite(values)).tolist() == [int(rank(np.zeros(4, dtype=int), 3))]
    assert len(values) == number(3, 4) == len(multisets(3, 4))
    assert (stores[3]["quad_points"].values == multisets(3, 4)).all()
