"""Kernels of infinitely wide perceptrons and the derivatives of the layer map."""

import jax
import numpy as np
import pytest

from nnqft.core.gaussian import pair_averages
from nnqft.core.packing import multisets, pack, unpack
from nnqft.nets.activations import ACTIVATIONS, Activation
from nnqft.nets.kernels import (
    evaluate,
    first_factor,
    first_kernel,
    gp_kernel,
    kernel_map,
    map_derivatives,
)
from nnqft.nets.maps import CLOSED

RAY = np.array([-1, -0.6, -0.2, 0.2, 0.6, 1])[:, None]
COMMON = np.array([[1, 0.5], [-0.3, 0.8], [0.6, -1]])
KERNEL = np.array([[0.9, 0.4, -0.2], [0.4, 1.3, 0.5], [-0.2, 0.5, 0.7]])


def test_first_layer():
    kernel = first_kernel(COMMON, 1.5, 0.3)
    assert kernel[0, 1] == pytest.approx(0.09 + 2.25 * (-0.3 + 0.4) / 2, rel=1e-14)
    factor = first_factor(COMMON, 1.5, 0.3)
    np.testing.assert_allclose(factor @ factor.T, kernel, atol=1e-14)
    assert first_factor(RAY, 1.0, 0.0).shape == (6, 1)
    assert first_factor(RAY, 1.0, 1.0).shape == (6, 2)


def test_first_factor_resolves_close_points():
    """HMS's Gauss-net points, where the kernel's condition number is beyond float64: third finite differences."""
    points = 0.01 * RAY
    difference = np.array([-1, 3, -3, 1, 0, 0])
    factor = first_factor(points, 1.0, 1.0)
    assert np.linalg.norm(difference @ factor) < 1e-15
    assert np.linalg.norm(np.array([1, -1, 0, 0, 0, 0]) @ factor) == pytest.approx(0.004, rel=1e-12)


@pytest.mark.parametrize("name", ["linear", "erf", "sin", "cos", "gelu"])
def test_closed_kernels_agree_with_quadrature(name):
    triples = np.array([[0.9, 0.4, 1.3], [0.7, 0.7, 0.7], [0.5, -0.6, 0.8], [0.0, 0.0, 1.0], [2.0, 1.9, 2.5]])
    unit = ACTIVATIONS[name]
    average = pair_averages([lambda z: evaluate(unit, z)], triples, [(0, 0)])[0, 0]
    np.testing.assert_allclose(np.asarray(CLOSED[name](*triples.T)), average, rtol=0, atol=1e-12)


def test_erf_net_at_one_and_two_hidden_layers():
    """Common configuration of the architecture references: C_W = 1.5, C_b = 0.1."""
    sigma = np.sqrt(1.5), np.sqrt(0.1)
    erf = ACTIVATIONS["erf"]
    one = gp_kernel(erf, COMMON, 1, *sigma)
    np.testing.assert_allclose(one[[0, 0, 1], [0, 1, 2]], [0.8073061418, 0.2261798580, -0.3626311569], atol=1e-9)
    assert gp_kernel(erf, COMMON, 2, *sigma)[0, 0] == pytest.approx(0.7356047546, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "numbers"), [("tanh", (1.568121, 0.037466, 1.626322)), ("erf", (2.108130, -0.006834, 2.180956))]
)
def test_tangent_kernel_from_the_same_averages(name, numbers):
    """Theta' = K' + C_W <phi' phi'> Theta, three weight layers, (C_W, C_b) = (1.5, .1)."""
    x = np.array([[1, 0.5, -0.3], [0.2, -1, 0.7]])
    unit, sigma = ACTIVATIONS[name], (np.sqrt(1.5), np.sqrt(0.1))
    kernel = first_kernel(x, *sigma)
    theta = kernel
    a, b = multisets(2, 2).T
    for _ in range(2):
        triples = np.stack([kernel[a, a], kernel[a, b], kernel[b, b]], axis=1)
        slopes = pair_averages([lambda z: evaluate(unit, z, 1)], triples, [(0, 0)])[0, 0]
        kernel = kernel_map(unit, kernel, *sigma)
        theta = kernel + 1.5 * unpack(slopes, 2) * theta
    np.testing.assert_allclose(pack(theta), numbers, atol=1e-6)


def test_erf_net_of_hms():
    kernel = gp_kernel(ACTIVATIONS["erf"], RAY, 1, 1.0, 1.0)
    np.testing.assert_allclose((kernel[0, 0], kernel[0, 5]), (1.590334470601733, 1.0), rtol=1e-14)


def test_relu_kernel_on_a_ray_is_linear():
    x = np.array([0.2, 0.4, 1.2])[:, None]
    kernel = gp_kernel(ACTIVATIONS["relu"], x, 3, np.sqrt(2), 0.0)
    np.testing.assert_allclose(kernel, 2 * x @ x.T, rtol=1e-14)
    opposite = gp_kernel(ACTIVATIONS["relu"], np.array([[-1.0], [1.0]]), 1, 1.0, 0.0)
    np.testing.assert_allclose(opposite, np.eye(2) / 2, atol=1e-16)


def differences(function, point, step):
    """Central differences of a vector function of a packed kernel, all coordinates: shape (out, in)."""
    shifts = step * np.eye(len(point))
    return np.stack([(function(point + s) - function(point - s)) / (2 * step) for s in shifts], axis=-1)


@pytest.mark.parametrize("name", ["linear", "relu", "erf", "sin", "cos", "gelu", "tanh"])
def test_jacobian_and_hessian_are_derivatives_of_the_map(name):
    unit, sigma_w = ACTIVATIONS[name], 1.3

    def mapped(packed):
        return pack(kernel_map(unit, unpack(packed, 3), sigma_w, 0.2))

    def slopes(packed):
        return map_derivatives(unit, unpack(packed, 3), sigma_w).jacobian()

    point = pack(KERNEL)
    derivatives = map_derivatives(unit, KERNEL, sigma_w)
    np.testing.assert_allclose(derivatives.jacobian(), differences(mapped, point, 1e-5), atol=1e-8)
    draws = np.random.default_rng(2).normal(size=(6, 9))
    covariance = draws @ draws.T
    hessian = np.stack([(slopes(point + s) - slopes(point - s)) / 2e-5 for s in 1e-5 * np.eye(6)], axis=-1)
    expected = np.einsum("pqr,qr->p", hessian, covariance)
    np.testing.assert_allclose(derivatives.hessian_trace(covariance), expected, atol=1e-7)


def test_relu_derivatives_at_coincident_and_opposite_points_are_finite():
    factor = np.array([[1.0], [0.3], [-0.7], [0.0]])
    derivatives = map_derivatives(ACTIVATIONS["relu"], factor @ factor.T, 1.0)
    assert np.all(np.isfinite(derivatives.first))
    assert np.all(derivatives.second == 0)
    diagonal = np.flatnonzero(multisets(4, 2)[:, 0] == multisets(4, 2)[:, 1])
    np.testing.assert_allclose(np.diag(derivatives.jacobian())[diagonal], 0.5)


def test_evaluation_is_float64_whatever_the_default():
    z = np.linspace(-3, 3, 10001)
    with jax.enable_x64(False):
        single = evaluate(ACTIVATIONS["tanh"], z, 1)
    np.testing.assert_allclose(single, 1 / np.cosh(z) ** 2, rtol=1e-12)
    assert single.dtype == np.float64


def test_refusals():
    with pytest.raises(ValueError, match="infinite"):
        gp_kernel(ACTIVATIONS["gauss"], RAY, 2, 1.0, 1.0)
    with pytest.raises(ValueError, match="at least 1"):
        gp_kernel(ACTIVATIONS["erf"], RAY, 0, 1.0, 1.0)
    kinked = Activation("absolute", lambda z, variance: abs(z), kind="homogeneous")
    with pytest.raises(ValueError, match="closed form"):
        kernel_map(kinked, KERNEL, 1.0, 0.0)
    with pytest.raises(ValueError, match="derivatives"):
        map_derivatives(ACTIVATIONS["gauss"], KERNEL, 1.0)
