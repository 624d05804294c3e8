"""Export to gvar: means, covariances across quantities, and the same fit by lsqfit."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

from nnqft.couplings import export
from nnqft.couplings.export import drop_cut, to_gvar
from nnqft.couplings.fit import fit_couplings, whiten
from nnqft.couplings.joint import joint_fit
from nnqft.estimation.jackknife import covariance

gvar = pytest.importorskip("gvar")
lsqfit = pytest.importorskip("lsqfit")
R = 64


def estimates(q4, q6, seed=0):
    """G4c, G6c of lambda = 1, kappa = 2 with a full correlation matrix: values, replicates, design, trees, I6."""
    rng = np.random.default_rng(seed)
    X, T, I6 = 1 + 0.3 * rng.normal(size=(q4, 1)), 1 + 0.5 * rng.normal(size=(q6, 1, 1)), rng.uniform(1, 2, q6) / 720
    root = 0.02 * rng.normal(size=(q4 + q6,) * 2)
    groups = np.concatenate([X[:, 0], T[:, 0, 0] - 1440 * I6]) + 8 * rng.normal(size=(R, q4 + q6)) @ root.T
    mean = groups.mean(axis=0)
    samples = (R * mean - groups) / (R - 1)
    values, replicates = {"G4c": mean[:q4], "G6c": mean[q4:]}, {"G4c": samples[:, :q4], "G6c": samples[:, q4:]}
    return values, replicates, X, T, I6


def test_means_and_covariances_survive():
    values, replicates, *_ = estimates(5, 4)
    found = to_gvar(values, replicates)
    assert list(found) == ["G4c", "G6c"]
    stacked = np.concatenate([replicates["G4c"], replicates["G6c"]], axis=1)
    np.testing.assert_allclose(gvar.evalcov(found.flat[:]), covariance(stacked), rtol=1e-12)
    np.testing.assert_allclose(gvar.mean(found["G6c"]), values["G6c"], rtol=1e-15)
    ratio = found["G4c"][0] / found["G6c"][0]  # gvar's propagation against linear propagation by hand
    a, b = values["G4c"][0], values["G6c"][0]
    slope = (replicates["G4c"][:, 0] / b - replicates["G6c"][:, 0] * a / b**2)[:, None]
    assert ratio.sdev == pytest.approx(np.sqrt(covariance(slope)[0, 0]), rel=1e-10)
    alone = to_gvar(values["G4c"].reshape(5, 1), replicates["G4c"].reshape(R, 5, 1))
    assert alone.shape == (5, 1)
    np.testing.assert_allclose(gvar.evalcov(alone[:, 0]), covariance(replicates["G4c"]), rtol=1e-12)


@pytest.mark.parametrize(("q4", "q6"), [(5, 4), (30, 50)])
def test_lsqfit_with_dropped_modes_is_the_joint_fit(q4, q6):
    """The same minimum and, before the small-sample inflation, the same errors; of 80 the matrix is singular."""
    values, replicates, X, T, I6 = estimates(q4, q6)
    cut = drop_cut(replicates)
    fit = lsqfit.nonlinear_fit(
        data=to_gvar(values, replicates),
        fcn=lambda p: {"G4c": X[:, 0] * p[0], "G6c": T[:, 0, 0] * p[0] ** 2 - 720 * I6 * p[1]},
        p0=[1.0, 1.0],
        svdcut=cut,
        tol=(1e-12, 1e-12, 1e-12),
    )
    ours = joint_fit(values["G4c"], replicates["G4c"], values["G6c"], replicates["G6c"], X, T, I6)
    assert ours.modes == min(q4 + q6, R // 4)
    np.testing.assert_allclose(fit.pmean, ours.values, rtol=1e-7)
    gauss_newton = covariance(ours.replicates) / ours.inflation
    np.testing.assert_allclose(gvar.evalcov(fit.p), gauss_newton, rtol=1e-5)
    assert fit.chi2 == pytest.approx(ours.chi2 * (R - 1) / (R - 2 - ours.dof), rel=1e-7)


def test_drop_cut_keeps_the_modes_of_whiten():
    _, replicates, *_ = estimates(30, 50)
    stacked = np.concatenate([replicates["G4c"], replicates["G6c"]], axis=1)
    for svd_cut in (1e-6, 0.3):
        cut = gvar.svd(to_gvar(stacked.mean(axis=0), stacked), svdcut=drop_cut(replicates, svd_cut))
        assert cut.dof == len(whiten(stacked, svd_cut))
    assert drop_cut(stacked[:, :3]) == -1e-15
    values = stacked.mean(axis=0)[:3]
    fit = lsqfit.nonlinear_fit(data=to_gvar(values, stacked[:, :3]), fcn=lambda p: p[0] * np.ones(3), p0=[1.0])
    ours = fit_couplings(values, stacked[:, :3], np.ones((3, 1)))
    assert fit.pmean[0] == pytest.approx(ours.values[0], rel=1e-6)
    assert fit.psdev[0] == pytest.approx(ours.stderr[0] / np.sqrt(ours.inflation), rel=1e-6)
    with pytest.raises(ValueError, match="do not fluctuate"):
        drop_cut(np.ones((8, 3)))


def test_what_does_not_fit_together_is_refused(monkeypatch):
    values, replicates, *_ = estimates(5, 4)
    for v, r, message in [
        (values, {"G4c": replicates["G4c"]}, "not the same quantities"),
        (values, replicates | {"G6c": replicates["G6c"][:9]}, "one R"),
        (values, replicates["G4c"], "both"),
        (values["G4c"][:2], replicates["G4c"], "shapes"),
        (values["G4c"] * np.nan, replicates["G4c"], "finite"),
        (values["G4c"], replicates["G4c"][:1], "two replicates"),
    ]:
        with pytest.raises(ValueError, match=message):
            to_gvar(v, r)
    monkeypatch.setitem(sys.modules, "gvar", None)
    with pytest.raises(ValueError, match=r'pip install "nnqft\[lattice\]"'):
        to_gvar(values, replicates)


def test_optional_libraries_are_never_imported_with_the_package():
    for path in Path(export.__file__).parents[1].rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = (
                [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "") or ""]
            )
            assert not {name.split(".")[0] for name in names} & {"gvar", "lsqfit", "iminuit"}, path
