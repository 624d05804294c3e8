"""Power sums of one tile of networks: what :class:`nnqft.estimation.kstatistics.PowerSums` is made of.

Every function returns named sums over the tile, float64. Products go through matrix multiplications (a tensor of order
6 or 8 over networks is a sum of products of two of order 3 or 4), and are contracted over pairings afterwards. Selected
components (`points` is a :class:`nnqft.core.packing.Components`) are summed one by one: nnqft.sampling.selected.
"""

from dataclasses import dataclass
from functools import reduce
from operator import add

import jax
import jax.numpy as jnp
import numpy as np

from nnqft.core.packing import Basis, multisets, pair_products, pairing_legs, rank, splits
from nnqft.sampling import selected

Sums = dict[str, jax.Array]


@dataclass(frozen=True)
class Conditional:
    """Of each network, given a part of it: k2 - centre (m, P), k4 (m, Q), k6 summed over the tile (S,) or None; c4
    (PP,), for features that are estimated: the part of k4 before pairings are summed, summed over the tile.
    """

    k2: jax.Array
    k4: jax.Array
    k6: jax.Array | None
    c4: jax.Array | None


def matrices(d: jax.Array, points: Basis, order: int) -> Sums:
    """Sums over networks of d (m, P), of products of two, and of W_6(d), W_8(d)."""
    sums = {"first": d.sum(axis=0)}
    if order >= 4:
        sums["second"] = _second(d, points)
    if order >= 6:
        quads = wick4(d, points)
        sums["third"] = _over_splits(d, quads, points, 2, 4) / 3
        if order >= 8:
            sums["fourth"] = _over_splits(quads, quads, points, 4, 4) / 3
    return sums


def neurons(s: jax.Array, points: Basis, order: int, weight: jax.Array | None = None) -> Sums:
    """Sums over neurons s (n_x, lanes) of X = s s^T; W_6 = 15 s^6, W_8 = 105 s^8. `weight` (lanes,): see PowerSums."""
    expand = _quad_of_pairs(points)
    if not isinstance(points, int):
        sums = selected.neurons(s, points, order, weight)
        return sums | {name: sums[name][expand] for name in ("second", "moment4") if name in sums}
    w = jnp.ones(s.shape[1], s.dtype) if weight is None else weight.astype(s.dtype)
    pair = _products(s, 2)
    sums = {"first": jnp.matmul(pair, w, precision="highest").astype(jnp.float64)}
    w = jnp.ones((), s.dtype) if weight is None else w
    if order >= 4:
        sums["second"] = _symmetric_sum(pair * w**2, pair, points, 2)[expand]
        if weight is not None:
            sums["moment4"] = _symmetric_sum(pair * w, pair, points, 2)[expand]
    if order >= 6:
        triple = _products(s, 3)
        sums["third"] = 15 * _symmetric_sum(triple * w**3, triple, points, 3)
        if weight is not None:
            sums["moment6"] = 15 * _symmetric_sum(triple * w, triple, points, 3)
            sums["mixed6"] = 15 * _symmetric_sum(triple * w**2, triple, points, 3)
    if order >= 8:
        quad = _products(s, 4)
        sums["fourth"] = 105 * _symmetric_sum(quad, quad, points, 4)
    return sums


def rescaled(sums: Sums, root: jax.Array, points: Basis) -> Sums:
    """The sums of features s_a root_a from those of s_a, float64."""
    orders = {"first": 2, "third": 6, "moment6": 6, "mixed6": 6, "fourth": 8}
    factors = {name: leg_factors(root, points, orders[name]) for name in sums if name in orders}
    factors |= {name: pair_factors(root, points) for name in sums if name not in orders}
    return {name: value * factors[name] for name, value in sums.items()}


def leg_factors(root: jax.Array, points: Basis, order: int) -> jax.Array:
    """Product of root_a over the legs of every component."""
    return root[multisets(points, order)].prod(axis=1)


def pair_factors(root: jax.Array, points: Basis) -> jax.Array:
    """Product of root_a over the legs of every product of two pairs."""
    pairs = leg_factors(root, points, 2)
    left, right = pair_products(points)
    return pairs[left] * pairs[right]


def totals(c: Conditional, points: Basis, order: int) -> Sums:
    """Sums for the law of total cumulance."""
    sums = matrices(c.k2, points, order)
    if order >= 4:
        sums["within4"] = c.k4.sum(axis=0)
    if order >= 4 and c.c4 is not None:
        sums["within22"] = c.c4
    if order >= 6 and c.k6 is not None:
        sums |= {"within6": c.k6, "cross6": _over_splits(c.k2, c.k4, points, 2, 4)}
    return sums


def within(
    s: jax.Array, mask: jax.Array, weight: jax.Array, moments: tuple[float, float, float], order: int, points: Basis
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Conditional cumulants k4 (m, Q), their uncontracted Gaussian part (PP,) and k6 (S,), the last two summed.

    s (m, N, n_x): neurons that are iid given a part of the network; mask (m,) of networks that count; weight: C_W;
    moments: standardised E a^2k of the readout's weights, orders 4, 6, 8. f = sum_i a_i s_i with Var a = C_W / N has
    k4 = (1/N) k4[a s], k6 = (1/N^2) k6[a s] of one neuron, estimated within the network (polykays).
    """
    N, n = s.shape[1], points
    if isinstance(n, int):
        pair = _monomials(s, 2)  # (P, m, N)
        second = jnp.matmul(pair, jnp.ones(N, s.dtype), precision="highest").astype(jnp.float64).T
    else:
        rows, columns = multisets(n, 2).T
        second = jnp.einsum("mia,mib->mab", s, s, precision="highest")[:, rows, columns].astype(jnp.float64)
    u = weight * second * mask[:, None]
    v = weight**2 * _fourth(s, n) * mask[:, None]
    moment = 3 * v
    cumulant = moments[0] / 3 * moment / N - (wick4(u, n) - moment) / (N * (N - 1))
    c4 = (v.sum(axis=0)[_quad_of_pairs(n)] - _second(u, n) / N) / (N - 1)
    if order < 6:
        return cumulant / N, c4 / N, None
    W6 = weight**3 * 15 * _sixth(s * mask[:, None, None].astype(s.dtype), n)
    two_four = (_over_splits(u, moment, n, 2, 4) - 3 * W6) / (N * (N - 1))
    cube = _over_splits(u, wick4(u, n), n, 2, 4) / 3
    cubes = (cube - _over_splits(u, moment, n, 2, 4) + 2 * W6) / (N * (N - 1) * max(N - 2, 1))
    k6 = moments[1] / 15 * W6 / N - moments[0] / 3 * two_four + 2 * cubes
    return cumulant / N, c4 / N, k6 / N**2


def readout(
    s: jax.Array, mask: jax.Array, weight: jax.Array, moments: tuple[float, float, float], order: int, points: Basis
) -> tuple[jax.Array, jax.Array | None]:
    """Cumulants of f given features s (m, N, n_x), for readout weights not Gaussian: k4 (m, Q), summed k6 (S,).

    k4 = (m_4 - 3) (C_W / N)^2 sum_i s_i^4 and k6 = (m_6 - 15 m_4 + 30) (C_W / N)^3 sum_i s_i^6, exactly.
    """
    N = s.shape[1]
    s = s * mask[:, None, None].astype(s.dtype)
    k4 = (moments[0] - 3) * (weight / N) ** 2 * _fourth(s, points)
    if order < 6:
        return k4, None
    return k4, (moments[1] - 15 * moments[0] + 30) * (weight / N) ** 3 * _sixth(s, points)


def _fourth(s: jax.Array, points: Basis) -> jax.Array:
    """Sums over the neurons of each network of s s s s, (m, Q) float64 from s (m, N, n_x)."""
    if not isinstance(points, int):
        return selected.moment(jnp.moveaxis(s, -1, 0), points, 4, jnp.ones(s.shape[1], s.dtype)).T
    pair = _monomials(s, 2)
    one, other = splits(points, 2, 2)
    return jnp.einsum("pmi,qmi->mpq", pair, pair, precision="highest")[:, one[:, 0], other[:, 0]].astype(jnp.float64)


def _sixth(s: jax.Array, points: Basis) -> jax.Array:
    """Sum over all neurons of the products of six, (S,) float64 from s (m, N, n_x)."""
    m, N, n = s.shape
    if not isinstance(points, int):
        return selected.moment(s.reshape(m * N, n).T, points, 6, jnp.ones(m * N, s.dtype))
    triple = _monomials(s, 3).reshape(-1, m * N)
    return _symmetric_sum(triple, triple, points, 3)


def wick4(d: jax.Array, points: Basis) -> jax.Array:
    """W_4: the sum over the 3 pairings of d d, (m, Q) from (m, P)."""
    legs, columns = pairing_legs(points, 4), d.T
    return reduce(add, [columns[legs[:, p, 0]] * columns[legs[:, p, 1]] for p in range(3)]).T


def _monomials(s: jax.Array, order: int) -> jax.Array:
    """Products of `order` points, (components, ...) from (..., n_x)."""
    return _products(jnp.moveaxis(s, -1, 0), order)


def _products(columns: jax.Array, order: int) -> jax.Array:
    """Products of `order` rows, (components, ...) from (n_x, ...)."""
    legs = multisets(len(columns), order)
    product = columns[legs[:, 0]]
    for k in range(1, order):
        product = product * columns[legs[:, k]]
    return product


def _gram(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum("mi,mj->ij", a, b, precision="highest")


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.einsum("im,jm->ij", a, b, precision="highest").astype(jnp.float64)


def _second(d: jax.Array, points: Basis) -> jax.Array:
    """Sums over networks of the products of two pairs, (PP,) from d (m, P)."""
    if not isinstance(points, int):
        return selected.second(d, points)
    left, right = pair_products(points)
    return _gram(d, d)[left, right]


def _over_splits(a: jax.Array, b: jax.Array, points: Basis, left: int, right: int) -> jax.Array:
    """Sum over networks, and over the splits of every component's legs, of a (m, ·) on the left part times b (m, ·)."""
    if not isinstance(points, int):
        return selected.over_splits(a, b, points, left, right)
    first, second = splits(points, left, right)
    return _gram(a, b)[first, second].sum(axis=1)


def _symmetric_sum(left: jax.Array, right: jax.Array, points: int, half: int) -> jax.Array:
    """The symmetric tensor of order 2 half, packed, from products of `half` points (components, lanes), summed.

    One matrix product of all halves with all halves: many components come out several times, but on a CPU it is faster
    than several small products that compute each once.
    """
    first, second = splits(points, half, half)
    return _dot(left, right)[first[:, 0], second[:, 0]]


def _quad_of_pairs(points: Basis) -> np.ndarray:
    """The four-leg component that every packed product of two pairs belongs to."""
    pairs, (left, right) = multisets(points, 2), pair_products(points)
    return rank(np.concatenate([pairs[left], pairs[right]], axis=1), points)
