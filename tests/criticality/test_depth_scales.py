"""Eigenvalues of the chain of kernels at order 1/n."""

import numpy as np
import pytest
from chains import erf_growth, kernels

from nnqft.criticality import corrected, mean_field, stationary
from nnqft.criticality.depth_scales import CHAOTIC, MARGINAL, linear_exponents

BIAS = np.sqrt(0.05)


def test_tanh():
    found = corrected("tanh", np.sqrt([1.0, 1.5, 1.76095464]), BIAS)
    np.testing.assert_allclose(found.d_par, [-0.09791, 0.25777, 0.33896], atol=1e-5)
    np.testing.assert_allclose(found.d_perp, [-0.03012, 0.23346, 0.31849], atol=1e-5)
    np.testing.assert_allclose(found.d_q, [-0.05575, -0.18036, -0.21946], atol=1e-5)
    np.testing.assert_allclose(found.d_q, stationary("tanh", np.sqrt([1.0, 1.5, 1.76095464]), BIAS).G1, rtol=1e-10)
    assert found.xi_q(50)[0] == pytest.approx(-1 / np.log(found.chi_par[0] - 0.09790857 / 50), rel=1e-7)
    assert found.xi_c(np.inf)[1] == pytest.approx(mean_field("tanh", np.sqrt(1.5), BIAS).xi_c)
    assert np.isnan(found.xi_c(50)[2])


def simulated(width, networks, seed):
    found = corrected("erf", np.sqrt(1.2), BIAS)
    par, perp = erf_growth(1.2, 0.05, float(found.q_star), width, 5, 8, networks, seed)
    for (value, error), infinite, shift in ((par, found.chi_par, found.d_par), (perp, found.chi_perp, found.d_perp)):
        yield width * (value - infinite), width * error, shift


def test_erf_networks_are_simulated():
    for value, error, predicted in simulated(80, 16_000, seed=1):
        assert error < predicted / 5
        assert value == pytest.approx(predicted, abs=4 * error)


@pytest.mark.slow
def test_wide_erf_networks_are_simulated():
    runs = np.array([list(simulated(160, 16_000, seed)) for seed in range(12)])
    for value, error, predicted in zip(*runs.mean(axis=0).T, strict=True):
        assert error / np.sqrt(12) < predicted / 12
        assert value == pytest.approx(predicted, abs=4 * error / np.sqrt(12))


def test_stationary_lengths_are_simulated():
    found = corrected("tanh", np.sqrt(1.2), BIAS)
    samples = kernels(np.tanh, 1.2, 0.05, float(found.q_star), 20, 40, 4000, seed=1)[20:]
    error = np.std(samples.mean(axis=0)) / np.sqrt(4000)
    assert samples.mean() == pytest.approx(0.26449, abs=4 * error + 1e-5)
    assert found.q_star + found.d_q / 20 == pytest.approx(0.26449, abs=1e-5)


def test_linear_networks_need_no_correction():
    for name, sigma_w in (("linear", 0.8), ("relu", 1.2)):
        found = corrected(name, sigma_w, 0.3)
        np.testing.assert_allclose([found.d_par, found.d_perp, found.d_q], 0, atol=1e-14)
    small = corrected("tanh", 0.8, [1e-2, 1e-3, 0.0])
    np.testing.assert_allclose(small.d_perp, 0, atol=2e-3)
    assert small.d_par[2] == small.d_perp[2] == 0


def test_typical_and_annealed_exponents():
    annealed, typical = linear_exponents([16, 1000], [1.0, 0.7])
    np.testing.assert_allclose(annealed, 2 * np.log([1.0, 0.7]), atol=1e-15)
    assert typical[0] == pytest.approx(-0.06380, abs=5e-6)
    assert annealed[1] - typical[1] == pytest.approx(1 / 1000, rel=1e-3)
    chi = np.random.default_rng(1).chisquare(16, 40_000) / 16
    assert np.log(chi).mean() == pytest.approx(typical[0], abs=4 * np.log(chi).std() / 200)


def test_reasons():
    assert corrected("tanh", np.sqrt(2.5), BIAS).status == CHAOTIC
    assert np.isnan(corrected("tanh", np.sqrt(2.5), BIAS).d_perp)
    assert np.isfinite(corrected("tanh", np.sqrt(2.5), BIAS).d_par)
    assert corrected("tanh", 1.0, 0.0).status == MARGINAL
    assert np.isnan(corrected("tanh", 1.0, 0.0).d_par)
    assert corrected("gelu", 2.5, 0.5).status.startswith("no fixed point")
