"""Power sums of selected components: each by itself, where matrix products would compute all (nnqft.sampling.sums).

What is in memory is a chunk of components times the lanes of a tile, however many are selected.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from nnqft.core.packing import Components, Indices, multisets, pair_products, splits

CHUNK = 128
"""Components in memory at a time."""


def neurons(s: jax.Array, points: Components, order: int, weight: jax.Array | None) -> dict[str, jax.Array]:
    """:func:`nnqft.sampling.sums.neurons` of the selected components; moment4 and second by component, (Q,)."""
    w = jnp.ones(s.shape[1], s.dtype) if weight is None else weight.astype(s.dtype)
    rows, columns = multisets(points, 2).T
    matrix = jnp.einsum("al,bl->ab", s * w, s, precision="highest").astype(jnp.float64)
    sums = {"first": matrix[rows, columns]}
    names = {4: ("second", "moment4"), 6: ("third", "moment6", "mixed6"), 8: ("fourth",)}
    factors = {4: 1, 6: 15, 8: 105}
    powers = {"second": 2, "third": 3, "fourth": 4, "moment4": 1, "moment6": 1, "mixed6": 2}
    for k in range(4, order + 1, 2):
        for name in names[k] if weight is not None else names[k][:1]:
            power = w if weight is None else w ** powers[name]
            sums[name] = factors[k] * moment(s, points, k, power)
    return sums


def moment(s: jax.Array, points: Components, order: int, weight: jax.Array) -> jax.Array:
    """The sum over the last axis of weight (lanes,) times the legs of every component.

    s (n_x, ..., lanes), in whose precision a component is summed; the result (components, ...) float64.
    """

    def chunk(legs: jax.Array) -> jax.Array:
        product = s[legs[:, 0]]
        for k in range(1, order):
            product = product * s[legs[:, k]]
        return jnp.matmul(product, weight, precision="highest").astype(jnp.float64)

    return _by_chunks(chunk, multisets(points, order))


def over_splits(a: jax.Array, b: jax.Array, points: Components, left: int, right: int) -> jax.Array:
    """Sum over samples, and over the splits of every component's legs, of a (m, ·) on the left part times b (m, ·)."""
    return _products(a, b, *splits(points, left, right))


def second(d: jax.Array, points: Components) -> jax.Array:
    """Sums over samples of the products of two pairs, (PP,) from d (m, P)."""
    left, right = pair_products(points)
    return _products(d, d, left[:, None], right[:, None])


def _products(a: jax.Array, b: jax.Array, left: Indices, right: Indices) -> jax.Array:
    """Sum over samples m and terms t of a[m, left[c, t]] b[m, right[c, t]]: (components,)."""
    a, b, terms = a.T, b.T, left.shape[1]

    def chunk(both: jax.Array) -> jax.Array:
        return (a[both[:, :terms]] * b[both[:, terms:]]).sum(axis=(1, 2))

    return _by_chunks(chunk, np.concatenate([left, right], axis=1))


def _by_chunks(function: Callable[[jax.Array], jax.Array], rows: Indices) -> jax.Array:
    """The function of all rows, `CHUNK` of them at a time; the last ones are filled up with zeros."""
    size = min(CHUNK, len(rows))
    padded = np.zeros((-(-len(rows) // size) * size, rows.shape[1]), dtype=np.int32)
    padded[: len(rows)] = rows
    found = jax.lax.map(function, jnp.asarray(padded.reshape(-1, size, rows.shape[1])))
    return found.reshape(-1, *found.shape[2:])[: len(rows)]
