"""Continuous time: the stationary correlator, Schroedinger energies and exponents."""

import numpy as np
import pytest

from nnqft.core.errors import InputError
from nnqft.criticality.continuous import stationary
from nnqft.criticality.dmft import correlator, tangent_correlator
from nnqft.criticality.lyapunov import lyapunov_theory
from nnqft.criticality.pairs import UndefinedError, pairs

UNIT = np.sqrt(np.pi) / 2
"""erf(UNIT x) has slope 1 at 0."""
TABLE = [
    (1.5, 0.0, 0.838753, (0.82526, 0.78706), -0.10544, 0.051401),
    (2.0, 0.0, 2.064080, (1.99130, 1.80110), -0.26135, 0.123098),
    (2.0, 0.5, 2.104572, (1.81018, 1.48528), -0.13644, 0.066040),
    (1.2, 0.5, 0.545691, (0.34315, 0.21444), 0.21729, -0.11529),
]


@pytest.mark.parametrize(("g", "noise", "variance", "later", "ground", "exponent"), TABLE)
def test_table(g, noise, variance, later, ground, exponent):
    found = stationary("erf", g, 0, noise, scale=UNIT)
    assert found.variance == pytest.approx(variance, abs=1e-6)
    np.testing.assert_allclose(found.correlator([0, 1, 2]), [variance, *later], atol=2e-5)
    assert found.ground_energy == pytest.approx(ground, abs=2e-5)
    assert lyapunov_theory("erf", g, 0, noise, "continuous", scale=UNIT) == pytest.approx(exponent, abs=1e-5)


@pytest.mark.parametrize("law", [("erf", 1.5, 0, 0, UNIT), ("erf", 2, 0, 0, UNIT), ("tanh", 2, 0.3, 0, 1.0)])
def test_translation_in_time_has_no_energy(law):
    *law, scale = law
    assert abs(stationary(*law, scale=scale).first_energy) < 1e-10


@pytest.mark.parametrize("law", [("tanh", 2, 0.3, 0.4), ("erf", 2, 0, 0), ("relu", 1, 0.3, 0.2), ("cos", 3, 0.2, 0.1)])
def test_correlators_solve_their_equation(law):
    """C'' = gamma^2 C - sigma_w^2 <phi phi> - sigma_b^2, C'(0+) = -D / 2, and rest at the plateau."""
    name, sigma_w, sigma_b, noise = law
    found, tau, h = stationary(*law), np.array([0.3, 1.0, 2.5]), 0.01
    C = np.stack([found.correlator(tau + k * h) for k in range(-2, 3)])
    curvature = (-C[0] + 16 * C[1] - 30 * C[2] + 16 * C[3] - C[4]) / (12 * h**2)
    force = sigma_w**2 * pairs(name).values(found.variance, C[2], found.variance) + sigma_b**2 - C[2]
    np.testing.assert_allclose(curvature, -force, atol=1e-5)
    first = found.correlator(h * np.arange(5)) @ [-25, 48, -36, 16, -3] / (12 * h)
    assert first == pytest.approx(-noise / 2, abs=1e-5)
    far = found.correlator(200.0)
    assert far == pytest.approx(found.plateau, abs=1e-9)
    square = pairs(name).values(found.variance, far, found.variance)
    assert sigma_w**2 * square + sigma_b**2 == pytest.approx(far, abs=1e-9)


def test_linear_networks():
    """kappa^2 = gamma^2 - sigma_w^2: C = D exp(-kappa |tau|) / 2 kappa + sigma_b^2 / kappa^2, E_0 = kappa^2."""
    found, kappa = stationary("linear", 0.9, 0.3, 0.5, gamma=1.2), np.sqrt(1.2**2 - 0.9**2)
    tau = np.array([0, 0.7, 3])
    exact = 0.5 / (2 * kappa) * np.exp(-kappa * tau) + 0.09 / kappa**2
    np.testing.assert_allclose(found.correlator(tau), exact, rtol=1e-10)
    assert found.lyapunov == pytest.approx(-0.3, abs=1e-9)
    assert lyapunov_theory("linear", 1.5, 0.3, 0.5, "continuous") == 0.5
    with pytest.raises(UndefinedError, match="sigma_w"):
        stationary("linear", 1.5, 0.3, 0.5)


def test_near_the_transition():
    """C_0 ~ epsilon for erf(UNIT x) at g = 1 + epsilon, lambda ~ epsilon^2 / 2 (Sompolinsky et al. 1988)."""
    for epsilon, tolerance in ((1e-2, 0.03), (1e-3, 3e-3), (1e-5, 1e-3)):
        rate = lyapunov_theory("erf", 1 + epsilon, 0, 0, "continuous", scale=UNIT)
        assert rate == pytest.approx(epsilon**2 / 2, rel=tolerance)
    assert lyapunov_theory("erf", 1, 0, 0, "continuous", scale=UNIT) == pytest.approx(0, abs=1e-9)
    assert lyapunov_theory("tanh", 0.8, 0, 0, "continuous") == pytest.approx(-0.2)
    assert stationary("tanh", 1.2, 0.3).is_static


def test_leak_is_a_unit_of_time():
    scaled = lyapunov_theory("tanh", 4, 0.6, 0.8, "continuous", gamma=2)
    assert scaled == pytest.approx(2 * lyapunov_theory("tanh", 2, 0.3, 0.4, "continuous"), abs=1e-10)


@pytest.mark.parametrize(("g", "noise", "tolerance"), [(2.0, 0.0, 1e-3), (2.0, 0.5, 1.5e-3)])
def test_small_steps_of_discrete_time_have_the_same_exponent(g, noise, tolerance):
    """The leaky two-time theory at gamma dt, sigma_w dt, D dt, continued to dt = 0: no Schroedinger equation."""
    found, rates = stationary("erf", g, 0, noise, scale=UNIT), []
    for dt in (0.2, 0.1):
        steps, leak = round(40 / dt), {"gamma": dt, "scale": UNIT}
        C = correlator("erf", steps, g * dt, 0, noise * dt, initial=found.variance, **leak)
        growth = np.log(np.diagonal(tangent_correlator("erf", C, g * dt, **leak)))
        rates.append((growth[-1] - growth[steps // 2]) / (20 * 2))
    assert 2 * rates[1] - rates[0] == pytest.approx(found.lyapunov, abs=tolerance)


def test_noise_suppresses_chaos_before_the_slope_says_so():
    """sigma_w^2 <phi'^2> > gamma^2 and yet lambda < 0."""
    found = stationary("erf", 1.5, 0, 0.5, scale=UNIT)
    assert found.particle.stiffness(found.variance, found.variance) < 0
    assert found.lyapunov < 0


def test_missing_and_bad_input():
    for law in (("relu", 1.6, 0.1, 0.1), ("relu", 1, 0, 0), ("gauss", 1, 0, 0.1)):
        assert np.isnan(lyapunov_theory(*law, "continuous"))
    with pytest.raises(InputError, match="leak"):
        lyapunov_theory("tanh", 1, 0, 0, "continuous", gamma=-1)
