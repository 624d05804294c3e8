"""Perceptrons with widths of their own and weights that are not Gaussian."""

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import agree

from nnqft.core.errors import InputError
from nnqft.core.packing import multisets, pack, rank, wick
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.lanes import Lanes
from nnqft.nets.mlp import MLP, Options
from nnqft.nets.registry import network
from nnqft.spec.grid import architecture

X = np.array([(1, 0.5), (-0.3, 0.8), (0.6, -1)])
SIGMA = np.sqrt(1.5), np.sqrt(0.1)
LISTED = rank(np.array([(0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 2), (0, 1, 1, 2)]), 3)
KEY = jnp.array([11, 12], dtype=jnp.uint32)
READOUTS = {
    "gaussian": (0.82372496, 0.80048925, -0.62123394, -0.01560799),
    "sign": (-0.72598897, -0.02436667, -0.00678126, 0.03213142),
    "uniform": (-0.10610340, 0.30557570, -0.25256234, 0.01303566),
    "sparse-0.25": (7.79743764, 4.51234091, -3.38627100, -0.23043532),
}


def mlp(activation="erf", depth=2, width=16, sampler="conditional", **options):
    return MLP(ACTIVATIONS[activation], depth, width, sampler, "float64", Options(**options))


def known(net, width, x=X, sigma=SIGMA):
    return net.known(x, *sigma, np.array([[float(width)]]))


def measured(net, networks, x=X, sigma=SIGMA):
    return drawn.measured(net, x, networks, sigma, KEY)


@pytest.mark.parametrize("law", READOUTS)
def test_readout_laws_of_one_layer(law):
    net = mlp(depth=1, width=4, readout_law=law)
    found = known(net, 4)
    np.testing.assert_allclose(found.values[2][0][[0, 1, 4]], [0.8073061418, 0.2261798580, -0.3626311569], atol=1e-9)
    np.testing.assert_allclose(4 * found.values[4][0][LISTED], READOUTS[law], atol=1e-6)
    assert found.quality == {2: "exact", 4: "quadrature", 6: "quadrature"}
    assert net.independence == "iid"


@pytest.mark.parametrize("law", READOUTS)
def test_readout_laws_are_what_outputs_have(law):
    """Four neurons, every weight drawn; 64 outputs of each network lower the noise of the readout's weights."""
    net, batches, size = mlp(depth=1, width=4, sampler="weights", readout_law=law), 64, 256
    legs = {k: multisets(3, k) for k in (2, 4)}

    @jax.jit
    def batch(first):
        networks = first + jnp.arange(size, dtype=jnp.uint32)
        units = net.features(KEY, networks, X, *SIGMA).units
        f = net.output(KEY, networks, units, *map(jnp.float64, SIGMA), outputs=64)
        return [f[..., legs[k]].prod(axis=-1).mean(axis=(0, 1)) for k in (2, 4)]

    second, fourth = (np.array(m) for m in zip(*(batch(np.uint32(size * b)) for b in range(batches)), strict=True))
    connected = fourth - wick(second, 3, 4)
    mean = fourth.mean(axis=0) - wick(second.mean(axis=0), 3, 4)
    error = connected.std(axis=0, ddof=1) / np.sqrt(batches)
    exact = known(net, 4)
    assert np.all(np.abs(mean - exact.values[4][0]) <= 4 * error)
    assert error[0] < 0.02 * abs(READOUTS["sparse-0.25"][0])
    assert np.all(np.abs(second.mean(axis=0) - exact.values[2][0]) <= 4 * second.std(axis=0, ddof=1) / np.sqrt(batches))


def test_infinite_moments_have_no_prediction():
    found = known(mlp(depth=1, readout_law="student-5"), 4)
    assert set(found.values) == {2, 4}
    assert "student-5" in found.reason


@pytest.mark.parametrize(("law", "expected"), [("gaussian", -0.06036), ("sign", 0.05320), ("sparse-0.25", -0.57138)])
def test_hidden_laws_shift_the_kernel(law, expected):
    net = mlp(sampler="weights", hidden_law=law, first_law="gaussian")
    found, plain = known(net, 16), known(mlp(), 16)
    free = pack(net.gp_kernel(X, *SIGMA))
    assert 16 * (found.values[2] - free)[0, 0] == pytest.approx(expected, abs=5e-6)
    np.testing.assert_array_equal(found.values[4], plain.values[4])
    assert net.independence == ("given" if law == "gaussian" else "none")
    if law != "sparse-0.25":  # whose next order in 1/N is large
        (value, error), _ = measured(net, 98_304)
        assert agree((value, error), (found.values[2][0], 0))
        assert np.abs(value - free)[0] > 5.04 * error[0]


@pytest.mark.parametrize("law", ["sign", "uniform"])
def test_laws_of_the_first_layer(law):
    """The kernel of few inputs depends on the law; one layer is known by quadrature, more are not."""
    net = mlp(depth=1, width=6, sampler="weights", hidden_law=law)
    found = known(net, 6)
    free = pack(net.gp_kernel(X, *SIGMA))
    np.testing.assert_allclose(found.values[2][0], free, rtol=1e-9)
    assert np.max(np.abs(free - pack(mlp(depth=1).gp_kernel(X, *SIGMA)))) > 0.01
    second, fourth = measured(net, 65_536)
    assert agree(second, (free, 0))
    assert agree(fourth, (found.values[4][0], 0))
    deep = mlp(depth=2, sampler="weights", hidden_law=law)
    assert not known(deep, 6).values
    assert law in known(deep, 6).reason
    wide = measured(mlp(depth=2, width=128, sampler="weights", hidden_law=law), 4096)[0]
    assert np.all(np.abs(wide[0] - pack(deep.gp_kernel(X, *SIGMA))) <= 4 * wide[1] + 0.01)


def test_widths_of_a_bottleneck():
    """erf (32, 4, 32): both samplers and the reference; linear, leading order: the sum of the inverse widths."""
    nets = (mlp(depth=3, width=32, sampler=s, layer_widths=(1, 0.125, 1)) for s in ("conditional", "weights"))
    conditional, weights = (measured(net, 32_768) for net in nets)
    for a, b in zip(conditional, weights, strict=True):
        assert agree(a, b)
    reference = np.array([0.0563, 0.1300, -0.0562]), np.array([0.0003, 0.0006, 0.0005])
    assert agree([part[LISTED[:3]] for part in conditional[1]], reference)
    linear = mlp("linear", depth=3, width=32, layer_widths=(1, 0.125, 0.5))
    found = known(linear, 32, sigma=(1.0, 0.0)).values[4]
    kernel = pack(X @ X.T / 2)
    np.testing.assert_allclose(found[0], 2 * (1 / 32 + 1 / 4 + 1 / 16) * wick(kernel, 3, 4), rtol=1e-9)
    assert linear.layers(32) == (32, 4, 16)
    assert linear.units == 16
    assert mlp(depth=2, width=1, layer_widths=(0.1, 1.4)).layers(3) == (1, 4)


def test_widths_in_the_leading_order():
    """The shift of the kernel too; widths that rounding moves away from their multiples enter as they are."""
    wide, narrow = mlp(depth=3, layer_widths=(1, 0.5, 2)), mlp(depth=3, layer_widths=(2.04, 0.96, 4))
    for k in (2, 4):
        np.testing.assert_allclose(known(wide, 20).values[k], known(narrow, 10).values[k], rtol=1e-12)
    second, fourth = measured(mlp(depth=3, width=64, layer_widths=(1, 0.5, 2)), 32_768)
    leading = known(mlp(depth=3, width=64, layer_widths=(1, 0.5, 2)), 64).values
    assert np.all(np.abs(second[0] - leading[2][0]) <= 4 * second[1] + 2e-4)
    assert np.all(np.abs(fourth[0] - leading[4][0]) <= 4 * fourth[1] + 0.04 * np.max(leading[4]))


@pytest.mark.parametrize("options", [{"layer_widths": (2.0,)}, {"first_law": "sign"}, {"first_law": "student-6"}])
def test_single_neurons_are_those_of_the_layer(options):
    net = mlp(depth=1, width=6, sampler="weights", **options)
    units = jax.jit(lambda n: net.features(KEY, n, jnp.asarray(X), *SIGMA).units)(jnp.arange(4, dtype=jnp.uint32))
    lanes = jnp.array([5, 0, 3], dtype=jnp.uint32)
    one = jax.jit(lambda n, i: net.unit(Lanes(KEY, n, i, net.units), jnp.asarray(X), *SIGMA))
    single, weight = one(lanes % 4, lanes)
    np.testing.assert_allclose(single, units[lanes % 4, lanes], rtol=1e-12)
    assert weight is None


@pytest.mark.parametrize("options", [{"norm": "layer"}, {"hidden_law": "sign"}, {"layer_widths": (1.0, 2.0)}])
def test_networks_do_not_depend_on_their_company(options):
    net = mlp(sampler="weights", **options)
    draw = jax.jit(lambda networks: net.features(KEY, networks, jnp.asarray(X), *SIGMA).units)
    alone, together = draw(jnp.array([7], dtype=jnp.uint32)), draw(jnp.arange(9, dtype=jnp.uint32))
    np.testing.assert_allclose(alone[0], together[7], rtol=1e-12)


@pytest.mark.parametrize(
    ("message", "sampler", "activation", "depth", "options"),
    [
        ("options.hidden_law: .*use sampler: weights", "conditional", "erf", 2, {"hidden_law": "sign"}),
        ("options.hidden_law: .*infinite fourth moment", "weights", "erf", 2, {"hidden_law": "student-4"}),
        ("options.readout_law: no law of weights 'coin'", "weights", "erf", 2, {"readout_law": "coin"}),
        ("options.layer_widths: 3 widths for 2", "weights", "erf", 2, {"layer_widths": [1, 2, 1]}),
        ("options.layer_widths", "weights", "erf", 2, {"layer_widths": [1, 0]}),
        ("options.norm", "weights", "gauss", 1, {"norm": "rms"}),
        ("sampler: tilting", "tilted", "erf", 1, {"norm": "layer"}),
        ("depth: .*infinite variance", "weights", "gauss", 2, {}),
    ],
)
def test_refusals(message, sampler, activation, depth, options):
    with pytest.raises(InputError, match=message):
        network(architecture(X, activation, depth, *SIGMA, **options), 8, sampler)


def test_first_layers_of_many_inputs_are_refused():
    with pytest.raises(InputError, match="first_law: gaussian"):
        network(architecture(np.eye(6), "erf", 1, *SIGMA, hidden_law="uniform"), 8, "weights")
