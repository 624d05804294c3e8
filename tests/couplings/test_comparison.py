"""Criteria, evidence and averages of models against integrals done by brute force, and on planted models."""

import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.stats import multivariate_normal

from nnqft.couplings.comparison import average, criteria, weights
from nnqft.couplings.fit import fit_couplings, whiten

R, Q = 80, 6


def measured(rng, exact, error):
    groups = exact + np.sqrt(R) * error * rng.normal(size=(R, len(exact)))
    mean = groups.mean(axis=0)
    return mean, (R * mean - groups) / (R - 1)


def columns(rng):
    t = np.linspace(0, 1, Q)
    return np.stack([1 + 0.1 * t, t, t**2], axis=1) + 0.01 * rng.normal(size=(Q, 3))


def test_evidence_is_the_integral_of_the_likelihood_over_the_prior():
    rng = np.random.default_rng(1)
    x = columns(rng)[:, :2]
    data, samples = measured(rng, x @ [1.0, 0.3], 0.3)
    W = whiten(samples)
    found = criteria(data, x, W, R)
    h = (R - 1 - len(W) - 1) / (R - 1)
    noise = multivariate_normal(np.zeros(len(W)), np.eye(len(W)) / h)
    size = np.linalg.norm(data) / np.linalg.norm(x, axis=0)

    def joint(b, a):
        g = np.array([a, b])
        prior = np.prod(np.exp(-((g / size) ** 2) / 2) / np.sqrt(2 * np.pi) / size)
        return noise.pdf(W @ (data - x @ g)) * prior

    reach = 8 * size
    value, _ = dblquad(joint, -reach[0], reach[0], -reach[1], reach[1], epsabs=1e-12, epsrel=1e-7)
    assert found.log_evidence == pytest.approx(np.log(value), abs=1e-5)
    fit = fit_couplings(data, samples, x, whitening=W)
    T2 = fit.chi2 * (R - 1) / (R - 1 - fit.dof - 1)
    assert found.aic == pytest.approx(h * T2 + 4)
    assert found.bic == pytest.approx(h * T2 + 2 * np.log(len(W)))


def test_columns_of_an_error_enter_like_couplings_with_a_prior():
    rng = np.random.default_rng(2)
    x = columns(rng)
    data, samples = measured(rng, x @ [1.0, 0.3, 0.1], 0.1)
    W = whiten(samples)
    size = np.linalg.norm(data) / np.linalg.norm(x[:, 1:], axis=0)
    with_error = criteria(data, x[:, :1], W, R, extra=W @ (x[:, 1:] * size))
    assert with_error.log_evidence == pytest.approx(criteria(data, x, W, R).log_evidence, abs=1e-9)


@pytest.mark.parametrize(("truth", "best"), [([1.0, 0.0, 0.0], 0), ([1.0, 0.5, 0.0], 1), ([1.0, 0.5, -2.0], 2)])
def test_the_planted_model_is_preferred(truth, best):
    """A planted next operator is detected, and one that is not there is not."""
    rng = np.random.default_rng(3)
    x = columns(rng)
    votes = np.zeros((2, 3))
    for _ in range(60):
        data, samples = measured(rng, x @ truth, 0.02)
        W = whiten(samples)
        each = [criteria(data, x[:, : m + 1], W, R) for m in range(3)]
        votes[0] += weights([c.log_evidence for c in each])
        votes[1] += weights([-c.aic / 2 for c in each])
    assert votes.argmax(axis=1).tolist() == [best, best]
    assert votes[0, best] > 0.7 * 60
    assert votes[0, :best].sum() < 1e-3 * 60


def test_too_few_replicates_or_modes_give_no_criteria():
    rng = np.random.default_rng(4)
    x = columns(rng)
    data, samples = measured(rng, x @ [1.0, 0.3, 0.1], 0.1)
    for case in (criteria(data, x, whiten(samples)[:3], R), criteria(data, x, whiten(samples), 6)):
        assert np.isnan([case.aic, case.bic, case.log_evidence]).all()


def test_weights_and_averages():
    np.testing.assert_allclose(weights([-1000.0, np.nan, -1000.0]), [0.5, 0, 0.5])
    assert np.isnan(weights([np.nan, np.nan])).all()
    rng = np.random.default_rng(5)
    samples = rng.normal(size=(R, 3)) / (R - 1) + [1.0, 2.0, 5.0]
    found = average([0.0, np.log(3.0), 10.0], [1.0, 2.0, np.nan], samples)
    np.testing.assert_allclose(found.weights, [0.25, 0.75, 0])
    assert found.mean == pytest.approx(1.75)
    assert found.systematic == pytest.approx(np.sqrt(0.25 * 0.75**2 + 0.75 * 0.25**2))
    refits = samples[:, :2] @ [0.25, 0.75]
    assert found.stderr == pytest.approx(np.sqrt((R - 1) * refits.var()))
