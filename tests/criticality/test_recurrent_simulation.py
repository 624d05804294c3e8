"""Sampled recurrent networks against mean-field theory and exact results at finite width."""

from math import log, sqrt

import jax
import numpy as np
import pytest
from scipy.special import digamma

from nnqft.core.errors import InputError
from nnqft.criticality.continuous import stationary
from nnqft.criticality.dmft import correlator
from nnqft.criticality.lyapunov import leaky_rates, lyapunov_theory
from nnqft.criticality.simulate import (
    Exponents,
    Law,
    simulate_correlators,
    simulate_exponents,
    simulate_spectrum,
)

KEY = jax.random.key(20200819)
ALMOST_NONE = 1e-30
"""Noise that does nothing but be compiled in: laws then share one compilation."""


def test_correlators_of_the_table():
    found = simulate_correlators(Law("tanh", 1.5, 0.2, 0.1), KEY, 40, 500, 8)
    assert np.abs(found.mean - correlator("tanh", 8, 1.5, 0.2, 0.1)).max() < 0.05
    assert 0.001 < found.stderr.max() < 0.03


@pytest.mark.parametrize(("sigma_w", "sigma_b", "noise"), [(1.5, 0, 0), (2.0, 0, 0), (1.5, 0.2, 0.1), (1.0, 0, 0.2)])
def test_exponents_of_the_table(sigma_w, sigma_b, noise):
    law = Law("tanh", sigma_w, sigma_b, max(noise, ALMOST_NONE))
    found = simulate_exponents(law, KEY, 4, 500, 250)
    assert abs(found.quenched - lyapunov_theory("tanh", sigma_w, sigma_b, noise)) < 0.01
    assert found.quenched_stderr < 0.006


@pytest.mark.parametrize("tied", [True, False])
def test_leaky_networks_grow_differently_when_tied(tied):
    """Tied: the norm grows as exp(rate t) t^(-1/4) until the largest eigenvalue of the one matrix is alone."""
    found = simulate_exponents(Law("linear", 0.7, gamma=0.5, tied=tied), KEY, 20, 64, 60, burn=300 if tied else 20)
    tied_rate, layered_rate = leaky_rates(1.0, 0.7, 0.5)
    assert abs(found.quenched - (tied_rate if tied else layered_rate)) < 0.02


def test_annealed_and_quenched_exponents_of_layered_linear_networks():
    """|v|^2 is multiplied by sigma_w^2 chi^2_N / N: annealed ln sigma_w, quenched + [psi(N/2) + ln(2/N)] / 2."""
    found = simulate_exponents(Law("linear", 0.7, gamma=1.0, tied=False), KEY, 20, 64, 60, burn=20)
    quenched = log(0.7) + (digamma(32) - log(32)) / 2
    assert abs(found.quenched - quenched) < 4 * found.quenched_stderr
    annealed, error = found.annealed(1)
    assert abs(annealed - log(0.7)) < 4 * error
    assert annealed - found.quenched == pytest.approx(log(0.7) - quenched, rel=0.15)
    assert found.annealed(60)[0] > found.quenched


@pytest.mark.slow
def test_spectrum_of_layered_linear_networks():
    """Newman, Commun. Math. Phys. 103 (1986) 121: lambda_i = [psi((N - i + 1)/2) + ln(2 sigma_w^2 / N)] / 2."""
    found = simulate_spectrum(Law("linear", 1.3, tied=False), KEY, 16, 4, 500, burn=20)
    exact = (digamma((4 - np.arange(4)) / 2) + log(2 * 1.3**2 / 4)) / 2
    assert np.all(np.abs(found.mean(axis=0) - exact) < 4 * found.std(axis=0) / 4)
    assert np.all(found.std(axis=0) < 0.1)


def test_errors_and_windows():
    runs = Exponents(np.random.default_rng(0).normal(0.1, 0.2, size=(400, 30)), dt=0.5)
    assert runs.quenched == pytest.approx(0.2, abs=4 * runs.quenched_stderr)
    assert runs.quenched_stderr == pytest.approx(0.4 / sqrt(12_000), rel=0.15)
    value, error = runs.annealed(2)  # Gaussian growth: mean + variance
    assert abs(value - (0.1 + 0.04) / 0.5) < 4 * error
    assert error < 0.02
    single = Exponents(runs.growth[:1], dt=0.5)
    assert np.isnan(single.quenched_stderr)
    assert np.isnan(single.annealed()[1])
    with pytest.raises(InputError, match="windows"):
        runs.annealed(31)


def test_bad_laws_are_refused():
    for law in (Law("tanh", -1.0), Law("tanh", 1.0, dt=0.0), Law("nothing", 1.0)):
        with pytest.raises(InputError):
            simulate_exponents(law, KEY, 1, 4, 10)
    with pytest.raises(InputError, match="width"):
        simulate_spectrum(Law("tanh", 1.0), KEY, 1, 4, 10, count=5)


@pytest.mark.slow
def test_continuous_time_at_large_width():
    """g = 2, no noise: the scatter of networks is large; 0.03 at N = 1500."""
    unit = sqrt(np.pi) / 2
    found = simulate_exponents(Law("erf", 2.0, dt=0.1, scale=unit), KEY, 2, 1500, 1500, burn=500)
    assert abs(found.quenched - stationary("erf", 2.0, scale=unit).lyapunov) < 0.03
