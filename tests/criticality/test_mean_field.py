"""Fixed points and depth scales: reference values, closed forms against quadrature, iteration of the maps."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from nnqft.core.gaussian import QuadratureError
from nnqft.criticality import mean_field
from nnqft.criticality.averages import (
    CLOSED,
    hermite,
    length_averages,
    length_quadrature,
    line_averages,
    resolution,
    resolved,
)
from nnqft.criticality.correlation import mehler_coefficients, pair_map
from nnqft.criticality.fixed_points import EVERY, GROWS, correlation_map, length_map
from nnqft.criticality.layers import line_moments
from nnqft.nets.activations import Activation
from nnqft.nets.kernels import _compiled
from nnqft.nets.maps import CLOSED as PAIRS

BIAS = np.sqrt(0.05)


def test_fixed_points_of_tanh():
    found = mean_field("tanh", np.sqrt([1.0, 1.5, 2.5]), BIAS)
    np.testing.assert_allclose(found.q_star, [0.19359252, 0.41803720, 1.06395838], atol=1e-8)
    np.testing.assert_allclose(found.chi_par, [0.56427998, 0.55198321, 0.42846385], atol=1e-8)
    np.testing.assert_allclose(found.chi_perp, [0.75903165, 0.93863627, 1.13351570], atol=1e-8)
    np.testing.assert_allclose(found.c_star, [1, 1, 0.44680423], atol=1e-8)
    np.testing.assert_allclose(found.xi_c, [3.62698, 15.79099, 11.79560], atol=1e-5)
    np.testing.assert_allclose(found.xi_q, -1 / np.log(found.chi_par), rtol=1e-14)


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_agree_with_quadrature(name):
    q = np.array([1e-6, 0.01, 0.4, 3.0, 40.0])
    for closed, integral in zip(CLOSED[name](q), length_quadrature(resolved(name), q), strict=True):
        np.testing.assert_allclose(integral, closed, rtol=2e-9, atol=1e-13)
        np.testing.assert_allclose(integral[1:], closed[1:], rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("name", ["erf", "sin"])
def test_hermite_identities_give_derivatives(name):
    q, step = np.array([0.2, 1.0, 2.5]), 1e-4
    at = line_moments(resolved(name), q, 1.0, 0.0)
    slope = [CLOSED[name](q + k * step)[2] for k in (-1, 0, 1)]
    np.testing.assert_allclose(at.chi, slope[1], rtol=1e-12)
    np.testing.assert_allclose(at.curvature, (slope[2] - slope[0]) / (2 * step), rtol=1e-6)
    np.testing.assert_allclose(at.third, (slope[2] - 2 * slope[1] + slope[0]) / step**2, rtol=1e-5)


def test_relu_averages_are_exact_at_the_kink():
    square, fourth, mean = line_averages(
        resolved("relu"), [2.0], lambda z, phi: [phi[0] ** 2 * hermite(4, z), phi[0] ** 4, phi[0]]
    )
    np.testing.assert_allclose([square[0], fourth[0], mean[0]], [0, 6, 1 / np.sqrt(np.pi)], atol=1e-13)


@pytest.mark.parametrize("name", ["erf", "sin", "gelu", "relu"])
def test_pair_map_agrees_with_closed_kernels(name):
    q, c = np.array([0.3, 2.0, 2.0, 5.0]), np.array([0.2, -0.7, 0.95, 0.5])
    value, slope = pair_map(resolved(name), q, c)
    exact = [np.asarray(PAIRS[name](q, (c + d) * q, q)) for d in (0, 1e-5, -1e-5)]
    np.testing.assert_allclose(value, exact[0], rtol=1e-11)
    np.testing.assert_allclose(slope, (exact[1] - exact[2]) / 2e-5, rtol=1e-7)


def test_mehler_series_sums_to_the_pair_average():
    q, c = np.array([0.5, 4.0]), np.array([0.6, 0.9])
    series = mehler_coefficients(resolved("tanh"), q)
    value = (series * c[:, None] ** np.arange(series.shape[1])).sum(axis=1)
    np.testing.assert_allclose(value, pair_map(resolved("tanh"), q, c)[0], rtol=1e-12)
    np.testing.assert_allclose(series.sum(axis=1), length_averages(resolved("tanh"), q)[0], rtol=1e-12)


@pytest.mark.parametrize(("name", "sigma_w", "sigma_b"), [("tanh", 1.7, 0.2), ("gelu", 1.3, 0.4), ("sin", 2.0, 0.1)])
def test_iteration_ends_at_the_fixed_points(name, sigma_w, sigma_b):
    found = mean_field(name, sigma_w, sigma_b)
    q = np.array(1.0)
    for _ in range(400):
        q = length_map(name, q, sigma_w, sigma_b)
    c = np.array(0.3)
    for _ in range(150):
        c, slope = correlation_map(name, found.q_star, c, sigma_w, sigma_b)
    assert q == pytest.approx(found.q_star, rel=1e-10)
    assert c == pytest.approx(found.c_star, abs=1e-7)
    assert slope == pytest.approx(found.chi_c, abs=1e-6)


def test_of_several_fixed_points_the_one_that_is_reached():
    """Two stable ones above q = 1, near 3 and 20,000."""
    stairs = Activation("stairs", lambda z, _: jnp.tanh(z) + 100 * jnp.tanh(z / 50) ** 5)
    q, found = np.array(1.0), mean_field(stairs, 2.0, 0.01)
    for _ in range(200):
        q = length_map(stairs, q, 2.0, 0.01)
    assert q == pytest.approx(found.q_star, rel=1e-9)
    assert found.q_star < 10
    assert length_map(stairs, 1e4, 2.0, 0.01) > 1e4


def test_the_fitted_correlation_length_converges_slowly():
    found, c, gaps = mean_field("tanh", np.sqrt(1.5), BIAS), np.array(0.5), []
    for _ in range(120):
        c, _ = correlation_map("tanh", found.q_star, c, np.sqrt(1.5), BIAS)
        gaps.append(1 - c)
    fitted = [-1 / np.polyfit(np.arange(a, b), np.log(gaps[a:b]), 1)[0] for a, b in ((8, 14), (80, 120))]
    assert fitted[0] < 13
    assert fitted[1] == pytest.approx(found.xi_c, rel=0.003)


def test_lengths_of_critical_networks_decay_as_one_over_depth():
    for name, sigma_w, value in (
        ("tanh", 1.0, 0.501667),
        ("sin", 1.0, 0.997644),
        ("erf", np.sqrt(np.pi) / 2, 0.500849),
    ):
        q = np.array(1.0)
        for _ in range(999):
            q = length_map(name, q, sigma_w, 0.0)
        assert 1000 * q == pytest.approx(value, abs=1e-5)


def test_correlations_of_critical_relu_networks_decay_as_a_power():
    c, roots = np.array(0.5), []
    for _ in range(2000):
        c, _ = correlation_map("relu", 1.0, c, np.sqrt(2), 0.0)
        roots.append((1 - c) ** -0.5)
    assert (roots[1999] - roots[999]) / 1000 == pytest.approx(np.sqrt(2) / (3 * np.pi), rel=2e-3)


def test_scale_invariant_networks():
    found = mean_field("relu", np.sqrt([1.0, 2.0, 2.0, 3.0]), [0.5, 0.0, 0.5, 0.0])
    np.testing.assert_allclose(found.q_star, [0.5, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(found.xi_q, [1 / np.log(2), np.inf, np.nan, np.nan])
    np.testing.assert_allclose(found.chi_perp, [0.5, 1.0, 1.0, 1.5])
    assert list(found.status) == ["", EVERY, GROWS, GROWS]
    leaky = Activation("leaky", lambda z, _: z * (0.55 + 0.45 * (z > 0) - 0.45 * (z < 0)), kind="homogeneous")
    assert mean_field(leaky, 1.0, 1.0).chi_par == pytest.approx((1 + 0.01) / 2)
    c, magnitude = np.array([-0.6, 0.3, 1.0]), Activation("abs", lambda z, _: abs(z), kind="homogeneous")
    value, slope = pair_map(magnitude, np.full(3, 2.0), c)
    np.testing.assert_allclose(value, 4 / np.pi * (np.sqrt(1 - c**2) + c * np.arcsin(c)), rtol=1e-13)
    np.testing.assert_allclose(slope, 4 / np.pi * np.arcsin(c), rtol=1e-13)


def test_special_points_say_so():
    assert mean_field("tanh", 1.0, 0.0).xi_q == np.inf
    chaotic = mean_field("tanh", 1.5, 0.0)
    assert chaotic.c_star == pytest.approx(0, abs=1e-12)
    assert chaotic.chi_c < 1
    assert mean_field("gelu", 2.5, 0.5).status == GROWS
    assert np.isnan(mean_field("gelu", 2.5, 0.5).chi_perp)


def test_poles_near_the_axis_take_a_finer_lattice():
    sharp = Activation("sharp", lambda z, _: 1 / (1 + 4 * z**2))
    assert resolution(sharp) > 0
    square, _, derivative = length_averages(sharp, np.array([0.3, 2.0]))

    def density(z, q):
        return np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) / (1 + 4 * q * z**2) ** 2

    expected = [quad(density, -12, 12, (q,), epsrel=1e-12)[0] for q in (0.3, 2.0)]
    np.testing.assert_allclose(square, expected, rtol=1e-10)
    assert (derivative > -square / (2 * np.array([0.3, 2.0]))).all()
    kinked = Activation("kinked", lambda z, _: abs(z - 0.3))
    with pytest.raises(QuadratureError, match="is it smooth"):
        mean_field(kinked, 1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "sigma_w", "sigma_b"), [("gauss", 1.0, 0.0), ("step", 1.0, 0.0), ("tanh", 0.0, 0.0), ("tanh", 1.0, -1.0)]
)
def test_senseless_arguments_are_refused(name, sigma_w, sigma_b):
    with pytest.raises(ValueError):
        mean_field(name, sigma_w, sigma_b)


def test_scans_are_vectorised():
    sigma_w, sigma_b = np.meshgrid(np.linspace(0.2, 4, 40), np.linspace(0, 2, 25))
    found = mean_field("tanh", sigma_w, sigma_b)
    assert found.q_star.shape == sigma_w.shape
    residual = length_map("tanh", found.q_star, sigma_w, sigma_b) - found.q_star
    np.testing.assert_allclose(residual, 0, atol=1e-12)
    assert np.isfinite(found.xi_c).all()
    assert (found.xi_c > 0).all()
    assert ((found.c_star < 1) == (found.chi_perp > 1)).all()
    assert all(_compiled(resolved("tanh"), k)._cache_size() <= 2 for k in (0, 1))
    single = mean_field("tanh", sigma_w[7, 31], sigma_b[7, 31])
    assert single.c_star == pytest.approx(found.c_star[7, 31], abs=1e-13)
