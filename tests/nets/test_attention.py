"""One attention block: references with three tokens of two components, unit scale of the readout, no bias."""

import drawn as shared
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import agree

from nnqft.core.errors import InputError
from nnqft.core.packing import pack, rank
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.attention import Attention, head_averages
from nnqft.nets.base import NotKnownError
from nnqft.nets.influence import quartic
from nnqft.nets.registry import network
from nnqft.spec.grid import architecture

TOKENS = np.array([[1, 0.5, -0.3, 0.8, 0.6, -1], [0.2, -0.7, 0.9, 0.4, -0.5, 0.3], [-1, 0.1, 0.4, 0.6, 0.3, -0.2]])
WIDE = np.random.default_rng(0).normal(size=(2, 2 * 7))
"""Two points of two tokens of seven components: more components than tokens."""
KEY = jnp.array([7, 3], dtype=jnp.uint32)
UNIT = 1.0, 0.0
KERNEL = rank(np.array([(0, 0), (0, 1), (1, 2)]), 3)
QUARTIC = rank(np.array([(0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 2)]), 3)
TIED = {"tied_keys": True, "key_scaling": 1}
ONE = np.array([[1.0]])


def attention(width=1, sampler="conditional", tokens=3, **options):
    return Attention(ACTIVATIONS["linear"], 1, width, sampler, options=Attention.Options(tokens=tokens, **options))


def drawn(net, numbers, x):
    return shared.features(net, KEY, jnp.array(numbers, dtype=jnp.uint32), x, *UNIT).units


def measured(net, x, networks):
    """G2 and width * G4c: (value, standard error) of each."""
    return shared.measured(net, x, networks, UNIT, KEY, scale=net.width)


def listed(net, order=4):
    return net.known(TOKENS, *UNIT, ONE).values[order][0][KERNEL if order == 2 else QUARTIC]


@pytest.mark.parametrize(
    ("options", "kernel", "errors", "quartics"),
    [
        (
            {},
            (0.103759, 0.044979, -0.010983),
            (1.4e-5, 9e-6, 5e-6),
            {1: (0.07026, 0.013889, -0.006121), 4: (0.01898, 0.003831, -0.001768)},
        ),
        (
            {"keys": 4},
            (0.103691, 0.044988, -0.010916),
            (1.6e-5, 9e-6, 3e-6),
            {1: (0.07011, 0.013883, -0.006029), 4: (0.01893, 0.003828, -0.001736)},
        ),
        (
            TIED | {"keys": 8},
            (0.117114, 0.055541, -0.014015),
            (1.2e-5, 6e-6, 2e-6),
            {4: (0.021504, 0.004913, -0.002114)},
        ),
        (TIED | {"keys": 512}, (0.117686,), (9e-6,), {4: (0.020789,)}),
    ],
)
def test_fluctuating_logits_of_the_tables(options, kernel, errors, quartics):
    count = len(kernel)
    assert np.all(np.abs(listed(attention(**options), 2)[:count] - kernel) < 3 * np.array(errors))
    for values, expected in quartics.items():
        np.testing.assert_allclose(listed(attention(values=values, **options))[:count], expected, rtol=2e-3)


def test_the_spread_of_one_head_in_the_tables():
    """d_v -> infinity at fixed H: not Gaussian unless the logits are fixed."""
    for options, expected in (({}, (0.001888, 0.000478, -0.000317)), ({"keys": 4}, (0.001865, 0.000476, -0.000305))):
        np.testing.assert_allclose(listed(attention(values=10**9, **options)), expected, rtol=5e-3)
    np.testing.assert_allclose(listed(attention(values=10**9, **TIED, keys=8))[0], 0.000620, rtol=5e-3)
    np.testing.assert_allclose(listed(attention(values=10**9, **TIED, keys=512))[0], 1.0e-5, rtol=0.05)


@pytest.mark.parametrize(
    ("options", "kernel"),
    [
        (TIED, (0.1177064050, 0.0557539785, -0.0139615963)),
        (TIED | {"readout": "vector"}, (0.1569919288, 0.0502534935, -0.0119395601)),
        ({"key_scaling": 1}, (0.08 / 0.9 + 0.01, 0.13 / 3, -0.01)),
    ],
)
def test_fixed_logits_are_exact(options, kernel):
    net = attention(**options)
    np.testing.assert_allclose(pack(net.gp_kernel(TOKENS, *UNIT))[KERNEL], kernel, rtol=0, atol=1e-10)
    known = net.known(TOKENS, 1.5, 0.5, ONE)
    assert known.quality == {2: "exact", 4: "exact"}
    assert known.errors == {}
    np.testing.assert_allclose(known.values[2][0], 0.25 + 2.25 * pack(net.gp_kernel(TOKENS, *UNIT)), rtol=1e-12)
    np.testing.assert_allclose(known.values[4][0], 1.5**4 * net.known(TOKENS, *UNIT, ONE).values[4][0], rtol=1e-12)
    if options == TIED:
        assert listed(attention(values=4, **options))[0] == pytest.approx(0.0207822, abs=5e-8)


def test_integration_and_quasi_monte_carlo_agree():
    """Infinite keys by lattice against many keys by Sobol points; few keys against plain weights."""
    infinite, many = attention(values=4), attention(values=4, keys=10**7)
    assert infinite.known(TOKENS, *UNIT, ONE).quality == {2: "quadrature", 4: "quadrature"}
    np.testing.assert_allclose(listed(many), listed(infinite), rtol=3e-4)
    known = many.known(TOKENS, *UNIT, ONE)
    assert known.quality[4] == "sampled"
    assert 0 < np.max(known.errors[4]) < 3e-4 * np.max(known.values[4])


@pytest.mark.parametrize("heads", [1, 4, 16])
def test_heads_times_quartic_is_the_same_at_every_number_of_heads(heads):
    net = attention(heads, values=4)
    known = net.known(TOKENS, *UNIT, ONE)
    second, fourth = measured(net, TOKENS, 2**15)
    assert agree(second, (known.values[2][0], 0))
    assert agree(fourth, (known.values[4][0], 0))


@pytest.mark.parametrize(
    "options",
    [
        {"keys": 4},
        {"keys": 1, "values": 2, "readout": "vector"},
        TIED | {"keys": 8, "values": 4},
        TIED | {"keys": 1, "values": 4},
        TIED | {"values": 2, "readout": "vector"},
        {"key_scaling": 1},
        {"width_is": "values", "heads": 2},
    ],
)
def test_draws_agree_with_the_averages(options):
    net = attention(4, **options)
    known = net.known(TOKENS, *UNIT, np.array([[4.0]]))
    second, fourth = measured(net, TOKENS, 2**15)
    assert agree(second, (known.values[2][0], 0))
    assert agree(fourth, (4 * known.values[4][0], 0))


@pytest.mark.parametrize(
    "options", [{}, {"keys": 3, "readout": "vector"}, pytest.param(TIED | {"keys": 9}, marks=pytest.mark.slow)]
)
def test_conditional_draws_have_the_law_of_the_weights(options):
    """Four tokens of seven components; finite keys below and above the four dimensions that the tokens span."""
    nets = [attention(8, sampler, 2, values=2, **options) for sampler in ("conditional", "weights")]
    found = [measured(net, WIDE, 2**15) for net in nets]
    known = nets[0].known(WIDE, *UNIT, np.array([[8.0]]))
    for k, expected in enumerate((known.values[2][0], 8 * known.values[4][0])):
        assert agree(found[0][k], found[1][k])
        assert all(agree(each[k], (expected, 0)) for each in found)


def test_direct_products_of_outputs_agree_with_the_marginal_estimator():
    net = attention(2, values=2)

    @jax.jit
    def draw(first):
        numbers = first + jnp.arange(2**13, dtype=jnp.uint32)
        return net.output(KEY, numbers, net.features(KEY, numbers, TOKENS, *UNIT).units, *UNIT)[:, 0, 0]

    f = np.concatenate([draw(np.uint32(i)) for i in range(0, 2**20, 2**13)]).reshape(64, -1)
    second, fourth = (f**2).mean(axis=1), (f**4).mean(axis=1)
    cumulants = 2 * (fourth - 3 * second * second.mean() * 2 + 3 * second.mean() ** 2)
    known = net.known(TOKENS, *UNIT, np.array([[2.0]]))
    assert agree((second.mean(), second.std() / 8), (known.values[2][0, 0], 0))
    assert agree((cumulants.mean(), cumulants.std() / 8), (2 * known.values[4][0, 0], 0))
    assert cumulants.std() / 8 < 0.05 * known.values[4][0, 0] * 2


def test_influence_functions():
    for net in (attention(5, values=2), attention(5, width_is="values", heads=3, **TIED)):
        value, error = quartic(net, TOKENS, *UNIT, paths=2**17)
        assert agree((value, error), (listed_all(net), 0))
    with pytest.raises(NotKnownError, match="not Gaussian at any width"):
        attention(width_is="values").influence(KEY, jnp.zeros(1, dtype=jnp.uint32), TOKENS, *UNIT)


def listed_all(net):
    return net.known(TOKENS, *UNIT, ONE).values[4][0]


def test_draws_know_nothing_of_their_company_and_coincident_points_are_the_same():
    x = np.concatenate([TOKENS, TOKENS[:1]])
    net = attention(4, values=3, keys=2, readout="vector")
    units = drawn(net, range(6), x)
    assert units.shape == (6, 4 * 3 * 3, 4)
    np.testing.assert_allclose(drawn(net, [5], x)[0], units[5], rtol=1e-12)
    np.testing.assert_allclose(units[..., 3], units[..., 0], rtol=1e-12)


def test_widths_share_the_average():
    before = head_averages.cache_info().misses
    for options in ({"values": 3}, {"values": 5}, {"width_is": "values", "heads": 7}):
        attention(2, tokens=2, **options).gp_kernel(TOKENS, 1.3, 0.2)
    assert head_averages.cache_info().misses == before + 1


@pytest.mark.parametrize(
    ("options", "depth", "where"),
    [
        ({}, 1, "options.tokens"),
        ({"tokens": 4}, 1, "options.tokens"),
        ({"tokens": 3}, 2, "depth"),
        ({"tokens": 3, "heads": 2}, 1, "options"),
        ({"tokens": 3, "tied_keys": True}, 1, "options"),
        ({"tokens": 3, "key_scaling": 0.7}, 1, "options"),
        ({"tokens": 3, "keys": "many"}, 1, "options.keys"),
    ],
)
def test_refusals(options, depth, where):
    with pytest.raises(InputError) as caught:
        network(architecture(TOKENS, depth=depth, network="attention", **options), 8)
    assert caught.value.where.startswith(where)
