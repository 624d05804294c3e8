"""The joint fit of g and kappa: planted couplings, the linear limit, exact intervals, exact cumulants, calibration."""

import dataclasses
import sys

import numpy as np
import pytest
from scipy.stats import norm

from nnqft.couplings.fit import fit_couplings
from nnqft.couplings.joint import joint_fit
from nnqft.couplings.vertices import ALL, design, vertex_integrals
from nnqft.estimation.jackknife import covariance as jackknife_covariance

pytest.importorskip("iminuit")
R = 64


def replicated(rng, truth, root, replicates=R):
    """Mean and jackknife replicates of groups truth + noise, covariance of the mean root root^T (or root^2)."""
    noise = rng.normal(size=(replicates, len(truth)))
    groups = truth + np.sqrt(replicates) * (noise @ root.T if root.ndim == 2 else noise * root)
    mean = groups.mean(axis=0)
    return mean, (replicates * mean - groups) / (replicates - 1)


def problem(m, q4=6, q6=5, seed=0):
    """design, trees (not symmetric), I6, planted (g, kappa), the exact data and a root of a correlated covariance."""
    rng = np.random.default_rng(seed)
    X, T, I6 = rng.normal(size=(q4, m)), rng.normal(size=(q6, m, m)), 1 + rng.normal(size=q6)
    planted = np.array([*[1.0, -0.5, 0.25][:m], 0.3])
    exact = np.concatenate([X @ planted[:m], np.einsum("qij,i,j->q", T, planted[:m], planted[:m]) - 216 * I6])
    return X, T, I6, planted, exact, 0.03 * rng.normal(size=(q4 + q6,) * 2)


def fit(data, samples, X, T, I6, **options):
    q = len(X)
    return joint_fit(data[:q], samples[:, :q], data[q:], samples[:, q:], X, T, I6, **options)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_planted_couplings_of_any_size_are_recovered(m):
    X, T, I6, planted, exact, root = problem(m)
    _, samples = replicated(np.random.default_rng(1), exact, root)
    found = fit(exact, samples, X, T, I6)
    np.testing.assert_allclose(found.values, planted, rtol=1e-8)
    assert (found.valid, found.reason, found.modes, found.dof) == (True, "", 11, 10 - m)
    assert found.chi2 < 1e-12
    u = 10.0 ** np.array([-10, 3, -4][:m])  # the same theory in other units
    other = fit(exact, samples, X / u, T / np.multiply.outer(u, u), I6 * 1e9)
    np.testing.assert_allclose(other.values, planted * np.append(u, 1e-9), rtol=1e-8)
    np.testing.assert_allclose(other.lower, found.lower * np.append(u, 1e-9), rtol=1e-4)
    np.testing.assert_allclose(
        fit(exact, samples, X, T, I6, start=planted + np.append(np.full(m, 0.05), 0)).values, planted, rtol=1e-8
    )


def test_nearly_degenerate_couplings_keep_their_errors():
    X, T, I6, planted, _, root = problem(2)
    X[:, 1] = X[:, 0] + 1e-5 * X[:, 1]
    data, samples = replicated(np.random.default_rng(1), np.concatenate([X @ planted[:2], -216 * I6]), root)
    columns = np.zeros((11, 3))
    columns[:6, :2], columns[6:, 2] = X, -720 * I6
    linear, found = fit_couplings(data, samples, columns), fit(data, samples, X, 0 * T, I6)
    assert abs(found.covariance[0, 1]) / found.stderr[0] / found.stderr[1] > 1 - 1e-9
    np.testing.assert_allclose(found.values, linear.values, rtol=1e-9)
    np.testing.assert_allclose([found.stderr, found.upper, -found.lower], [linear.stderr] * 3, rtol=1e-6)


@pytest.mark.parametrize(("q4", "q6"), [(6, 5), (14, 14)])
def test_without_trees_it_is_the_linear_fit(q4, q6):
    """All of its numbers: with 28 components and 64 replicates modes are cut."""
    X, T, I6, _, exact, root = problem(2, q4, q6)
    data, samples = replicated(np.random.default_rng(2), exact, root)
    columns = np.zeros((q4 + q6, 3))
    columns[:q4, :2], columns[q4:, 2] = X, -720 * I6
    linear, found = fit_couplings(data, samples, columns), fit(data, samples, X, 0 * T, I6)
    np.testing.assert_allclose(found.values, linear.values, rtol=1e-9)
    np.testing.assert_allclose(found.covariance, linear.covariance, rtol=1e-9)
    np.testing.assert_allclose([found.upper, -found.lower], [linear.stderr] * 2, rtol=1e-6)
    np.testing.assert_allclose(found.replicates, linear.replicates, rtol=1e-9)
    for name in ("chi2", "p_value", "inflation"):
        assert getattr(found, name) == pytest.approx(getattr(linear, name), rel=1e-9)
    assert (found.dof, found.modes, found.inflation > 1) == (linear.dof, min(q4 + q6, 16), True)


def test_errors_are_where_the_profile_has_risen_by_one():
    """Against a scan of lambda, with kappa solved for, of the cost written out anew; HESSE against its curvature."""
    rng = np.random.default_rng(3)
    X, T, I6 = np.ones((3, 1)), np.array([1.0, 2.0, 0.5])[:, None, None], np.array([1.0, 0.3, 1.0]) / 720
    exact = np.concatenate([X[:, 0], T[:, 0, 0] - 720 * 2 * I6])
    data, samples = replicated(rng, exact, np.append(np.full(3, 0.6), np.full(3, 0.4)))
    found = fit(data, samples, X, T, I6)
    weight = np.linalg.inv(jackknife_covariance(samples)) / found.inflation

    def residual(g, kappa):
        return data - np.concatenate([g * X[:, 0], g**2 * T[:, 0, 0] - 720 * kappa * I6])

    def profile(g):
        column = np.append(np.zeros(3), -720 * I6)
        kappa = column @ weight @ residual(g, 0.0) / (column @ weight @ column)
        return residual(g, kappa) @ weight @ residual(g, kappa)

    g, step = found.values[0], 1e-4
    assert found.chi2 == pytest.approx(profile(g) * found.inflation * (R - 6) / (R - 1))
    for end in (found.lower, found.upper):
        assert profile(g + end[0]) - profile(g) == pytest.approx(1, abs=0.01)
    second = (profile(g + step) - 2 * profile(g) + profile(g - step)) / step**2
    assert found.stderr[0] == pytest.approx(np.sqrt(2 / second), rel=1e-5)
    assert abs(found.upper[0] / found.lower[0] + 1) > 0.03


def test_the_interval_of_kappa_is_the_image_of_that_of_lambda():
    """G6c exact, kappa = lambda^2 - b: ends at (lambda -+ sigma)^2 - b, sides in the ratio (2 - e) / (2 + e)."""
    X, T, I6 = np.ones((3, 1)), np.ones((3, 1, 1)), np.full(3, 1 / 720)
    exact = np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    data, samples = replicated(np.random.default_rng(4), exact, np.append(np.full(3, 0.7), np.full(3, 1e-3)))
    found = fit(data, samples, X, T, I6)
    (g, _), sigma = found.values, found.stderr[0]
    np.testing.assert_allclose([found.upper[0], -found.lower[0]], sigma, rtol=1e-4)
    np.testing.assert_allclose(found.stderr[1], 2 * abs(g) * sigma, rtol=1e-4)
    ends = np.sort([(g + sigma) ** 2, (g - sigma) ** 2]) - g**2
    np.testing.assert_allclose([found.lower[1], found.upper[1]], ends, rtol=1e-2)


@pytest.mark.parametrize(("net", "points", "kappa"), [("relu", "ray", 371 / 3), ("gauss", "gauss", -2995.604273)])
def test_exact_cumulants(oracle, net, points, kappa):
    """ReLU in d = 1: lambda N Lambda^5 = -12.5 and kappa N^2 Lambda^7 = 371 / 3, exactly."""
    x, sigma_b, cutoff = oracle.points[points][:4], float(net != "relu"), 2.0 if net == "relu" else 1.0
    G4c, G6c = oracle.G4c(net, x, sigma_b), oracle.G6c(net, x, sigma_b)
    v = {name: value[0] for name, value in vertex_integrals(net, 1, sigma_b, x, [cutoff], names=ALL).items()}
    exact = np.concatenate([G4c, G6c])
    _, samples = replicated(np.random.default_rng(5), exact, 1e-3 * np.abs(exact))
    columns = design(vertex_integrals(net, 1, sigma_b, x, [cutoff]), ["lambda_0"])[0]
    found = fit(exact, samples, columns, 576 * v["tree"].sum(axis=-1)[:, None, None], v["I6"])
    assert found.valid
    if net == "relu":
        np.testing.assert_allclose(found.values, [-12.5 / 2**5, kappa / 2**7], rtol=1e-9)
    else:
        np.testing.assert_allclose(found.values, [-5.600547073, kappa], rtol=2e-3)  # no one coupling is exact


def pulls(rng, trials, noise, T):
    """Fits of lambda = 1, kappa = 2 to three components of four legs and three of six: values, errors, p-values."""
    X, I6 = np.ones((3, 1)), np.array([1.0, 0.8, 1.3]) / 720 if T.std() else np.full(3, 1 / 720)
    exact = np.concatenate([np.ones(3), T[:, 0, 0] - 1440 * I6])
    fits = [fit(*replicated(rng, exact, noise), X, T, I6) for _ in range(trials)]
    valid = [f for f in fits if f.valid]
    off = np.array([f.values for f in valid]) - [1.0, 2.0]
    sides = [np.array([getattr(f, name) for f in valid]) for name in ("stderr", "lower", "upper")]
    return off, *sides, np.array([f.p_value for f in valid])


def test_pulls_and_coverage():
    trials = 200
    noise = np.append(np.full(3, 0.05), np.full(3, 0.1))
    off, stderr, lower, upper, p = pulls(np.random.default_rng(6), trials, noise, np.array([1, 2, 0.5])[:, None, None])
    assert len(off) == trials
    assert np.all(np.abs((off / stderr).mean(axis=0)) < 4 / np.sqrt(trials))
    assert np.all(np.abs(((off / stderr) ** 2).mean(axis=0) - 1) < 4 * np.sqrt(2 / trials))
    covered = ((off + lower < 0) & (off + upper > 0)).mean(axis=0)
    assert np.all(np.abs(covered - 0.6827) < 3 * np.sqrt(0.68 * 0.32 / trials))
    assert abs(np.mean(p < 0.5) - 0.5) < 3 * 0.5 / np.sqrt(trials)


@pytest.mark.slow
def test_coverage_where_lambda_squared_matters():
    """Half its size is the error of lambda: MINOS misses kappa equally on both sides, the symmetric error does not."""
    trials, e = 2000, 0.5
    noise = np.append(np.full(3, e * np.sqrt(3)), np.full(3, 0.2))
    off, stderr, lower, upper, _ = pulls(np.random.default_rng(7), trials, noise, np.ones((3, 1, 1)))
    assert len(off) > 0.99 * trials
    bound, side = 3 * np.sqrt(0.16 * 0.84 / trials), norm.sf(1)
    assert abs(np.mean(off[:, 1] + lower[:, 1] > 0) - side) < bound
    assert abs(np.mean(off[:, 1] + upper[:, 1] < 0) - side) < bound
    assert np.mean(off[:, 1] > stderr[:, 1]) < side - bound
    assert np.mean(off[:, 1] < -stderr[:, 1]) > side + bound


def test_what_cannot_be_fitted_says_why(monkeypatch):
    X, T, I6, _, exact, root = problem(2)
    data, samples = replicated(np.random.default_rng(8), exact, root)
    for arguments, reason in [
        ((data * np.nan, samples, X, T, I6), "not finite"),
        ((data, samples, X, T * np.nan, I6), "not finite"),
        ((data, samples, X, T, 0 * I6), "rank 2"),
        ((data, samples, X[:, [0, 0]], T, I6), "G4c alone does not determine"),
        ((data, np.broadcast_to(data, samples.shape), X, T, I6), "0 modes"),
        ((data, samples[:8], X, T, I6), "do not determine 3"),
    ]:
        found = fit(*arguments)
        assert reason in found.reason
        assert not found.valid
        assert np.isnan(found.values).all()
        assert np.isnan(found.stderr).all()
    for arguments in [(data[:-1], samples, X, T, I6), (data, samples, X, T[:, :1], I6), (data, samples, X, T, I6[:2])]:
        with pytest.raises(ValueError, match=r"match|replicates"):
            fit(*arguments)
    with pytest.raises(ValueError, match="start must hold 3"):
        fit(data, samples, X, T, I6, start=[1.0])
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.values = data
    monkeypatch.setitem(sys.modules, "iminuit", None)
    with pytest.raises(ValueError, match=r'pip install "nnqft\[minuit\]"'):
        fit(data, samples, X, T, I6)


def test_two_minima_are_told():
    """Trees fix |lambda| well, G4c its sign hardly: the two signs are as good as each other within the errors."""
    X, T, I6 = np.ones((3, 1)), np.array([1.0, 2.0, 0.5])[:, None, None], np.full(3, 1 / 720)
    exact = np.concatenate([np.full(3, 0.2), T[:, 0, 0] - 1440 * I6])
    _, samples = replicated(np.random.default_rng(9), exact, np.append(np.full(3, 2.0), np.full(3, 0.05)))
    found = fit(exact, samples, X, T, I6)
    assert "a second minimum" in found.reason
    assert not found.valid
    assert found.values[0] == pytest.approx(1, abs=0.1)
