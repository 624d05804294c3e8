"""Errors of truncation and held-out points: calibrated where their assumptions hold, and violated where they do not."""

import numpy as np
import pytest

from nnqft.couplings.fit import fit_couplings, whiten
from nnqft.couplings.heldout import predict_heldout
from nnqft.couplings.operators import design
from nnqft.couplings.truncation import left_out, moved, six_point_columns, truncation_error, widened
from nnqft.couplings.vertices import vertex_integrals

R = 64
ALL = ("lambda_0", "lambda_2", "lambda_nl")


def measured(rng, exact, error, root):
    groups = exact + np.sqrt(R) * error * rng.normal(size=(R, len(exact))) @ root
    mean = groups.mean(axis=0)
    return mean, (R * mean - groups) / (R - 1)


def problem(rng, q=12):
    t = np.linspace(-1, 1, q)
    root = np.linalg.qr(rng.normal(size=(q, q)))[0] * np.geomspace(1, 0.03, q)
    return np.stack([1 + 0.1 * t], axis=1), np.stack([t + t**2], axis=1), root


def test_what_the_model_can_imitate_is_absorbed():
    rng = np.random.default_rng(1)
    x, further = rng.normal(size=(9, 2)), rng.normal(size=(9, 3))
    further[:, 2] = x @ [1.0, -2.0]
    data = x @ [1.0, 0.5]
    found = left_out(data, x, further, 0.5)
    np.testing.assert_allclose(x.T @ found.columns, 0, atol=1e-12)
    np.testing.assert_allclose(found.columns + x @ found.absorbed, further * found.sizes, atol=1e-12)
    np.testing.assert_array_equal(found.columns[:, 2], 0)
    np.testing.assert_allclose(np.linalg.norm(further * found.sizes, axis=0), 0.5 * np.linalg.norm(data))
    with pytest.raises(ValueError, match="naturalness"):
        left_out(data, x, further, 0.0)


def test_natural_corrections_are_covered_and_a_fit_without_them_is_rejected():
    rng = np.random.default_rng(2)
    x, further, root = problem(rng)
    pulls, p_values, naive = [], [], []
    for _ in range(400):
        start = left_out(x[:, 0], x, further, 0.1)
        exact = x[:, 0] + start.columns @ rng.normal(size=1)
        data, samples = measured(rng, exact, 0.01, root)
        missing, W = left_out(data, x, further, 0.1), whiten(samples)
        wide = widened(W, missing.columns)
        fit = fit_couplings(data, samples, x, whitening=wide)
        error = np.hypot(fit.stderr, truncation_error(moved(wide, x, missing.columns)))
        pulls.append((fit.values[0] - 1) / error[0])
        p_values.append(fit.p_value)
        naive.append(fit_couplings(data, samples, x, whitening=W).p_value)
    assert np.std(pulls) == pytest.approx(1, abs=0.13)
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(np.array(naive) < 1e-3) > 0.8


def test_erf_at_small_points_is_constant_up_to_natural_corrections(oracle):
    """The exact correlators spread by 2e-4 about a constant: rejected, or accepted with the next operators."""
    x = oracle.points["small"]
    exact = oracle.G4c("erf", x, 1.0)
    columns = design(vertex_integrals("erf", 1.0, 1.0, x, [100.0]), ALL)[0]
    rng = np.random.default_rng(3)
    data, samples = measured(rng, exact, 1e-6, np.eye(len(exact)))
    plain = fit_couplings(data, samples, columns[:, :1])
    missing = left_out(data, columns[:, :1], columns[:, 1:], 1.0)
    wide = widened(whiten(samples), missing.columns)
    found = fit_couplings(data, samples, columns[:, :1], whitening=wide)
    error = float(np.hypot(found.stderr, truncation_error(moved(wide, columns[:, :1], missing.columns)))[0])
    assert plain.p_value < 1e-40
    assert found.p_value > 1e-3
    assert found.values[0] == pytest.approx(-0.1854420518, abs=4 * error)
    assert error < 1e-6


def test_six_points_depart_by_what_the_model_leaves_out():
    """A planted further coupling changes g T g just as the columns say, to first order in it."""
    rng = np.random.default_rng(4)
    x, further = rng.normal(size=(15, 1)) + 2, rng.normal(size=(15, 1))
    trees = rng.normal(size=(20, 2, 2))
    trees, I6, g = trees + trees.swapaxes(1, 2), rng.normal(size=20), np.array([0.7])
    data = x @ g
    missing = left_out(data, x, further, 1.0)
    W = np.eye(15)
    change = moved(W, x, missing.columns)
    columns = six_point_columns(g, missing, change, trees[:, :1, :1], trees[:, :1, 1:], I6)
    c = 1e-6
    truth = np.array([g[0], c * missing.sizes[0]])
    fit = fit_couplings(x @ g + c * further[:, 0] * missing.sizes, None, x, weights="unit").values
    departure = (np.einsum("i,qij,j->q", truth, trees, truth) - trees[:, 0, 0] * fit[0] ** 2) / c
    departure -= I6 * (I6 @ departure) / (I6 @ I6)
    np.testing.assert_allclose(columns[:, 0], departure, rtol=1e-4, atol=1e-4)


def test_held_out_points_are_predicted_within_errors_and_a_wrong_law_is_not():
    rng = np.random.default_rng(5)
    x, further, root = problem(rng)
    elsewhere = 1.3 * x[::-1]
    p_values, worst = [], []
    for _ in range(300):
        train, test = measured(rng, x[:, 0], 0.02, root), measured(rng, elsewhere[:, 0], 0.02, root)
        fit = fit_couplings(*train, x)
        found = predict_heldout(*test, elsewhere @ fit.values, fit.replicates @ elsewhere.T)
        p_values.append(found.agreement.p_value)
        worst.append(found.agreement.pulls[0])
    assert np.mean(p_values) == pytest.approx(0.5, abs=3.5 / np.sqrt(12 * 300))
    assert np.std(worst) == pytest.approx(1, abs=0.14)
    assert found.mape < 5
    off = measured(rng, elsewhere[:, 0] + 0.3 * further[:, 0], 0.02, root)
    assert predict_heldout(*off, elsewhere @ fit.values, fit.replicates @ elsewhere.T).agreement.p_value < 1e-6
    with pytest.raises(ValueError, match="replicates"):
        predict_heldout(off[0], off[1][:-1], elsewhere @ fit.values, fit.replicates @ elsewhere.T)
