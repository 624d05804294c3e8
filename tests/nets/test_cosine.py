"""Cosine networks: tables of the reference, and sampled networks."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnqft.core.errors import InputError
from nnqft.core.packing import multisets, pack, rank, wick
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.cosine import Cosine, Options, unit_moments
from nnqft.nets.influence import quartic
from nnqft.nets.lanes import Lanes
from nnqft.nets.registry import network
from nnqft.spec.grid import architecture

SIX = np.array([(0, 0), (0.5, 0), (0, 1), (1, 1), (-0.5, 0.3), (0.2, -0.7)])
KEY = jnp.array([7, 8], dtype=jnp.uint32)


def cosine(width=4, sampler="conditional", dtype="float64", **options):
    return Cosine(ACTIVATIONS["cos"], 1, width, sampler, dtype, Options(**options))


def known(net, x=SIX, sigma_w=1.0, widths=(1,)):
    return net.known(x, sigma_w, 0.0, np.array(widths, dtype=float)[:, None])


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ("gaussian", (0.4697065314, 0.3508018424, 0.2592585491, 0.1436716582, 0.375)),
        ("sign", (0.4697065314, -0.3438983534, -0.2044381109, 0.4117398237, -0.375)),
    ],
)
def test_cumulants_of_a_neuron_at_six_points(law, expected):
    found = known(cosine(readout_law=law))
    components = (0, 1), (0, 0, 1, 1), (0, 1, 2, 3), (0, 1, 2, 3, 4, 5), (3, 3, 3, 3)
    values = [found.values[len(c)][0, rank(np.array(c), 6)] for c in components]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-10)
    assert found.quality == dict.fromkeys((2, 4, 6, 8), "exact")


@pytest.mark.parametrize(("law", "expected"), [("gaussian", (1, 1.5, 0, -39.375)), ("sign", (1, -1.5, 10, -144.375))])
def test_cumulants_at_one_point_fall_with_the_width(law, expected):
    """Amplitude sqrt 2: N^{1-k} kappa_2k at every width."""
    found = known(cosine(amplitude=np.sqrt(2), readout_law=law), SIX[3:4], 0.7, (1, 2, 5, 16))
    for k, value in zip((1, 2, 3, 4), expected, strict=True):
        scaled = found.values[2 * k][:, 0] * np.array([1, 2, 5, 16]) ** (k - 1.0)
        np.testing.assert_allclose(scaled, value, rtol=1e-10, atol=1e-10)


def test_moments_by_quadrature_over_momenta_and_phases():
    """One input dimension: Gauss-Hermite times the trapezoid rule on the circle."""
    x, sigma_w = np.array([[0.3], [-0.8], [1.1]]), 1.4
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    phases = 2 * np.pi * np.arange(16) / 16
    b, c = np.array(list(product(sigma_w * nodes, phases))).T
    s = np.cos(b[:, None] * x[:, 0] + c[:, None])
    weights = np.repeat(weights / weights.sum(), 16) / 16
    for order in (2, 4, 6, 8):
        expected = weights @ s[:, multisets(3, order)].prod(axis=-1)
        np.testing.assert_allclose(unit_moments(x, sigma_w, order), expected, atol=1e-12)


def test_translations_do_nothing():
    for order in (2, 4, 8):
        found, moved = (unit_moments(SIX[:3] + shift, 1.3, order) for shift in (0, 100))
        np.testing.assert_allclose(found, moved, rtol=1e-11)


@pytest.mark.parametrize("sampler", ["conditional", "weights"])
@pytest.mark.parametrize("law", ["gaussian", "sign"])
def test_sampled_outputs(law, sampler):
    """Two points in three dimensions, N = 4, sigma_w = 1.3: G2 and G4c from outputs, 32 of each network."""
    net, x, batches, size = cosine(sampler=sampler, amplitude=1.2, readout_law=law), np.eye(3)[:2], 64, 512
    legs = {k: multisets(2, k) for k in (2, 4)}

    @jax.jit
    def batch(first):
        networks = first + jnp.arange(size, dtype=jnp.uint32)
        units = net.features(KEY, networks, jnp.asarray(x), jnp.float64(1.3), jnp.float64(0)).units
        f = net.output(KEY, networks, units, jnp.float64(1.3), jnp.float64(0), outputs=32)
        return [f[..., legs[k]].prod(axis=-1).mean(axis=(0, 1)) for k in (2, 4)]

    second, fourth = (np.array(m) for m in zip(*(batch(np.uint32(size * b)) for b in range(batches)), strict=True))
    exact = known(net, x, 1.3, (4,))
    np.testing.assert_allclose(exact.values[2][0], pack(net.gp_kernel(x, 1.3, 0.0)), rtol=1e-14)
    mean = fourth.mean(axis=0) - wick(second.mean(axis=0), 2, 4)
    connected = fourth - wick(second, 2, 4)
    assert np.all(np.abs(mean - exact.values[4][0]) <= 4 * connected.std(axis=0, ddof=1) / 8)
    assert np.all(np.abs(second.mean(axis=0) - exact.values[2][0]) <= 4 * second.std(axis=0, ddof=1) / 8)
    assert np.all(connected.std(axis=0, ddof=1) / 8 < 0.2 * np.max(np.abs(exact.values[4])))


def test_influence_is_the_whole_answer():
    """iid neurons: N G4c is free of N."""
    value, error = quartic(cosine(amplitude=1.5), SIX[:3], 1.1, 0.0, paths=65_536)
    exact = known(cosine(amplitude=1.5), SIX[:3], 1.1).values[4][0]
    assert np.all(np.abs(value - exact) <= 4 * error)
    assert np.max(error) < 0.02 * np.max(exact)


def test_single_neurons_are_those_of_the_network():
    for dtype, sampler in (("float64", "conditional"), ("float32", "weights")):
        net = cosine(6, sampler, dtype)
        draw = jax.jit(lambda n, net=net: net.features(KEY, n, jnp.asarray(SIX[:2]), 1.0, 0.0).units)
        units = draw(jnp.arange(4, dtype=jnp.uint32))
        assert units.shape == (4, 6, 2)
        assert units.dtype == dtype
        lanes = jnp.array([5, 0, 3], dtype=jnp.uint32)
        one = jax.jit(lambda n, i, net=net: net.unit(Lanes(KEY, n, i, 6), jnp.asarray(SIX[:2]), 1.0, 0.0))
        single, _ = one(lanes % 4, lanes)
        np.testing.assert_allclose(single, units[lanes % 4, lanes], rtol=1e-6)
        np.testing.assert_allclose(draw(jnp.array([2], dtype=jnp.uint32))[0], units[2], rtol=1e-6)


def test_readouts_without_all_moments():
    found = known(cosine(readout_law="student-5"), SIX[:2])
    assert set(found.values) == {2, 4}
    assert "student-5" in found.reason


def test_refusals():
    with pytest.raises(InputError, match="one hidden layer"):
        network(architecture(SIX, network="cosine", depth=2), 8)
    with pytest.raises(InputError, match="amplitude"):
        network(architecture(SIX, network="cosine", amplitude=0), 8)
    assert network(architecture(SIX, network="cosine", readout_law="sign"), 8).independence == "iid"
    with pytest.raises(InputError, match="sigma_b: 0"):
        network(architecture(SIX, network="cosine", sigma_b=0.1), 8)
