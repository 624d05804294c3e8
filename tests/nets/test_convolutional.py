"""Convolutional networks: references for 1-d signals and 3 x 3 images, C_W = 1.5, C_b = 0.1, phi = erf."""

import drawn as shared
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import agree

from nnqft.core.errors import InputError
from nnqft.core.packing import pack, rank
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.convolutional import Convolutional
from nnqft.nets.influence import quartic
from nnqft.nets.kernels import first_factor
from nnqft.nets.lanes import Lanes
from nnqft.nets.patches import Patches
from nnqft.nets.registry import network
from nnqft.spec.grid import architecture

SIGMA = np.sqrt(1.5), np.sqrt(0.1)
SIGNALS = np.array([[1, 0.5, -0.3, 0.8, -0.6], [-0.4, 0.9, 0.2, -1, 0.3], [0.7, -0.2, 0.6, 0.1, -0.9]])
IMAGES = np.array(
    [
        [1, 0.5, -0.3, 0.8, -0.6, 0.2, -0.4, 0.9, 0.1],
        [-0.4, 0.9, 0.2, -1, 0.3, 0.5, 0.7, -0.2, 0.6],
        [0.7, -0.2, 0.6, 0.1, -0.9, 0.4, 0.3, 0.8, -0.5],
    ]
)
KEY = jnp.array([11, 5], dtype=jnp.uint32)
KERNEL = rank(np.array([(0, 0), (0, 1), (1, 2)]), 3)
QUARTIC = rank(np.array([(0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 2)]), 3)
ROWS = {
    ("circular", 1, 1, "vector"): ((0.7263733495, -0.0490976071, 0.0094915498), (0.2600, 0.2643, -0.0437)),
    ("circular", 1, 1, "pool"): ((0.2704924580, 0.1832698006, 0.1902196500), (0.1452, 0.0542, 0.0613)),
    ("circular", 1, 2, "vector"): ((0.7050531526, 0.0615214122, 0.1081455785), (0.2476, 0.4260, 0.0626)),
    ("circular", 1, 2, "pool"): ((0.3206880100, 0.2497671552, 0.2617500241), (0.3022, 0.1659, 0.1816)),
    ("zero", 1, 1, "vector"): ((0.6790744021, -0.0183556826, 0.0461246984), (0.2171, 0.2139, 0.0273)),
    ("zero", 1, 1, "pool"): ((0.2874927959, 0.1742929578, 0.1811531225), (0.1485, 0.0578, 0.0623)),
    ("zero", 1, 2, "vector"): ((0.6488233786, 0.0984657282, 0.1531921163), (0.2185, 0.3198, 0.1505)),
    ("zero", 1, 2, "pool"): ((0.3261340626, 0.2381063106, 0.2480450109), (0.2585, 0.1457, 0.1605)),
    ("circular", 2, 2, "vector"): ((0.6856248640, 0.1035342811, 0.1637616027), (0.1902, 0.3204, 0.1722)),
    ("circular", 2, 2, "pool"): ((0.3205135212, 0.2961933985, 0.2874183243), (0.2791, 0.2237, 0.2232)),
}
ERRORS = {
    ("circular", 1, 1, "vector"): (0.0007, 0.0008, 0.0004),
    ("circular", 1, 1, "pool"): (0.0008, 0.0005, 0.0005),
    ("circular", 1, 2, "vector"): (0.0007, 0.0014, 0.0010),
    ("circular", 1, 2, "pool"): (0.0010, 0.0009, 0.0009),
    ("zero", 1, 1, "vector"): (0.0007, 0.0007, 0.0005),
    ("zero", 1, 1, "pool"): (0.0009, 0.0004, 0.0006),
    ("zero", 1, 2, "vector"): (0.0008, 0.0012, 0.0009),
    ("zero", 1, 2, "pool"): (0.0011, 0.0007, 0.0009),
    ("circular", 2, 2, "vector"): (0.0007, 0.0017, 0.0011),
    ("circular", 2, 2, "pool"): (0.0018, 0.0012, 0.0012),
}

EIGHT_CHANNELS = {"vector": ((0.2286, 0.3210, 0.1507), (0.0012, 0.0020, 0.0017)), "pool": ((0.2583,), (0.0018,))}


def of_row(row, width=8, sampler="conditional"):
    padding, dimensions, depth, readout = row
    shape = (5,) if dimensions == 1 else (3, 3)
    net = convolutional(depth, width, sampler, shape=shape, padding=padding, readout=readout)
    return net, SIGNALS if dimensions == 1 else IMAGES


def convolutional(depth=1, width=8, sampler="conditional", activation="erf", **options):
    options = {"shape": (5,)} | options
    return Convolutional(ACTIVATIONS[activation], depth, width, sampler, options=Convolutional.Options(**options))


def drawn(net, numbers, x):
    return shared.features(net, KEY, jnp.array(numbers, dtype=jnp.uint32), x, *SIGMA).units


def measured(net, x, networks):
    """G2 and N G4c: (value, standard error) of each."""
    return shared.measured(net, x, networks, SIGMA, KEY, scale=net.width)


@pytest.mark.parametrize("row", ROWS)
def test_kernels_and_leading_quartics_of_the_tables(row):
    net, x = of_row(row)
    np.testing.assert_allclose(pack(net.gp_kernel(x, *SIGMA))[KERNEL], ROWS[row][0], rtol=0, atol=2e-10)
    value, error = (part[QUARTIC] for part in quartic(net, x, *SIGMA, paths=2**17))
    assert agree((value, error), (np.array(ROWS[row][1]), np.array(ERRORS[row])))
    assert np.all(error < 0.009 * np.max(value))


@pytest.mark.parametrize("row", [("zero", 1, 1, "vector"), ("circular", 1, 1, "pool")])
def test_one_hidden_layer_is_known_at_every_width(row):
    widths = np.array([[2.0], [16.0]])
    net, x = of_row(row, width=2)
    known = net.known(x, *SIGMA, widths)
    assert known.quality == {2: "exact", 4: "quadrature"}
    np.testing.assert_allclose(known.values[4] * widths, np.ones((2, 1)) * known.values[4][1] * 16, rtol=1e-12)
    expected = known.values[4][1] * 16
    assert agree((expected, 0), quartic(net, x, *SIGMA, paths=2**17))
    second, fourth = measured(net, x, 2**16)
    assert agree(second, (known.values[2][0], 0))
    assert agree(fourth, (expected, 0))


@pytest.mark.parametrize(("activation", "readout"), [("linear", "vector"), ("linear", "pool"), ("gauss", "pool")])
def test_closed_forms_and_integration_agree(activation, readout):
    """And for linear units K_ab is quadratic in one filter, so that Wick's theorem on patches gives the covariance."""
    net = convolutional(activation=activation, readout=readout, padding="zero")
    sigma = (0.3, 0.2) if activation == "gauss" else SIGMA
    known = net.known(SIGNALS, *sigma, np.array([[4.0]]))
    assert known.quality == {2: "exact", 4: "exact"}
    factor = first_factor(np.asarray(net._inputs(SIGNALS)).T, *sigma)
    found = net._integrated_quartic(factor, 3)
    tolerance = 5 * np.max(found.error) + 1e-7 * np.max(found.value)
    np.testing.assert_allclose(
        known.values[4][0] * 4, sigma[0] ** 4 * found.value, rtol=0, atol=sigma[0] ** 4 * tolerance
    )


def test_images_are_known_with_an_error():
    """Ten variables: quasi-Monte Carlo."""
    net, x = of_row(("circular", 2, 1, "pool"))
    known = net.known(x, *SIGMA, np.array([[8.0]]))
    assert known.quality[4] == "sampled"
    assert np.max(known.errors[4]) < 1e-3 * np.max(known.values[4])
    assert agree((8 * known.values[4][0], 8 * known.errors[4][0]), quartic(net, x, *SIGMA, paths=2**17))


@pytest.mark.parametrize("readout", ["vector", pytest.param("pool", marks=pytest.mark.slow)])
def test_conditional_draws_have_the_law_of_the_weights(readout):
    """Zero padding, two layers, N = 8: 15 preactivations a channel against 25 weights."""
    found = [measured(of_row(("zero", 1, 2, readout), 8, s)[0], SIGNALS, 2**15) for s in ("conditional", "weights")]
    assert agree(found[0][0], found[1][0])
    assert agree(found[0][1], found[1][1])
    reference, spread = EIGHT_CHANNELS[readout]
    value, error = (part[QUARTIC[: len(reference)]] for part in found[0][1])
    assert agree((value, error), (np.array(reference), np.array(spread)))


@pytest.mark.parametrize(("shape", "circular"), [((5,), True), ((5,), False), ((3, 4), True), ((3, 4), False)])
def test_patches_are_convolutions(shape, circular):
    """sum_jk W_jk phi_j(alpha + k) written out."""
    rng, reach = np.random.default_rng(1), np.ndindex(*(3,) * len(shape))
    image, weights = rng.normal(size=(2, *shape)), rng.normal(size=(2, *(3,) * len(shape)))
    expected = np.zeros(shape)
    for k in reach:
        for alpha in np.ndindex(*shape):
            seen = np.array(alpha) + k - 1
            if circular or np.all((seen >= 0) & (seen < shape)):
                expected[alpha] += weights[:, *k] @ image[:, *(seen % shape)]
    patches = Patches(shape, 3, circular)
    unfolded = np.asarray(patches.unfold(jnp.asarray(image.reshape(2, -1))))
    np.testing.assert_allclose(weights.reshape(-1) @ unfolded, expected.ravel(), atol=1e-14)
    gram = image.reshape(2, -1).T @ image.reshape(2, -1)
    np.testing.assert_allclose(patches.average(jnp.asarray(gram)), unfolded.T @ unfolded / patches.taps, atol=1e-14)


def test_channels_come_last_and_circular_pooling_ignores_shifts():
    image = np.arange(12.0).reshape(2, 3, 2) / 10
    both = np.stack([image.ravel(), np.roll(image, (1, 2), (0, 1)).ravel()])
    net = convolutional(2, shape=(2, 3), channels=2, readout="pool")
    kernel = net.gp_kernel(both, *SIGMA)
    np.testing.assert_allclose(kernel, kernel[0, 0], rtol=1e-12)
    units = drawn(net, [0, 1], both)
    np.testing.assert_allclose(units[..., 0], units[..., 1], atol=1e-6)
    assert not np.allclose(kernel, net.gp_kernel(image.swapaxes(1, 2).reshape(1, -1), *SIGMA)[0, 0])


def test_draws_know_neither_their_company_nor_that_points_coincide():
    x, net = np.concatenate([SIGNALS, SIGNALS[:1]]), convolutional(2, 16, padding="zero")
    units = drawn(net, range(6), x)
    assert units.shape == (6, 16 * 5, 4)
    np.testing.assert_allclose(drawn(net, [5], x)[0], units[5], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(units[..., 3], units[..., 0], atol=1e-7)
    pooled = convolutional(1, 16, readout="pool")
    assert pooled.independence == "iid"
    assert net.independence == "none"
    together = drawn(pooled, range(3), x)
    numbers = jnp.uint32([2, 1, 2]), jnp.uint32([7, 0, 15])
    single, weight = jax.jit(pooled.unit)(Lanes(KEY, *numbers, jnp.uint32(16)), jnp.asarray(x), *SIGMA)
    assert weight is None
    np.testing.assert_allclose(single, together[numbers], rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "depth", "activation", "where"),
    [
        ({"shape": (4,)}, 1, "erf", "options.shape"),
        ({"shape": (5,), "channels": 2}, 1, "erf", "options.shape"),
        ({"shape": (1, 1, 5)}, 1, "erf", "options.shape"),
        ({"shape": (5,), "filter": 2}, 1, "erf", "options.filter"),
        ({}, 1, "erf", "options.shape"),
        ({"shape": (5,), "padding": "reflect"}, 1, "erf", "options.padding"),
        ({"shape": (5,)}, 2, "gauss", "depth"),
    ],
)
def test_refusals(options, depth, activation, where):
    with pytest.raises(InputError) as caught:
        network(architecture(SIGNALS, activation, depth, network="convolutional", **options), 8)
    assert caught.value.where == where
