"""The two ways to draw a layer: Gaussian preactivations given the features below, or every single weight.

A neuron is z = b + W . phi with Gaussian W ~ N(0, v_w) and b ~ N(0, v_b). Given the features it is a Gaussian vector
over the points, z = A^T g with A = [sqrt(v_w) phi; sqrt(v_b) 1^T], and neurons are independent.

Arrays of shape (networks, rows, n) are made and used with their axes reversed, networks last: this is how they lie in
memory as long as the compiler meets no other order, and how it turns one operation for many networks into few.
"""

from functools import reduce
from operator import add

import jax
import jax.numpy as jnp

from nnqft.core.normals import normal_pairs
from nnqft.nets.factor import UNROLLED, gram, layer_factor, stored, upper_factor


def stacked(features: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """A = [sqrt(weight) phi; sqrt(bias) 1^T]: (..., k + 1, n) float64 from features (..., k, n) and two variances."""
    rows = features.T.astype(jnp.float64) * jnp.sqrt(weight)
    return jnp.concatenate([rows, jnp.full_like(rows[:, :1], jnp.sqrt(bias))], axis=1).T


def neurons(key: jax.Array, network: jax.Array, count: int, matrix: jax.Array, sampler: str, dtype: str) -> jax.Array:
    """`count` independent z ~ N(0, A^T A) a network: (networks, count, n) in `dtype`.

    matrix: A (networks, k, n), or (k, n) when it is the same for all networks; float64. `conditional` draws n numbers
    a neuron, z = R^T g with R^T R = A^T A (:mod:`nnqft.nets.factor`): right to the last finite difference of nearby
    points, where a factor of A^T A needs a jitter that changes them. With k <= n, and always with `weights`, it draws
    the k numbers g of z = A^T g.
    """
    k, n = matrix.shape[-2:]
    if sampler == "conditional" and k > n:
        matrix = upper_factor(matrix, dtype) if matrix.ndim == 3 else jnp.linalg.qr(matrix, mode="r")
    elif matrix.ndim == 3:
        matrix = stored(lambda a: a.astype(dtype), matrix.T).T
    factor = matrix.transpose(1, 2, 0) if matrix.ndim == 3 else matrix
    return _combined(normal_pairs(key, network, count, len(factor)), factor, dtype)


def layer(
    key: jax.Array,
    network: jax.Array,
    count: int,
    features: jax.Array,
    weight: jax.Array,
    bias: jax.Array,
    sampler: str,
    dtype: str,
) -> tuple[jax.Array, jax.Array]:
    """neurons(...) of stacked(features, weight, bias), without storing that matrix, and covariance(...).

    The same law as ``neurons`` has, drawn faster, with other last digits; the covariance comes for free.
    """
    k, n = features.shape[-2:]
    if features.ndim == 2 or sampler != "conditional" or k + 1 <= n:
        z = neurons(key, network, count, stacked(features, weight, bias), sampler, dtype)
        return z, covariance(features, weight, bias)
    factor, square = layer_factor(features.T, weight, bias, dtype)
    return _combined(normal_pairs(key, network, count, n), factor, dtype), square.T


def covariance(features: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """Weight phi^T phi + bias: the covariance of one neuron, (..., n, n) float64, from features (..., k, n)."""
    if features.ndim == 2:
        features = features.astype(jnp.float64)
        return bias + weight * jnp.matmul(features.T, features, precision="highest")
    return bias + weight * gram(features.T).T


def _combined(pairs: jax.Array, factor: jax.Array, dtype: str) -> jax.Array:
    """sum_k g_k factor_k: (networks, count, n) from complex pairs (k / 2, count, networks).

    factor: (k, n, networks), or (k, n) for all networks.
    """
    factor, shape, number = factor.astype(dtype), pairs.shape[1:], len(factor)
    if number > UNROLLED:
        g = jnp.stack([pairs.real, pairs.imag], axis=1).reshape(-1, *shape)[:number].astype(dtype)
        rule = "kim,kam->mia" if factor.ndim == 3 else "kim,ka->mia"
        return jnp.einsum(rule, g, factor, precision="highest")
    if factor.ndim == 3:
        factor = factor[:, :, None]
    else:
        pairs, factor = pairs.reshape(len(pairs), -1), factor[..., None]
    columns = [part.astype(dtype) for pair in pairs for part in (pair.real, pair.imag)][:number]
    z = reduce(add, [g * row for g, row in zip(columns, factor, strict=True)])
    return z.reshape(-1, *shape).T
