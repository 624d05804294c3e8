"""Legs K - sigma_b^2: closed forms against quadrature over the parameters, quadrature against closed forms."""

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss

from nnqft.couplings.kernels import leg_kernel, pair_expectation, preactivation_covariance
from nnqft.nets.activations import ACTIVATIONS, Activation

RNG = np.random.default_rng(11)
X, Y = RNG.normal(size=(3, 2)), RNG.normal(size=(4, 2))
CLOSED = ("linear", "relu", "erf", "gauss", "sin", "cos")


def parameter_space(activation, sigma_w, sigma_b, x, y, nodes=60):
    """sigma_w^2 E[s(x) s(y)] by Gauss-Hermite over (W_1, W_2, b) themselves."""
    t, w = hermegauss(nodes)
    grid = np.stack(np.meshgrid(t, t, t, indexing="ij"), axis=-1).reshape(-1, 3)
    weights = np.prod(np.stack(np.meshgrid(w, w, w, indexing="ij"), axis=-1).reshape(-1, 3), axis=1)
    weights /= (2 * np.pi) ** 1.5

    def unit(points):
        z = sigma_w / np.sqrt(2) * points @ grid[:, :2].T + sigma_b * grid[:, 2]
        variance = sigma_b**2 + sigma_w**2 / 2 * np.sum(points**2, axis=1)
        return np.asarray(ACTIVATIONS[activation](z, variance[:, None]))

    return sigma_w**2 * (unit(x) * weights) @ unit(y).T


@pytest.mark.parametrize(("activation", "accuracy"), [(a, 2e-3 if a == "relu" else 1e-6) for a in (*CLOSED, "tanh")])
def test_a_leg_is_the_second_moment_of_the_hidden_unit(activation, accuracy):
    legs = leg_kernel(activation, 0.8, 0.5, X, Y)
    assert legs.shape == (3, 4)
    np.testing.assert_allclose(legs, parameter_space(activation, 0.8, 0.5, X, Y), rtol=0, atol=accuracy)


@pytest.mark.parametrize("activation", ["linear", "erf", "sin", "cos"])
@pytest.mark.parametrize("sigma_b", [0.0, 1.0])
def test_quadrature_reproduces_closed_forms(activation, sigma_b):
    far = 500.0 if activation in ("linear", "erf") else 2.0
    y = np.concatenate([Y, far * Y, 0 * Y[:1], 1e-4 * X, X])
    found = pair_expectation(ACTIVATIONS[activation], *preactivation_covariance(1.0, sigma_b, X, y))
    np.testing.assert_allclose(found, leg_kernel(activation, 1.0, sigma_b, X, y), rtol=1e-12, atol=1e-13)


def test_relu_on_a_ray_is_half_the_product_and_vanishes_on_opposite_sides():
    legs = leg_kernel("relu", 1.3, 0.0, [[0.2], [-0.7], [0.0]], [[5.0], [-3.0]])
    expected = 1.3**4 / 2 * np.array([[1.0, 0.0], [0.0, 2.1], [0.0, 0.0]])
    np.testing.assert_allclose(legs, expected, atol=1e-15)


def test_the_output_bias_is_not_in_the_legs():
    points = np.array([[-1.0], [1.0]])
    np.testing.assert_allclose(leg_kernel("erf", 1, 1, points, points)[0, 1], 0.0, atol=1e-15)
    np.testing.assert_allclose(leg_kernel("erf", 1, 1, points, points)[0, 0] + 1, 1.590334470601733, rtol=1e-14)
    np.testing.assert_allclose(leg_kernel("gauss", 1, 1, [[-0.01]], [[0.01]])[0, 0] + 1, 1.9998000199986667, rtol=1e-14)


def test_what_has_no_legs_is_refused():
    with pytest.raises(ValueError, match="one hidden layer only"):
        leg_kernel("relu", 1, 0, X, Y, depth=2)
    with pytest.raises(ValueError, match="unknown activation 'swish'"):
        leg_kernel("swish", 1, 0, X, Y)
    with pytest.raises(ValueError, match="points must be"):
        leg_kernel("erf", 1, 0, X, Y[:, :1])


def test_an_activation_that_is_not_smooth_has_no_legs(monkeypatch):
    kinked = Activation("kinked", lambda z, v: abs(z), kind="homogeneous")
    monkeypatch.setitem(ACTIVATIONS, "kinked", kinked)
    with pytest.raises(ValueError, match="not smooth"):
        leg_kernel("kinked", 1, 0, X, Y)
    with pytest.raises(RuntimeError, match="has not converged"):
        pair_expectation(kinked, *preactivation_covariance(1, 1, X, Y))


def test_quadrature_refuses_fast_oscillations_and_32_bits():
    with pytest.raises(RuntimeError, match="has not converged"):
        pair_expectation(ACTIVATIONS["sin"], *preactivation_covariance(1, 0, X, 1e3 * Y))
    half = Activation("half", lambda z, v: z.astype(np.float32))
    with pytest.raises(RuntimeError, match="64 bits"):
        pair_expectation(half, *preactivation_covariance(1, 0, X, Y))


def test_points_that_are_nearly_uncorrelated_have_a_kernel():
    x = np.linspace(-1, 1, 5)[:, None] * (1 + 2.0**-40)
    kernel = leg_kernel("tanh", 1.0, 1.0, x, x)
    np.testing.assert_allclose(kernel, leg_kernel("tanh", 1.0, 1.0, x / (1 + 2.0**-40), x), rtol=1e-9, atol=1e-10)
