"""Recurrent networks, tied and untied: kernels, leading 1/N with memory, the sampler that draws W on its past only."""

from functools import lru_cache

import drawn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import agree

from nnqft.core.packing import pack, rank
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.influence import quartic
from nnqft.nets.lanes import Lanes
from nnqft.nets.mlp import MLP
from nnqft.nets.recurrent import Options, Recurrent, continued_qr

X = np.array([(1, 0.5), (-0.3, 0.8), (0.6, -1)])
SIGMA = np.sqrt(1.5), np.sqrt(0.1)
LISTED = rank(np.array([(0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 2), (0, 1, 1, 2)]), 3)
KEY = jnp.array([21, 22], dtype=jnp.uint32)
EACH, FIRST = {}, {"inject": "first"}
TWIN = {"tied": False}
KERNELS = {
    "each": [0.9161024587, 0.2637273509, -0.3357176331],
    "first": [0.6920522268, 0.3823307810, 0.1131484859],
}
LEADING = [
    (EACH, [1.165, 3.186, -1.848, 0.389], [0.001, 0.005, 0.006, 0.005]),
    (EACH | TWIN, [0.913, 1.582, -0.885, 0.171], [0.001, 0.003, 0.002, 0.003]),
    (FIRST, [0.928, 1.784, 0.190, 1.033], [0.001, 0.003, 0.003, 0.003]),
    (FIRST | TWIN, [0.858, 1.478, -0.177, 0.512], [0.001, 0.003, 0.003, 0.002]),
]


def recurrent(steps=4, width=16, sampler="conditional", activation="erf", **options):
    return Recurrent(ACTIVATIONS[activation], steps, width, sampler, "float64", Options(**options))


@lru_cache
def compiled(net):
    def both(*law):
        found = net.features(KEY, *law)
        return found.units, found.covariance

    return jax.jit(both)


def features(net, x, networks, sigma=SIGMA):
    """Units and their covariance (or None)."""
    return compiled(net)(jnp.array(networks, dtype=jnp.uint32), jnp.asarray(x), *map(jnp.float64, sigma))


def measured(net, x, networks, sigma=SIGMA):
    """G2 and N G4c: (value, standard error) of each."""
    return drawn.measured(net, x, networks, sigma, KEY, scale=net.width)


@pytest.mark.parametrize("inject", ["each", "first"])
def test_tied_and_untied_nets_have_the_kernel_of_the_table(inject):
    for tied in (True, False):
        kernel = recurrent(tied=tied, inject=inject).gp_kernel(X, *SIGMA)
        np.testing.assert_allclose(pack(kernel)[[0, 1, 4]], KERNELS[inject], atol=1e-8)


@pytest.mark.parametrize(("options", "expected", "uncertainty"), LEADING)
def test_leading_quartic_of_the_table(options, expected, uncertainty):
    value, error = (part[LISTED] for part in quartic(recurrent(**options), X, *SIGMA))
    assert np.all(np.abs(value - expected) < 4 * np.hypot(error, uncertainty))
    assert np.all(np.abs(value / expected - 1)[:2] < 0.01)


def test_tying_flips_a_sign_at_leading_order():
    tied, error = quartic(recurrent(**FIRST), X, *SIGMA)
    untied, other = quartic(recurrent(**FIRST, **TWIN), X, *SIGMA)
    (_, _, c, d), (_, _, e, f) = tied[LISTED], untied[LISTED]
    assert c > 40 * error[LISTED[2]]
    assert e < -40 * other[LISTED[2]]
    np.testing.assert_allclose(d - f, 0.521, atol=4 * np.hypot(error, other)[LISTED[3]] + 0.012)


def test_tied_fluctuations_grow_with_time():
    for net, expected in ((recurrent(8), 1.266), (recurrent(8, tied=False), 0.914)):
        value, error = quartic(net, X[:1], *SIGMA)
        assert abs(value[0] / expected - 1) < 0.006 + 3 * error[0]


def test_without_memory_tying_does_not_matter():
    """Odd activation, input at t = 0 only, no bias: C_ts = 0 for t != s, and the leading terms agree."""
    tied, error = quartic(recurrent(**FIRST), X, SIGMA[0], 0.0)
    untied, other = quartic(recurrent(**FIRST, **TWIN), X, SIGMA[0], 0.0)
    assert np.all(np.abs(tied - untied) < 4 * np.hypot(error, other))


@pytest.mark.parametrize(("steps", "options"), [(1, EACH), (3, FIRST | TWIN)])
def test_untied_net_with_input_at_first_is_a_perceptron(steps, options):
    """Of inputs sigma_u / sigma_w x: same predictions, and the influence function agrees with their quadrature."""
    net, widths = recurrent(steps, sigma_u=0.8, **options), np.array([[5.0], [50.0]])
    same = MLP(ACTIVATIONS["erf"], steps, 16).known(0.8 / SIGMA[0] * X, *SIGMA, widths)
    known = net.known(X, *SIGMA, widths)
    assert known.quality == same.quality
    np.testing.assert_allclose(known.values[4], same.values[4])
    value, error = quartic(net, X, *SIGMA)
    assert np.all(np.abs(value - 5 * known.values[4][0]) < 4 * error)


@pytest.mark.parametrize("options", [EACH, pytest.param(FIRST, marks=pytest.mark.slow), TWIN])
def test_both_samplers_have_one_law(options):
    found = [measured(recurrent(sampler=s, **options), X, 2**15) for s in Recurrent.samplers]
    for one, other in zip(*found, strict=True):
        assert agree(one, other)
    if options == EACH:
        second, fourth = found[0]
        assert agree([part[0] for part in second], (0.9098, 0.0007))
        reference = np.array([1.152, 2.897, -1.649]), np.array([0.007, 0.011, 0.012])
        assert agree([part[LISTED[:3]] for part in fourth], reference)


def test_both_samplers_have_one_law_when_the_past_spans_everything():
    """(T - 1) n_x = N, and a third of the columns vanishes: a point at zero, without a bias."""
    x, sigma = np.array([(1, 0.5), (0, 0), (0.6, -1)]), (SIGMA[0], 0.0)
    found = [measured(recurrent(4, 9, sampler=s), x, 2**15, sigma) for s in Recurrent.samplers]
    for one, other in zip(*found, strict=True):
        assert agree(one, other)


@pytest.mark.parametrize(("width", "same"), [(2, True), (3, False)])
def test_beyond_the_span_every_weight_is_drawn(width, same):
    conditional, weights = (features(recurrent(2, width, s), X, range(4))[0] for s in Recurrent.samplers)
    assert np.array_equal(conditional, weights) == same


@pytest.mark.parametrize(("options", "expected", "uncertainty"), LEADING[2:3])
def test_width_64_is_near_the_leading_order(options, expected, uncertainty):
    _, (fourth, error) = measured(recurrent(width=64, **options), X, 2**14)
    tolerance = 0.04 * np.abs(expected) + 3 * np.hypot(error[LISTED], uncertainty)
    assert np.all(np.abs(fourth[LISTED] - expected) < tolerance)


def test_continued_qr_is_a_decomposition_of_all_columns():
    """R^T R = P^T P, entry by entry, with vanishing, repeated and mirrored columns, up to N columns."""
    P = np.random.default_rng(0).normal(size=(5, 8, 8))
    P[:, :, 1], P[:, :, 2], P[:, :, 5], P[:, :, 7] = 0, P[:, :, 0], 0, -P[:, :, 3]
    P[:, :, 6] = P[:, :, 4] + 1e-9 * P[:, :, 6]

    @jax.jit
    def decomposed(P):
        past, parts = (jnp.zeros((5, 8, 0)), jnp.zeros((5, 0))), []
        for start in range(0, 8, 2):
            past, R = continued_qr(*past, P[:, :, start : start + 2])
            parts.append(jnp.pad(R, ((0, 0), (0, 6 - start), (0, 0))))
        return jnp.concatenate(parts, axis=-1)

    R = np.asarray(decomposed(P))
    np.testing.assert_allclose(R.swapaxes(1, 2) @ R, P.swapaxes(1, 2) @ P, atol=1e-13)
    np.testing.assert_allclose(np.linalg.norm(R[:, :, 6] - R[:, :, 4], axis=1), 1e-9 * np.sqrt(8), rtol=1)
    np.testing.assert_allclose(np.tril(R, -1), 0)


def test_near_duplicates_keep_their_difference():
    """x and x + 1e-9: the variance of the difference is that of the sampler of all weights, and duplicates coincide."""
    x = np.array([(1, 0.5), (1 + 1e-9, 0.5), (1, 0.5)])
    found = []
    for sampler in Recurrent.samplers:
        h = np.asarray(features(recurrent(sampler=sampler), x, range(2**12))[0])
        np.testing.assert_allclose(h[:, :, 2], h[:, :, 0], atol=1e-13)
        square = np.mean((h[:, :, 1] - h[:, :, 0]) ** 2, axis=1) / 1e-18
        found.append((square.mean(), square.std() / np.sqrt(len(square))))
    assert agree(*found)
    assert found[0][1] < 0.05 * found[0][0]


@pytest.mark.parametrize("sampler", Recurrent.samplers)
def test_neurons_of_one_step_come_one_by_one_too(sampler):
    net = recurrent(1, 6, sampler, sigma_u=0.7)
    network, index = jnp.array([2, 0, 3], dtype=jnp.uint32), jnp.array([5, 1, 0], dtype=jnp.uint32)
    lanes = Lanes(KEY, network, index, jnp.uint32(6))
    found, weight = net.unit(lanes, jnp.asarray(X), *map(jnp.float64, SIGMA))
    assert weight is None
    np.testing.assert_allclose(found, np.asarray(features(net, X, range(4))[0])[network, index], rtol=1e-12)


def test_covariance_of_the_last_step_where_neurons_are_independent():
    for steps, options, independence in ((1, EACH, "iid"), (2, TWIN, "given"), (3, FIRST | TWIN, "given")):
        net = recurrent(steps, activation="linear", **options)
        assert net.independence == independence
        h, covariance = (np.asarray(part) for part in features(net, X, range(2**12)))
        excess = np.einsum("mia,mib->mab", h, h) / 16 - covariance
        assert np.all(np.abs(excess.mean(axis=0)) < 4 * excess.std(axis=0) / 2**6)
    assert recurrent().independence == "none"


def test_what_is_predicted_and_what_is_refused():
    known = recurrent().known(X[:1], *SIGMA, np.array([[10.0], [20.0]]))
    assert known.quality == {4: "leading-1/N"}
    assert recurrent(2, activation="gauss").refuse(X, 0.0) is not None
    assert recurrent(1, activation="gauss").refuse(X, 0.0) is None
