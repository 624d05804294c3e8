"""Stationary states and exponents of leaky networks in discrete time, at infinite width."""

import numpy as np
import pytest

from nnqft.core.errors import InputError
from nnqft.criticality.continuous import stationary
from nnqft.criticality.dmft import correlator, tangent_correlator
from nnqft.criticality.dynamics import DynamicsSpec, dynamics_block
from nnqft.criticality.dynamics_estimates import estimates
from nnqft.criticality.leaky import Law, autocorrelation, lyapunov
from nnqft.criticality.lyapunov import leaky_critical, leaky_rates, lyapunov_theory
from nnqft.criticality.pairs import UndefinedError, pairs

UNIT = np.sqrt(np.pi) / 2


@pytest.mark.parametrize(
    ("law", "tied"),
    [
        ((1.2, 0.0, 0.2, 0.5), True),
        ((1.2, 0.3, 0.1, 1.4), True),
        ((1.4, 0, 0, 0.6), True),
        ((1.2, 0.3, 0.1, 0.5), False),
    ],
)
def test_where_the_two_time_theory_goes(law, tied):
    """C(t, t - tau) after 300 steps, and the growth of k(t, t) there."""
    sigma_w, sigma_b, noise, gamma = law
    state = Law(pairs("erf"), *law, tied)
    C = correlator("erf", 300, sigma_w, sigma_b, noise, gamma=gamma, tied=tied)
    np.testing.assert_allclose(C[300, 300:280:-1], autocorrelation(state, 19), atol=1e-5)
    k = np.diagonal(tangent_correlator("erf", C, sigma_w, gamma=gamma, tied=tied))
    assert np.log(k[300] / k[299]) / 2 == pytest.approx(lyapunov(state), abs=2e-4)


def test_limits_without_leak_and_of_linear_networks():
    for law in ((1.5, 0.0, 0.0), (1.5, 0.2, 0.1), (1.0, 0.0, 0.2)):
        for gamma in (1.0, 1 + 1e-6, 1 - 1e-6):
            found = lyapunov(Law(pairs("erf"), *law, gamma))
            assert found == pytest.approx(lyapunov_theory("erf", *law), abs=1e-5)
    rates = leaky_rates(1.0, 0.7, 0.4)
    assert lyapunov_theory("linear", 0.7, 0.1, 0.1, gamma=0.4) == pytest.approx(rates.tied)
    assert lyapunov_theory("linear", 0.7, 0.1, 0.1, gamma=0.4, tied=False) == pytest.approx(rates.layered)


def test_no_leak_leaves_one_plateau():
    """tau > 0: C = sigma_w^2 <phi phi>_C + sigma_b^2, the stable solution; C(0) = q*."""
    for law in ((1.5, 0.0, 0.0), (1.5, 0.2, 0.1), (0.8, 0.3, 0.0)):
        C = autocorrelation(Law(pairs("erf"), *law, 1.0), 5)
        late = correlator("erf", 60, *law)[60]
        np.testing.assert_allclose(C, late[60:54:-1], atol=1e-5)


def test_exponents_vanish_at_the_transition():
    for gamma in (0.3, 0.5, 1.5):
        tied, layered = leaky_critical(1.0, gamma)
        assert lyapunov_theory("tanh", tied, 0, 0, gamma=gamma) == pytest.approx(0, abs=1e-7)
        assert lyapunov_theory("tanh", layered, 0, 0, gamma=gamma, tied=False) == pytest.approx(0, abs=1e-7)
        assert 0 < lyapunov_theory("tanh", 1.05 * tied, 0, 0, gamma=gamma) < 0.01
        below = lyapunov_theory("tanh", 0.9 * tied, 0, 0, gamma=gamma)
        assert below == pytest.approx(leaky_rates(1.0, 0.9 * tied, gamma).tied)


@pytest.mark.parametrize(("g", "noise", "tolerance"), [(1.5, 0.0, 1e-6), (2.0, 0.0, 1e-6), (2.0, 0.5, 2e-5)])
def test_small_leaks_are_continuous_time(g, noise, tolerance):
    rates = [lyapunov_theory("erf", g * dt, 0, noise * dt, gamma=dt, scale=UNIT) / dt for dt in (0.2, 0.1, 0.05)]
    limit = (8 * rates[2] - 6 * rates[1] + rates[0]) / 3
    assert limit == pytest.approx(stationary("erf", g, 0, noise, scale=UNIT).lyapunov, abs=tolerance)


def test_what_does_not_exist():
    for gamma in (0.0, 2.0, -0.5):
        with pytest.raises(InputError, match="gamma"):
            lyapunov(Law(pairs("tanh"), 1.0, 0.0, 0.1, gamma))
    for law in ((1.2, 0.1, 0.1, 0.5), (0.5, 0.0, 0.0, 0.5)):
        with pytest.raises(UndefinedError):
            lyapunov(Law(pairs("relu"), *law))
        assert np.isnan(lyapunov_theory("relu", *law[:3], gamma=law[3]))


@pytest.mark.slow
@pytest.mark.parametrize(
    "law", [(1.0, 0.0, 0.2, 0.5), (1.5, 0.2, 0.1, 0.5), (1.0, 0.2, 0.2, 1.4), (0.4, 0.3, 0.0, 0.5)]
)
def test_simulated_exponents(law):
    """N = 500; in chaos quenched exponents lie below theory by about 4 / N, annealed ones less."""
    spec = DynamicsSpec("tanh", 500, 800, 100, networks=24, subbatches=24, noisy=True)
    found = estimates(spec, dynamics_block(spec, np.array([1, 4], np.uint32), *law), spec.counts)
    value = lyapunov_theory("tanh", *law[:3], gamma=law[3])
    for name in ("lyapunov", "lyapunov_annealed"):
        assert abs(found[name].value - value) < 0.01 + found[name].stderr
    assert found["lyapunov"].stderr < 0.003
