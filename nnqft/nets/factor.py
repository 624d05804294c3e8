"""Gram matrices and their triangular factors for many networks at once, without jitter.

Arrays lie as (n, rows, networks), networks last: every operation is then one on neighbouring numbers.

A factor R with R^T R = A^T A comes from Cholesky's algorithm on the Gram matrix C = A^T A in float64. It loses digits
where a pivot, the variance of one point given those before it, is small against the point's own variance: the variance
of a difference has then a relative error of up to 3e-15 C_aa / R_aa^2 (measured). Networks with a pivot below PIVOT
are factored again by Householder's QR of A itself in float64, which has |R v| = |A v| up to 1e-15 |A| |v|, for
duplicates and zeros too. No entry depends on which other networks are factored with it.
"""

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import TypeVar

import jax
import jax.numpy as jnp

T = TypeVar("T")

PIVOT = {"float64": 1e-7, "float32": 1e-12}
"""Smallest R_aa^2 / C_aa for which Cholesky's factor is kept, by the type that R is rounded to.

float64: first differences of points have variances right to 1e-8. float32: rounding R makes an error a hundred times
larger, 1e-7 sqrt(C_aa) / R_aa.
"""
WAYS = 8
"""Rows that are added up in one pass."""
CACHED = 1 << 18
"""Numbers that a core's cache surely holds."""
UNROLLED = 16
"""Points up to which factors are written out, one operation for all networks; LAPACK's are faster beyond."""
GROUP = 16
"""Networks that are factored again together."""


def upper_factor(matrix: jax.Array, dtype: str = "float64") -> jax.Array:
    """R (networks, n, n), upper triangular, with R^T R = A^T A, from A (networks, k, n)."""
    return layer_factor(matrix.T, jnp.ones(()), jnp.zeros(()), dtype)[0].transpose(2, 0, 1)


def layer_factor(
    units: jax.Array, weight: jax.Array, bias: jax.Array, dtype: str = "float64"
) -> tuple[jax.Array, jax.Array]:
    """(R, C), both (n, n, networks), with sum_c R_ca R_cb = C_ab = bias + weight sum_k phi_ka phi_kb.

    phi (n, k, networks), k >= n. R is found in float64 and rounded to `dtype`, upper triangular in its first two
    indices; C is float64.
    """
    n, rows, networks = units.shape
    lanes = GROUP if networks % GROUP == 0 else networks
    square = bias + weight * gram(units)
    found, good = _cholesky(square, PIVOT[dtype])

    def repair(i: jax.Array, factor: jax.Array) -> jax.Array:
        def again() -> jax.Array:
            fresh = _qr(jax.lax.dynamic_slice(units, (0, 0, i * lanes), (n, rows, lanes)), weight, bias)
            old = jax.lax.dynamic_slice(factor, (0, 0, i * lanes), (n, n, lanes))
            return jax.lax.dynamic_update_slice(factor, jnp.where(fine, old, fresh), (0, 0, i * lanes))

        fine = jax.lax.dynamic_slice(good, (i * lanes,), (lanes,))
        return jax.lax.cond(jnp.all(fine), lambda: factor, again)

    def repaired() -> jax.Array:
        return jax.lax.fori_loop(0, networks // lanes, repair, found).astype(dtype)

    return jax.lax.cond(jnp.all(good), lambda: found.astype(dtype), repaired), square


def gram(units: jax.Array) -> jax.Array:
    """sum_k phi_ka phi_kb: (n, n, networks) float64 from phi (n, k, networks); sums and products in float64."""
    n = len(units)
    if n > UNROLLED:
        rows = units.transpose(2, 0, 1).astype(jnp.float64)
        return jnp.einsum("mak,mbk->abm", rows, rows, precision="highest")
    diagonals = _in_parts(units)
    rows = [[diagonals[abs(a - b)][min(a, b)] for b in range(n)] for a in range(n)]
    return jnp.stack([jnp.stack(row) for row in rows])


def stored(function: Callable[[jax.Array], T], x: jax.Array) -> T:
    """function(x), or NaN if x starts with NaN, where x and the result are computed once, however many use them.

    For the compiler only: on CPUs it fuses whatever it finds cheap with every one of its users, and repeats it in each,
    but not across the borders of a branch.
    """
    shapes = jax.eval_shape(function, x)

    def nothing(_: jax.Array) -> T:
        return jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), shapes)

    return jax.lax.cond(jnp.isnan(x[(0,) * x.ndim]), nothing, function, x)


def _in_parts(units: jax.Array) -> list[jax.Array]:
    """_products of as many rows at a time as a core's cache holds, because every diagonal reads them again."""
    n, rows, networks = units.shape
    part = max(1, CACHED // (n * networks))
    whole = rows // part

    def more(i: jax.Array, total: list[jax.Array]) -> list[jax.Array]:
        found = _products(jax.lax.dynamic_slice(units, (0, i * part, 0), (n, part, networks)))
        return [a + b for a, b in zip(total, found, strict=True)]

    if whole <= 1:
        return stored(_products, units)
    total = jax.lax.fori_loop(1, whole, more, _products(units[:, :part]))
    if rows == whole * part:
        return total
    return [a + b for a, b in zip(total, stored(_products, units[:, whole * part :]), strict=True)]


def _products(units: jax.Array) -> list[jax.Array]:
    """Sums of products, by diagonals b - a = d of the Gram matrix: (n - d, networks)."""
    n, rows, _ = units.shape
    ways = min(WAYS, rows)
    length = rows // ways
    starts, rest = range(0, ways * length, length), range(ways * length, rows)

    def product(d: int, start: int, stop: int) -> jax.Array:
        return units[: n - d, start:stop].astype(jnp.float64) * units[d:, start:stop].astype(jnp.float64)

    found = []
    for d in range(n):
        total = _sum_rows(reduce(add, [product(d, i, i + length) for i in starts]))
        found.append(reduce(add, [product(d, i, i + 1)[:, 0] for i in rest], total))
    return found


def _sum_rows(x: jax.Array) -> jax.Array:
    """Sum over the second axis, in a fixed order and one pass for every WAYS rows."""
    rows = x.shape[1]
    if rows == 1:
        return x[:, 0]
    ways = min(WAYS, rows)
    length = rows // ways
    total = _sum_rows(reduce(add, [x[:, i : i + length] for i in range(0, ways * length, length)]))
    return reduce(add, [x[:, i] for i in range(ways * length, rows)], total)


def _cholesky(gram: jax.Array, smallest: float) -> tuple[jax.Array, jax.Array]:
    """(R, whether every relative pivot was above `smallest` (networks,)) from C (n, n, networks)."""
    n, _, networks = gram.shape
    if n > UNROLLED:
        factor = jnp.linalg.cholesky(gram.T, upper=True, symmetrize_input=False).transpose(1, 2, 0)
        index = jnp.arange(n)
        return factor, jnp.all(factor[index, index] ** 2 > smallest * gram[index, index], axis=0)
    rows, good = [], jnp.full(networks, True)
    for k in range(n):
        row = reduce(lambda left, r, k=k: left - r[k] * r[k:], rows, gram[k, k:])
        good &= row[0] > smallest * gram[k, k]
        rows.append(jnp.pad(row * jnp.where(good, 1 / jnp.sqrt(row[0]), 0), ((k, 0), (0, 0))))
    return jnp.stack(rows), good


def _qr(units: jax.Array, weight: jax.Array, bias: jax.Array) -> jax.Array:
    """R (n, n, networks) of [sqrt(weight) phi; sqrt(bias)], phi (n, k, networks)."""
    rows = jnp.sqrt(weight) * units.T.astype(jnp.float64)
    last = jnp.broadcast_to(jnp.sqrt(bias), (len(rows), 1, rows.shape[2]))
    return jnp.linalg.qr(jnp.concatenate([rows, last], axis=1), mode="r").transpose(1, 2, 0)
