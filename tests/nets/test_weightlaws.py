"""Laws of weights: moments, draws, quadrature, and the cumulants of neurons that use them."""

from itertools import product
from math import factorial, inf

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnqft.core.packing import multisets, pack, rank
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.kernels import evaluate, first_factor
from nnqft.nets.lanes import Lanes
from nnqft.nets.onelayer import unit_moments
from nnqft.nets.weightlaws import WeightLaw, draw_layer, draw_units, enumerable, first_moments, neuron_cumulants

KEY = jnp.array([3, 4], dtype=jnp.uint32)
drawn = jax.jit(WeightLaw.draw, static_argnums=(0, 3, 4, 5))
layer = jax.jit(draw_layer, static_argnums=(0, 3, 7, 8))
units = jax.jit(draw_units, static_argnums=(0, 5))
LAWS = ["gaussian", "uniform", "sign", "student-18.5", "sparse-0.25"]


@pytest.mark.parametrize(
    ("name", "moments"),
    [
        ("gaussian", (3, 15, 105)),
        ("uniform", (9 / 5, 27 / 7, 9)),
        ("sign", (1, 1, 1)),
        ("sparse-0.25", (12, 240, 6720)),
        ("student-5", (9, inf, inf)),
        ("student-7", (5, 125, inf)),
    ],
)
def test_standardised_moments(name, moments):
    law = WeightLaw(name)
    np.testing.assert_allclose(law.moments, moments, rtol=1e-14)
    assert law.kappa == pytest.approx(moments[0] - 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LAWS)
def test_draws_have_these_moments(name, dtype):
    law = WeightLaw(name)
    a = np.asarray(drawn(law, KEY, jnp.arange(8192, dtype=jnp.uint32), 8, 16, dtype))
    assert a.dtype == dtype
    a = a.astype(np.float64).reshape(8192, -1)
    for power, expected in zip((1, 2, 3, 4, 6), (0, 1, 0, *law.moments[:2]), strict=True):
        networks = (a**power).mean(axis=1)
        error = networks.std() / np.sqrt(len(networks))
        assert abs(networks.mean() - expected) <= 4 * error + 1e-12


@pytest.mark.parametrize("name", LAWS)
def test_weights_are_independent(name):
    """Products of two different entries, also of their squares."""
    a = np.asarray(drawn(WeightLaw(name), KEY, jnp.arange(20_000, dtype=jnp.uint32), 2, 3, "float64")).reshape(-1, 6)
    rows, columns = np.triu_indices(6, 1)
    for values in (a, a**2 - 1):
        products = values[:, rows] * values[:, columns]
        assert np.all(np.abs(products.mean(axis=0)) <= 4.5 * products.std(axis=0) / np.sqrt(len(a)))


@pytest.mark.parametrize("name", LAWS)
def test_a_weight_depends_on_its_own_numbers_only(name):
    law, networks = WeightLaw(name), jnp.arange(9, dtype=jnp.uint32)
    chosen, rows = jnp.array([8, 1], dtype=jnp.uint32), jnp.array([4, 0], dtype=jnp.uint32)
    whole = drawn(law, KEY, networks, 5, 7, "float64")
    np.testing.assert_array_equal(drawn(law, KEY, chosen, 5, 7, "float64"), whole[chosen])
    np.testing.assert_array_equal(law.draw_lanes(Lanes(KEY, chosen, rows, 5), 7, "float64"), whole[chosen, rows])
    assert not np.array_equal(drawn(law, KEY[::-1], networks, 5, 7, "float64"), whole)


def test_precisions_agree():
    networks = jnp.arange(500, dtype=jnp.uint32)
    for law in map(WeightLaw, LAWS):
        single, double = (drawn(law, KEY, networks, 4, 4, dtype) for dtype in ("float32", "float64"))
        np.testing.assert_allclose(single, double, rtol=2e-5, atol=2e-3)


@pytest.mark.parametrize("name", LAWS)
def test_quadrature_rules(name):
    law = WeightLaw(name)
    nodes, weights = law.rule(64)
    found = [np.sum(weights * nodes**k) for k in (0, 1, 2, 4)]
    np.testing.assert_allclose(found, [1, 0, 1, law.moments[0]], rtol=2e-5, atol=1e-12)


@pytest.mark.parametrize("name", ["normal", "student", "student-4", "student-x", "sparse-0", "sparse-1", "sign-2", ""])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=r"no law of weights|infinite fourth moment"):
        WeightLaw(name)


@pytest.mark.parametrize("name", LAWS)
def test_layers_have_the_covariance_of_gaussian_ones(name):
    features = jnp.array([[1.0, -0.4], [0.3, 2.0], [-0.7, 0.5]])
    law, networks = WeightLaw(name), jnp.arange(30_000, dtype=jnp.uint32)
    z, covariance = layer(law, KEY, networks, 2, features, jnp.float64(0.5), jnp.float64(0.3), "weights", "float64")
    expected = 0.3 + 0.5 * features.T @ features
    assert (covariance is not None) == law.gaussian
    for row in range(2):
        products = pack(np.asarray(z[:, row, :, None] * z[:, row, None, :]))
        assert np.all(np.abs(products.mean(axis=0) - pack(expected)) <= 4 * products.std(axis=0) / np.sqrt(len(z)))
    cross = np.asarray(z[:, 0] * z[:, 1])
    assert np.all(np.abs(cross.mean(axis=0)) <= 4 * cross.std(axis=0) / np.sqrt(len(z)))


def test_single_neurons_are_those_of_the_layer():
    features, law = jnp.array([[1.0, -0.4], [0.3, 2.0]]), WeightLaw("uniform")
    weight, bias, networks = jnp.float64(0.5), jnp.float64(0.3), jnp.arange(5, dtype=jnp.uint32)
    z, _ = layer(law, KEY, networks, 6, features, weight, bias, "weights", "float64")
    index = jnp.array([3, 5, 0], dtype=jnp.uint32)
    lanes = Lanes(KEY, networks[index % 5], index, jnp.uint32(6))
    single = units(law, lanes, features, weight, bias, "float64")
    np.testing.assert_allclose(single, z[index % 5, index], rtol=1e-14)


def test_cumulants_of_a_product_of_two_normals():
    """log E exp(t a s) = -log(1 - t^2) / 2, kappa_2k = (2k - 1)!."""
    moments = {2 * k: np.array([float(np.prod(np.arange(1, 2 * k, 2)))]) for k in range(1, 5)}
    found = neuron_cumulants(moments, 1, WeightLaw("gaussian").moments)
    assert [float(found[2 * k][0]) for k in range(1, 5)] == [factorial(2 * k - 1) for k in range(1, 5)]


@pytest.mark.parametrize("name", ["sign", "uniform", "sparse-0.3"])
def test_cumulants_of_a_mixture_of_few_values(name):
    """A unit of six equally likely vectors: joint cumulants contracted with a vector are those of the projection."""
    rng = np.random.default_rng(5)
    s, direction = rng.normal(size=(6, 3)), rng.normal(size=3)
    legs = {k: np.array(np.meshgrid(*[range(3)] * k, indexing="ij")).reshape(k, -1).T for k in (2, 4, 6)}
    moments = {k: np.prod(s[:, multisets(3, k)], axis=-1).mean(axis=0) for k in (2, 4, 6)}
    law = WeightLaw(name)
    found = neuron_cumulants(moments, 3, law.moments)
    projected = {k: np.array([((s @ direction) ** k).mean()]) for k in (2, 4, 6)}
    single = neuron_cumulants(projected, 1, law.moments)
    for k in (2, 4, 6):
        contracted = np.sum(found[k][rank(legs[k], 3)] * np.prod(direction[legs[k]], axis=1))
        assert contracted == pytest.approx(single[k][0], rel=1e-10)
    m2, m4, m6 = (m * float(projected[k][0]) for m, k in zip((1, *law.moments), (2, 4, 6), strict=False))
    assert single[6][0] == pytest.approx(m6 - 15 * m2 * m4 + 30 * m2**3, rel=1e-12)


def erf_moments(law, design, orders):
    return first_moments(WeightLaw(law), lambda z: evaluate(ACTIVATIONS["erf"], z), design, orders)


def test_first_moments_of_gaussian_weights():
    x = np.array([(1, 0.5), (-0.3, 0.8), (0.6, -1)])
    design = np.concatenate([1.2 / np.sqrt(2) * x, np.full((3, 1), 0.4)], axis=1)
    found, change = erf_moments("gaussian", design, (2, 4))
    exact = unit_moments(ACTIVATIONS["erf"], first_factor(x, 1.2, 0.4), (2, 4))
    assert change < 1e-6
    for k in (2, 4):
        np.testing.assert_allclose(found[k], exact[k], rtol=0, atol=1e-7)


def test_first_moments_of_signs_are_sums_over_corners():
    design = np.array([(0.7, -0.4, 0.0), (0.2, 0.9, 0.0)])
    found, change = erf_moments("sign", design, (2,))
    s = evaluate(ACTIVATIONS["erf"], np.array(list(product((-1, 1), repeat=2))) @ design[:, :2].T)
    np.testing.assert_allclose(found[2], pack(s.T @ s / 4), rtol=1e-14)
    assert change == 0


@pytest.mark.parametrize("name", ["uniform", "student-5", "sparse-0.25"])
def test_first_moments_against_draws(name):
    design, networks = np.array([(0.7, -0.4, 0.3), (0.2, 0.9, 0.3)]), jnp.arange(100_000, dtype=jnp.uint32)
    found, _ = erf_moments(name, design, (2,))
    a = drawn(WeightLaw(name), KEY, networks, 1, 2, "float64")[:, 0]
    b = drawn(WeightLaw("gaussian"), KEY[::-1], networks, 1, 1, "float64")[:, 0]
    s = evaluate(ACTIVATIONS["erf"], np.concatenate([a, b], axis=1) @ design.T)
    products = pack(s[:, :, None] * s[:, None, :])
    assert np.all(np.abs(products.mean(axis=0) - found[2]) <= 4 * products.std(axis=0) / np.sqrt(len(s)))


def test_what_can_be_enumerated():
    assert enumerable(WeightLaw("sign"), 12)
    assert enumerable(WeightLaw("uniform"), 3)
    assert not enumerable(WeightLaw("uniform"), 6)
