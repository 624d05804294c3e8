"""All orders in 1/n without biases, and the graphs of the linear model."""

from fractions import Fraction

import numpy as np
import pytest
from chains import kernels, pair_kernels, variance

import nnqft
from nnqft.core.packing import multisets
from nnqft.criticality import finite_width
from nnqft.criticality.averages import resolved
from nnqft.criticality.bubbles import bubble_chain, cactus_length, linear_bubbles
from nnqft.criticality.layers import line_moments
from nnqft.criticality.scale_invariant import (
    collapse,
    kernel_moments,
    layer_moments,
    linear_quartic,
    linear_second_moments,
    lognormal,
    relative_variance,
)

X = np.array([[0.9, -0.2], [0.4, 1.1], [-0.5, 0.3], [1.2, 0.8]])


@pytest.mark.parametrize("n", [1, 3, 8])
def test_moments_of_a_layer(n):
    relu = [1, 1, 1 + Fraction(5, n), 1 + Fraction(15, n) + Fraction(44, n**2)]
    linear = [Fraction(1)]
    for k in range(4):
        linear.append(linear[-1] * (1 + Fraction(2 * k, n)))
    assert layer_moments("relu", n, 3) == relu
    assert layer_moments("linear", n, 4) == linear


def test_moments_of_deep_networks():
    widths = (4, 9, 2)
    expected = [np.prod([np.prod([1 + 2 * k / n for k in range(p)]) for n in widths]) for p in range(4)]
    np.testing.assert_allclose(kernel_moments("linear", widths, 3), expected, rtol=1e-14)
    m, n = 5, 100_000
    moments = kernel_moments("relu", (n,) * m, 3)
    third = n**2 * (moments[3] - 3 * moments[2] + 2)
    assert third == pytest.approx(44 * m + 75 * m * (m - 1), rel=1e-3)


def test_relu_networks_are_simulated():
    samples = kernels(lambda z: np.maximum(z, 0), 2.0, 0.0, 1.0, 32, 5, 16_000, seed=3)
    for layers, layer in enumerate(samples, start=1):
        value, error = variance(layer)
        assert value == pytest.approx((1 + 5 / 32) ** layers - 1, abs=4 * error)
        assert relative_variance("relu", layers, 32) == pytest.approx((1 + 5 / 32) ** layers - 1, rel=1e-12)


def test_linear_networks_are_simulated():
    K, n, m = X @ X.T / 2 + 1e-9 * np.eye(4), 8, 3
    Khat = pair_kernels(lambda z: z, 1.0, 0.0, K, n, m, 20_000, seed=5)
    a, b = multisets(4, 2).T
    samples = Khat[:, a, b][:, :, None] * Khat[:, a, b][:, None, :]
    error = samples.std(axis=0) / np.sqrt(len(samples))
    np.testing.assert_array_less(np.abs(samples.mean(axis=0) - linear_second_moments(K, m, n)), 4.5 * error)


def test_linear_quartic_follows_from_the_second_moments_and_from_the_networks():
    K, n, m, w = X @ X.T / 2, 8, 3, 0.9
    a, b, c, d = multisets(4, 4).T
    pairs = {tuple(legs): i for i, legs in enumerate(multisets(4, 2))}
    second = linear_second_moments(K, m, n, w)

    def covariance(h, i, j, k):
        product = second[pairs[min(h, i), max(h, i)], pairs[min(j, k), max(j, k)]]
        return product - w ** (4 * m) * K[h, i] * K[j, k]

    legs = zip(a, b, c, d, strict=True)
    total = [covariance(h, i, j, k) + covariance(h, j, i, k) + covariance(h, k, i, j) for h, i, j, k in legs]
    np.testing.assert_allclose(linear_quartic(K, (n,) * m, w), total, rtol=1e-10, atol=1e-13)
    net = nnqft.architecture(X, "linear", network="linear", depth=m, sigma_w=w, sigma_b=0.0)
    exact = nnqft.theory(net, [n]).values["G4c"][0]
    np.testing.assert_allclose(linear_quartic(w**2 * K, (n,) * m, w), exact, rtol=1e-10)


@pytest.mark.parametrize("name", ["linear", "relu"])
def test_double_scaling(name):
    ratio, widths = 0.3, np.array([200, 800])
    mean, spread, moments = lognormal(name, ratio, 3)
    assert (mean, spread) == pytest.approx((-spread / 2, {"linear": 2, "relu": 5}[name] * ratio))
    errors = [kernel_moments(name, (n,) * round(ratio * n), 3) / moments - 1 for n in widths]
    np.testing.assert_allclose(errors[1], 0, atol=0.05)
    np.testing.assert_allclose(4 * errors[1][2:], errors[0][2:], rtol=0.1)
    assert collapse(name, ratio) == pytest.approx(moments[2] - 1)
    assert relative_variance(name, 0.3 * 1e6, 1e6) == pytest.approx(collapse(name, ratio), rel=1e-5)


def test_graphs_of_the_linear_model_sum_to_the_recursion():
    found = finite_width("linear", 0.9, 0.5, 1.3, 12)
    np.testing.assert_allclose(cactus_length(0.9, 0.5, 1.3, 12), found.K[:, 0], rtol=1e-13)
    np.testing.assert_allclose(linear_bubbles(0.9, 0.5, 1.3, 12), found.V[:, 0, 0], rtol=1e-13)
    critical = linear_bubbles(1.0, 0.0, 0.7, 9)
    np.testing.assert_allclose(critical / 0.49, 2 * np.arange(10), rtol=1e-13)
    assert cactus_length(0.8, 0.5, 3.0, 200)[-1] == pytest.approx(0.25 / (1 - 0.64))


def test_bubbles_of_tanh_sum_to_the_recursion():
    found = finite_width("tanh", 1.2, 0.3, 1.3, 10)
    at = line_moments(resolved("tanh"), found.K[:-1, 0], 1.2, 0.3)
    np.testing.assert_allclose(bubble_chain(at.S, at.chi), found.V[:, 0, 0], rtol=1e-12)
