"""Drawing a layer: factors right to the last finite difference, without jitter; the same law by both samplers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from nnqft.nets import draws, factor

KEY = jnp.array([3, 5], dtype=jnp.uint32)
GAUSS_POINTS = np.array([-0.01, -0.006, -0.002, 0.002, 0.006, 0.01])
NETWORKS = 32

upper_factor = jax.jit(factor.upper_factor, static_argnames="dtype")
gram = jax.jit(factor.gram)
covariance = jax.jit(draws.covariance)
neurons = jax.jit(draws.neurons, static_argnums=(2, 4, 5))
layer = jax.jit(draws.layer, static_argnums=(2, 6, 7))


def units(x, width, function=erf, networks=NETWORKS):
    """phi(b + W x): (networks, width, n)."""
    w, b = np.random.default_rng(0).normal(size=(2, networks, width, 1))
    return function(w * np.asarray(x) + b)


def stacked(features, weight, bias):
    return np.asarray(draws.stacked(jnp.asarray(features), jnp.float64(weight), jnp.float64(bias)))


def exponential(z):
    return np.exp(z - 1)


def relu(z):
    return np.maximum(z, 0)


def square(a):
    """A^T A of every network."""
    return np.swapaxes(a, -1, -2) @ a


def difference_error(matrix, found, order):
    """Largest relative error of the variances of finite differences of neighbouring points, against |A v|^2."""
    d = np.diff(np.eye(matrix.shape[-1]), order, axis=0).T
    exact = ((matrix.astype(np.longdouble) @ d) ** 2).sum(axis=1)
    return np.abs(((np.asarray(found, dtype=np.longdouble) @ d) ** 2).sum(axis=1) / exact - 1).max()


@pytest.mark.parametrize("function", [erf, exponential])
@pytest.mark.parametrize("points", [2, 3, 6])
def test_difference_variances_of_near_points_are_right(points, function):
    """The points of HMS's Gauss-net, spaced from far apart to all but coincident: pivots from 1e-1 to 1e-30."""
    for spacing in 10.0 ** np.arange(-5, 0.5, 0.5):
        matrix = stacked(units(GAUSS_POINTS[:points] / 0.004 * spacing, 20, function), 1 / 20, 1.0)
        found = upper_factor(matrix)
        assert difference_error(matrix, found, 1) < 1e-8
        if points > 2 and spacing > 1e-4:
            assert difference_error(matrix, found, 2) < 1e-6


@pytest.mark.parametrize(("networks", "n"), [(1, 2), (23, 6), (16, 20)])
def test_factors_are_triangular_and_reproduce_the_covariance(networks, n):
    matrix = np.random.default_rng(1).normal(size=(networks, n + 5, n))
    found = np.asarray(upper_factor(matrix))
    assert (np.tril(found, -1) == 0).all()
    np.testing.assert_allclose(square(found), square(matrix), atol=1e-12)


@pytest.mark.parametrize("bias", [0.0, 0.7])
def test_duplicate_points_and_dead_units(bias):
    features = units([0.3, 0.3, -0.8, -0.8], 4, relu)
    features[:5] = 0
    features[5, :, 2:] = 0
    matrix = stacked(features, 0.25, bias)
    np.testing.assert_allclose(square(np.asarray(upper_factor(matrix))), square(matrix), atol=1e-14)
    z = neurons(KEY, jnp.arange(NETWORKS, dtype=jnp.uint32), 50, matrix, "conditional", "float64")
    np.testing.assert_allclose(z[..., 0], z[..., 1], atol=1e-14)
    np.testing.assert_allclose(z[..., 2], z[..., 3], atol=1e-14)


def test_two_dead_units_without_bias_give_a_factor_of_zero():
    assert (upper_factor(stacked(np.zeros((16, 2, 2)), 1.0, 0.0)) == 0).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_factor_does_not_depend_on_the_networks_beside_it(dtype):
    good = np.random.default_rng(2).normal(size=(48, 9, 5))
    bad = good.copy()
    bad[[3, 20]] = bad[[3, 20]][..., [0, 1, 1, 3, 4]]
    alone, beside = (np.asarray(upper_factor(a, dtype)) for a in (good, bad))
    kept = np.setdiff1d(np.arange(48), [3, 20])
    assert (alone[kept] == beside[kept]).all()
    assert np.isfinite(beside).all()


def test_float32_factors_lose_no_more_than_rounding():
    """Rounding R makes variances of first differences wrong by 1e-7 sqrt(C / pivot); Cholesky's algorithm by less."""
    for spacing in (1.0, 0.3, 0.1):
        matrix = stacked(units(GAUSS_POINTS / 0.004 * spacing, 20), 1 / 20, 1.0)
        exact = np.linalg.qr(matrix, mode="r")
        pivots = np.einsum("maa->ma", exact) ** 2 / (matrix**2).sum(axis=1)
        rounding = difference_error(matrix, exact.astype(np.float32), 1)
        assert difference_error(matrix, upper_factor(matrix, "float32"), 1) < 3 * rounding
    assert factor.PIVOT["float32"] < np.median(pivots.min(axis=1)) < factor.PIVOT["float64"]


@pytest.mark.parametrize(("rows", "n"), [(1, 3), (2, 1), (9, 3), (64, 18), (129, 3)])
def test_gram_matrix_for_any_number_of_rows(rows, n):
    x = np.random.default_rng(3).normal(size=(n, rows, 5)).astype(np.float32)
    exact = np.einsum("akm,bkm->abm", x.astype(np.float64), x.astype(np.float64))
    np.testing.assert_allclose(gram(x), exact, atol=1e-12)


@pytest.mark.parametrize("rows", [20, 40, 43, 60])
def test_gram_matrix_in_parts_that_the_cache_holds(monkeypatch, rows):
    monkeypatch.setattr(factor, "CACHED", 20 * 3 * 5)
    x = np.random.default_rng(3).normal(size=(3, rows, 5)).astype(np.float32)
    exact = np.einsum("akm,bkm->abm", x.astype(np.float64), x.astype(np.float64))
    np.testing.assert_allclose(jax.jit(factor.gram)(x), exact, atol=1e-12)


@pytest.mark.parametrize(
    ("networks", "k", "n"), [pytest.param(20, 40, 3, marks=pytest.mark.slow), (20, 3, 6), (20, 30, 18)]
)
def test_layer_is_neurons_of_the_stacked_matrix(networks, k, n):
    features = np.random.default_rng(4).normal(size=(networks, k, n))
    network = jnp.arange(networks, dtype=jnp.uint32)
    matrix = stacked(features, 0.8, 0.3)
    np.testing.assert_allclose(covariance(features, 0.8, 0.3), square(matrix), atol=1e-12)
    np.testing.assert_allclose(covariance(features[0], 0.8, 0.3), square(matrix[0]), atol=1e-12)
    for sampler in ("conditional", "weights"):
        z, found = layer(KEY, network, 7, features, 0.8, 0.3, sampler, "float64")
        assert z.shape == (networks, 7, n)
        np.testing.assert_allclose(found, square(matrix), atol=1e-12)
        np.testing.assert_allclose(z, neurons(KEY, network, 7, matrix, sampler, "float64"), atol=1e-12)


@pytest.mark.parametrize("sampler", ["conditional", "weights"])
@pytest.mark.parametrize("shape", [(2, 4), (6, 4), (8, 2, 4), (8, 6, 4), (8, 25, 4)], ids=str)
def test_neurons_have_the_covariance_of_the_matrix(shape, sampler):
    count, network = 4000, jnp.arange(8, dtype=jnp.uint32)
    matrix = np.random.default_rng(5).normal(size=shape)
    z = np.asarray(neurons(KEY, network, count, matrix, sampler, "float32"), dtype=np.float64)
    products = z[..., :, None] * z[..., None, :]
    pull = (products.mean(axis=1) - square(matrix)) / (products.std(axis=1, ddof=1) / np.sqrt(count))
    assert np.abs(pull).max() < 4.5
    assert np.abs(pull.mean(axis=0)).max() < 4 / np.sqrt(8)
    assert (np.abs(z.mean(axis=1)) < 4.5 * z.std(axis=1) / np.sqrt(count)).all()


def test_a_network_does_not_depend_on_its_company():
    features, network = units([0.1, 0.5, -0.7], 30), jnp.arange(NETWORKS, dtype=jnp.uint32)
    together = layer(KEY, network, 9, features, 1 / 30, 0.1, "conditional", "float64")[0]
    some = layer(KEY, network[16:], 9, features[16:], 1 / 30, 0.1, "conditional", "float64")[0]
    np.testing.assert_allclose(together[16:], some, rtol=1e-12)
