"""Deep linear networks: exact cumulants against closed formulas, an independent recursion, and sampled networks."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest
from drawn import agree, kernels, measured

from nnqft.core.errors import InputError
from nnqft.core.packing import multisets, pack, pairing_legs, rank, unpack, wick
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.influence import sum_over_pairings
from nnqft.nets.linear import Linear, Options, mixture_cumulants
from nnqft.nets.mlp import MLP
from nnqft.nets.registry import network
from nnqft.nets.weightlaws import WeightLaw
from nnqft.spec.grid import architecture

X = np.array([(1, 0.5), (-0.3, 0.8), (0.6, -1)])
LISTED = rank(np.array([(0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 2)]), 3)
KEY = jnp.array([5, 6], dtype=jnp.uint32)
NORMAL = WeightLaw("gaussian").moments


def linear(depth, width, sampler="conditional", **options):
    return Linear(ACTIVATIONS["linear"], depth, width, sampler, "float64", Options(**options))


def known(net, sigma_w, sigma_b, width=None, x=X):
    return net.known(x, sigma_w, sigma_b, np.array([[float(width or net.width)]]))


def test_bottleneck_of_the_reference():
    net = linear(3, 16, layer_widths=(1, 0.25, 1))
    found = known(net, 1.0, 0.0)
    np.testing.assert_allclose(found.values[4][0][LISTED], [1.05285645, 0.20944824, -0.27065430], atol=1e-8)
    assert found.quality == dict.fromkeys((2, 4, 6, 8), "exact")
    value, error = measured(net, X, 2**16, (1.0, 0.0), KEY)[1]
    assert agree((value[LISTED], error[LISTED]), (found.values[4][0][LISTED], 0))
    assert error[0] < 0.0198


@pytest.mark.parametrize("widths", [(1, 1, 1), (0.5, 2), (3,)])
def test_without_biases_every_order_is_a_product_over_layers(widths):
    """E f^2k = prod_layers prod_{j<k} (1 + 2j/n) times the sum over pairings; C_W to the power of the layers."""
    n, C_W = [round(8 * f) for f in widths], 1.7
    found = known(linear(len(widths), 8, layer_widths=widths), np.sqrt(C_W), 0.0)
    kernel = pack(X @ X.T / 2)
    power = C_W ** (len(widths) + 1)
    m = [Fraction(1), Fraction(1)]
    for k in (2, 3, 4):
        m.append(Fraction(1))
        for size in n:
            for j in range(k):
                m[k] *= 1 + Fraction(2 * j, size)
    cumulants = {
        4: m[2] - 1,
        6: m[3] - 3 * m[2] + 2,
        8: m[4] - 4 * m[3] - 3 * m[2] ** 2 + 12 * m[2] - 6,
    }
    np.testing.assert_allclose(found.values[2][0], power * kernel, rtol=1e-12)
    for order, cumulant in cumulants.items():
        expected = float(cumulant) * power ** (order // 2) * wick(kernel, 3, order)
        np.testing.assert_allclose(found.values[order][0], expected, rtol=1e-11)


@pytest.mark.parametrize("sizes", [(3,), (4, 2), (5, 3, 8)])
def test_order_four_with_biases_by_the_recursion_of_covariances(sizes):
    """E' = C_b + C_W E, Cov' = C_W^2 [Cov + ({E E} + {Cov}) / n], {A}_abcd = A_acbd + A_adbc: Wishart."""
    C_W, C_b = 1.3, 0.4
    mean, covariance = C_b + C_W * X @ X.T / 2, np.zeros((3, 3, 3, 3))
    for n in sizes:
        second = np.multiply.outer(mean, mean) + covariance
        crossed = np.einsum("acbd->abcd", second) + np.einsum("adbc->abcd", second)
        mean, covariance = C_b + C_W * mean, C_W**2 * (covariance + crossed / n)
    rows, columns = multisets(3, 2).T
    pairs = covariance[rows[:, None], columns[:, None], rows, columns]
    found = known(linear(len(sizes), 1, layer_widths=sizes), np.sqrt(C_W), np.sqrt(C_b))
    np.testing.assert_allclose(found.values[2][0], pack(mean), rtol=1e-13)
    np.testing.assert_allclose(found.values[4][0], sum_over_pairings(pairs, 3), rtol=1e-12)


def test_order_six_with_biases_against_networks():
    """The third cumulants of the output's covariance, summed over pairings: two layers of (6, 3) neurons."""
    net, sigma = linear(2, 6, layer_widths=(1, 0.5)), (0.8, 0.6)
    found = kernels(net, X, 2**18, sigma, KEY)
    d = found - found.mean(axis=(0, 1))
    legs = pairing_legs(3, 6)
    batches = np.array([sum(b[:, legs[:, p]].prod(axis=2).mean(axis=0) for p in range(15)) for b in d])
    error, exact = batches.std(axis=0, ddof=1) / 8, known(net, *sigma).values[6][0]
    assert np.all(np.abs(batches.mean(axis=0) - exact) <= 4 * error)
    assert np.median(error / np.abs(exact)) < 0.15


@pytest.mark.parametrize("law", ["sign", "uniform", "sparse-0.3"])
def test_readout_laws(law):
    """One hidden layer, one input, without bias: f = sum_i w_i z_i, cumulants N^{1-k} (2k-1)!! kappa_k(w^2) K^k."""
    found = known(linear(1, 5, readout_law=law), 1.0, 0.0, x=X[:1])
    K, (m4, m6, m8) = 1.25 / 2, WeightLaw(law).moments
    cumulants = m4 - 1, m6 - 3 * m4 + 2, m8 - 4 * m6 - 3 * m4**2 + 12 * m4 - 6
    for k, cumulant in zip((2, 3, 4), cumulants, strict=True):
        expected = 5.0 ** (1 - k) * np.prod(np.arange(1, 2 * k, 2)) * cumulant * K**k
        assert found.values[2 * k][0, 0] == pytest.approx(expected, rel=1e-11, abs=1e-14)


def test_readout_laws_without_all_moments():
    found = known(linear(2, 5, readout_law="student-7"), 1.0, 0.3)
    assert set(found.values) == {2, 4, 6}
    assert "student-7" in found.reason


def test_large_widths_keep_their_digits():
    """kappa_4(B) of one layer is 48 / N^3, sixteen digits below the moments it is made of."""
    for n in (10, 10**6):
        found = mixture_cumulants((n,), NORMAL, 1.0, 0.0, 4)
        assert [float(found[0, k]) for k in (2, 3, 4)] == pytest.approx([2 / n, 8 / n**2, 48 / n**3], rel=1e-14)
    found = mixture_cumulants((n, n), NORMAL, 1.0, 0.5, 4)
    assert float(found[4, 0]) == pytest.approx(0.5**4 * 48 / n**3, rel=1e-10)


def test_first_order_is_that_of_perceptrons():
    exact = known(linear(3, 4, layer_widths=(1, 0.5, 2)), 1.2, 0.5, 10**6)
    perceptron = MLP(ACTIVATIONS["linear"], 3, 4, options=MLP.Options(layer_widths=(1, 0.5, 2)))
    leading = known(perceptron, 1.2, 0.5, 10**6)
    np.testing.assert_allclose(exact.values[2], leading.values[2], rtol=1e-12)
    np.testing.assert_allclose(exact.values[4], leading.values[4], rtol=3e-5)


def test_in_the_registry():
    found = network(architecture(X, depth=2, sigma_w=1.1, sigma_b=0.2, network="linear", layer_widths=[1, 2]), 8)
    assert isinstance(found, Linear)
    assert found.layers(8) == (8, 16)
    assert found.activation.name == "linear"
    np.testing.assert_allclose(unpack(known(found, 1.1, 0.2).values[2][0], 3), found.gp_kernel(X, 1.1, 0.2))
    for options in ({"norm": "rms"}, {"hidden_law": "sign"}):
        with pytest.raises(InputError, match="options of linear: layer_widths, readout_law"):
            network(architecture(X, network="linear", **options), 8)
    with pytest.raises(InputError, match="linear networks have linear"):
        network(architecture(X, "tanh", network="linear"), 8)
