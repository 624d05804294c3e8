"""Leading order in 1/N for deeper perceptrons: references, exact results, consistency."""

from itertools import combinations, product

import numpy as np
import pytest

from nnqft.core.packing import multisets, pack, rank, wick
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.deep import finite_width, fourth_moments
from nnqft.nets.kernels import first_kernel, gp_kernel
from nnqft.nets.mlp import MLP

TWO = np.array([[1, 0.5], [0.5, 0.8]])
TANH = np.sqrt(1.76), np.sqrt(0.05)


def test_tanh_two_inputs():
    """Kernel at the sixth layer: K and V to all digits of the reference, G1 to 1e-6."""
    found = finite_width(ACTIVATIONS["tanh"], *TANH, TWO, depth=5)
    np.testing.assert_allclose(found.K[-1], [0.57975154, 0.36650639, 0.57606554], atol=6e-9)
    reference = [0.303816, 0.226024, 0.095982, 0.671619, 0.302952]
    np.testing.assert_allclose(found.V[-1][[0, 0, 0, 1, 2], [0, 1, 2, 1, 2]], reference, atol=1e-6)
    np.testing.assert_allclose(found.G1[-1], [-0.182801, -0.051993, -0.187696], atol=1e-6)


def test_relu_two_inputs():
    found = finite_width(ACTIVATIONS["relu"], np.sqrt(2), 0.0, TWO, depth=5)
    np.testing.assert_allclose(found.K[-1], [1, 0.736493, 0.8], atol=5e-7)
    reference = [25, 16.039265, 11.614035, 13.344196, 16]
    np.testing.assert_allclose(found.V[-1][[0, 0, 0, 1, 2], [0, 1, 2, 1, 2]], reference, atol=5e-7)
    np.testing.assert_allclose(found.G1[-1], [0, -0.526051, 0], atol=5e-7)


def test_tanh_single_input():
    found = finite_width(ACTIVATIONS["tanh"], *TANH, np.eye(1), depth=3)
    values = found.K[-1, 0], found.V[-1, 0, 0], found.G1[-1, 0]
    np.testing.assert_allclose(values, [0.60931997, 0.30912636, -0.12488675], atol=6e-9)


def test_erf_shift_of_the_kernel_at_depth_two():
    """Common configuration, N (G2 - K) = -.06036."""
    x = np.array([(1, 0.5), (-0.3, 0.8), (0.6, -1)])
    sigma = np.sqrt(1.5), np.sqrt(0.1)
    found = finite_width(ACTIVATIONS["erf"], *sigma, first_kernel(x, *sigma), depth=2)
    assert found.K[-1, 0] == pytest.approx(0.7356047546, abs=1e-9)
    assert found.G1[-1, 0] == pytest.approx(-0.06036, abs=5e-6)


def test_depth_one_quartic_of_the_common_configuration():
    x = np.array([(1, 0.5), (-0.3, 0.8), (0.6, -1)])
    sigma = np.sqrt(1.5), np.sqrt(0.1)
    found = finite_width(ACTIVATIONS["erf"], *sigma, first_kernel(x, *sigma), depth=1)
    positions = rank(np.array([(0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 2), (0, 1, 1, 2)]), 3)
    reference = [0.82372496, 0.80048925, -0.62123394, -0.01560799]
    np.testing.assert_allclose(found.output_quartic()[positions], reference, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "sigma_b"), [("tanh", 0.3), ("erf", 1.0), ("relu", 0.0), ("relu", 0.5), ("linear", 0.2)]
)
def test_depth_one_is_the_exact_layer(name, sigma_b):
    x = np.array([(0.5, -0.2), (1.0, 0.3), (-0.7, 0.4), (0.1, 1.1), (0.6, 0.6)])
    found = finite_width(ACTIVATIONS[name], 1.2, sigma_b, first_kernel(x, 1.2, sigma_b), depth=1)
    exact = MLP(ACTIVATIONS[name], 1, 1).known(x, 1.2, sigma_b, np.array([[1.0]])).values
    np.testing.assert_allclose(found.K[-1], exact[2][0], rtol=0, atol=1e-13)
    np.testing.assert_allclose(found.output_quartic(), exact[4][0], rtol=0, atol=1e-9 * np.max(exact[4]))
    assert np.all(found.G1 == 0)


@pytest.mark.parametrize("depth", [1, 4])
def test_linear_net_is_the_first_order_of_its_exact_result(depth):
    """prod(1 + 2/N) - 1 and, for single pairs, V[ab, cd] = m (K_ac K_bd + K_ad K_bc), m hidden layers."""
    kernel = np.array([[1.0, 0.4, -0.3], [0.4, 0.8, 0.1], [-0.3, 0.1, 1.3]])
    found = finite_width(ACTIVATIONS["linear"], 1.0, 0.0, kernel, depth)
    a, b = multisets(3, 2).T
    crossed = kernel[np.ix_(a, a)] * kernel[np.ix_(b, b)] + kernel[np.ix_(a, b)] * kernel[np.ix_(b, a)]
    np.testing.assert_allclose(found.V[-1], depth * crossed, atol=1e-10)
    np.testing.assert_allclose(found.output_quartic(), 2 * depth * wick(pack(kernel), 3, 4), atol=1e-10)
    np.testing.assert_allclose(found.G1[-1], 0, atol=1e-12)


def test_relu_on_a_ray():
    """V = 5 m K K and no shift, although every pair is collinear."""
    x = np.array([[0.2], [0.7], [1.1]])
    kernel = 2 * x @ x.T
    found = finite_width(ACTIVATIONS["relu"], np.sqrt(2), 0.0, kernel, depth=6)
    np.testing.assert_allclose(found.V[-1], 30 * np.outer(pack(kernel), pack(kernel)), rtol=1e-9)
    np.testing.assert_allclose(found.G1[-1], 0, atol=1e-9)


def test_relu_on_both_sides_of_a_ray():
    """K^_12 = 0 at the second layer, so the third has E F_12 = E sqrt(K^_11 K^_22) C_W / 2 pi: G1 / K = -1.5."""
    kernel = 2 * np.array([[1.0, -1.0], [-1.0, 1.0]])
    found = finite_width(ACTIVATIONS["relu"], np.sqrt(2), 0.0, kernel, depth=2)
    np.testing.assert_allclose(found.K[-1], [2, 2 / np.pi, 2], rtol=1e-14)
    np.testing.assert_allclose(found.G1[-1], [0, -3 / np.pi, 0], atol=1e-12)


def test_tanh_shift_and_variance_at_large_depth():
    """At criticality (C_W, C_b) = (1, 0): V / (K^2 l) -> 2/3, G1 / (K l) -> -1/3, slowly."""
    found = finite_width(ACTIVATIONS["tanh"], 1.0, 0.0, np.eye(1), depth=99)
    kernel, layer = found.K[-1, 0], 100
    assert found.V[-1, 0, 0] / kernel**2 / layer == pytest.approx(2 / 3, abs=0.03)
    assert found.G1[-1, 0] / kernel / layer == pytest.approx(-1 / 3, abs=0.03)


def test_fourth_moments_of_five_independent_directions():
    """sin: the characteristic function. Five points of rank five go through subsets of up to four."""
    draws = np.random.default_rng(4).normal(size=(5, 7))
    kernel = draws @ draws.T / 10
    legs = multisets(5, 4)
    signs = np.array(list(product((-1, 1), repeat=4)))
    blocks = kernel[legs[:, :, None], legs[:, None, :]]
    exact = np.exp(-np.einsum("si,cij,sj->cs", signs, blocks, signs) / 2) @ signs.prod(axis=1) / 16
    np.testing.assert_allclose(fourth_moments(ACTIVATIONS["sin"], kernel), exact, atol=1e-12)


def test_fourth_moments_of_relu_in_four_dimensions():
    """Independent relu units, and orthogonal invariance of the rule: four equal means 1/sqrt(2 pi)."""
    kernel = np.diag([1.0, 2.0, 0.5, 1.5, 1.0])
    found = fourth_moments(ACTIVATIONS["relu"], kernel)
    for subset in combinations(range(5), 4):
        expected = np.sqrt(np.prod(np.diag(kernel)[list(subset)])) / (2 * np.pi) ** 2
        assert found[rank(np.array(subset), 5)] == pytest.approx(expected, rel=1e-7)
    assert found[rank(np.array([0, 0, 1, 1]), 5)] == pytest.approx(0.5, rel=1e-13)


def test_four_distinct_inputs_against_sampled_networks():
    """N G4c(0123) and the whole order at depth 2, N = 256: cov of the output kernel given the first Gram matrix."""
    rng = np.random.default_rng(9)
    x, width, networks = rng.normal(size=(4, 4)), 256, 4000
    found = finite_width(ACTIVATIONS["tanh"], 1.5, 0.2, first_kernel(x, 1.5, 0.2), depth=2)
    kernels = []
    for _ in range(networks):
        z = 0.2 * rng.normal(size=width) + 0.75 * x @ rng.normal(size=(4, width))
        gram = 2.25 * np.tanh(z) @ np.tanh(z).T / width + 0.04
        h = np.tanh(np.linalg.cholesky(gram) @ rng.normal(size=(4, width)))
        kernels.append(pack(2.25 * h @ h.T / width))
    deviations = np.array(kernels) - np.mean(kernels, axis=0)
    products = width * deviations[:, :, None] * deviations[:, None, :]
    error = products.std(axis=0) / np.sqrt(networks)
    pull = (products.mean(axis=0) - found.V[-1]) / (error + 0.02 * np.sqrt(np.outer(*[np.diag(found.V[-1])] * 2)))
    assert np.max(np.abs(pull)) < 5
    last_layer = finite_width(ACTIVATIONS["tanh"], 1.5, 0.2, gp_kernel(ACTIVATIONS["tanh"], x, 1, 1.5, 0.2), depth=1)
    assert np.max(np.abs((products.mean(axis=0) - last_layer.V[-1]) / error)) > 5


def test_refusals():
    with pytest.raises(ValueError, match="infinite"):
        finite_width(ACTIVATIONS["gauss"], 1.0, 1.0, TWO, depth=2)
    with pytest.raises(ValueError, match="at least 1"):
        finite_width(ACTIVATIONS["tanh"], 1.0, 1.0, TWO, depth=0)
