"""Normalised preactivations: kernels, leading order, both samplers, and what is exact for one input."""

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import agree

from nnqft.core.packing import pack, rank
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.influence import quartic
from nnqft.nets.mlp import MLP, Options

X = np.array([(1, 0.5), (-0.3, 0.8), (0.6, -1)])
SIGMA = np.sqrt(1.5), np.sqrt(0.1)
LISTED = rank(np.array([(0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 2), (0, 1, 1, 2)]), 3)
KEY = jnp.array([11, 12], dtype=jnp.uint32)


def mlp(activation="erf", depth=2, width=16, sampler="conditional", **options):
    return MLP(ACTIVATIONS[activation], depth, width, sampler, "float64", Options(**options))


def known(net, width, x=X, sigma=SIGMA):
    return net.known(x, *sigma, np.array([[float(width)]]))


def measured(net, networks, x=X, sigma=SIGMA):
    return drawn.measured(net, x, networks, sigma, KEY)


def test_norms_of_the_table():
    """erf, two layers: odd units have the same kernel and leading order with both norms."""
    for norm in ("rms", "layer"):
        net = mlp(norm=norm)
        free = pack(net.gp_kernel(X, *SIGMA))
        np.testing.assert_allclose(free[[0, 1, 4]], [0.7968385816, 0.2901127020, -0.2231635234], atol=1e-8)
        found = known(net, 1).values[4][0][LISTED]
        errors = np.array([0.002, 0.003, 0.003, 0.002])
        assert np.all(np.abs(found - [0.330, 1.479, -0.862, 0.297]) <= 3 * errors)
        assert net.independence == "none"


@pytest.mark.parametrize(
    ("activation", "norm"), [("erf", "rms"), pytest.param("gelu", "layer", marks=pytest.mark.slow), ("relu", "layer")]
)
def test_leading_order_of_norms_from_influence_functions(activation, norm):
    net = mlp(activation, norm=norm, layer_widths=(1, 2))
    value, error = quartic(net, X, *SIGMA, paths=32_768)
    leading = known(net, 1).values[4][0]
    assert np.all(np.abs(value - leading) <= 4 * error)
    assert np.max(error) < 0.04 * np.max(leading)


@pytest.mark.parametrize(("activation", "norm"), [("erf", "layer"), ("gelu", "layer")])
def test_samplers_of_normalised_networks_agree(activation, norm):
    conditional, weights = (measured(mlp(activation, sampler=s, norm=norm), 32_768) for s in ("conditional", "weights"))
    for a, b in zip(conditional, weights, strict=True):
        assert agree(a, b)
    if activation == "erf":
        reference = np.array([0.3081, 1.601, -0.909]), np.array([0.0009, 0.005, 0.004])
        assert agree([16 * part[LISTED[:3]] for part in conditional[1]], reference)
    wide = measured(mlp(activation, width=64, norm=norm), 16_384)[1]
    leading = known(mlp(activation, norm=norm), 64).values[4][0]
    assert np.all(np.abs(wide[0] - leading) <= 4 * wide[1] + 0.05 * np.max(leading))


@pytest.mark.parametrize("depth", [1, 4])
def test_a_single_input_does_not_see_the_depth(depth):
    """relu: N Var Khat = 3 N / 4 (N + 2) exactly with RMSNorm; 3/4 - 2/pi at leading order with LayerNorm."""
    one = X[:1], (1.0, 0.0)
    rms, layer = mlp("relu", depth, norm="rms"), mlp("relu", depth, norm="layer")
    value, error = measured(rms, 65_536, *one)[1]
    assert agree((value / 3, error / 3), (0.75 / 18, 0))
    value, error = measured(layer, 65_536, *one)[1]
    assert agree((16 * value / 3, 16 * error / 3), (0.0992, 0.0005))
    assert known(rms, 1, *one).values[4][0, 0] / 3 == pytest.approx(0.75, rel=1e-9)
    assert known(layer, 1, *one).values[4][0, 0] / 3 == pytest.approx(0.75 - 2 / np.pi, rel=1e-9)


def test_normalised_zero_is_zero():
    x = np.array([[0.0, 0.0], [1.0, 0.5]])
    net = mlp("erf", depth=1, norm="layer")
    units = jax.jit(lambda n: net.features(KEY, n, jnp.asarray(x), 1.0, 0.0).units)(jnp.arange(3, dtype=jnp.uint32))
    assert np.all(np.isfinite(units))
    assert np.all(units[:, :, 0] == 0)
    assert mlp(norm="rms").gp_kernel(x, 1.0, 0.0)[0, 0] == 0
