"""Quadrature for Gaussian averages E f(z), z = A u, u ~ N(0, 1)^r with r <= 4 and A (n, r).

Two rules, both streamed in chunks of nodes (m, r) and positive weights (m,) that sum to one:

- `trapezoid_rule` for integrands that are analytic near the real axis: the error falls as exp(-2 pi y / h), y the
  distance of the nearest singularity, so a few refinements reach machine precision (Trefethen and Weideman, SIAM
  Review 56 (2014) 385). Gauss-Hermite is far slower here;
- `sphere_rule` for integrands that are homogeneous and piecewise smooth with kinks on hyperplanes through 0 (relu).

`smooth_moments`, `homogeneous_moments` and `pair_averages` refine them until the averages asked for agree, and raise
QuadratureError if they do not.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import beta, gammainccinv, gammaln

from nnqft.core.packing import Indices, multisets, rank

Array = NDArray[np.float64]
Rule = Iterable[tuple[Array, Array]]
Unit = Callable[[Array], Array]
Key = TypeVar("Key")

MAX_DIMENSION = 4
CHUNK = 1 << 15
"""Nodes that a rule hands out at a time."""
ENTRIES = 1 << 21
"""Matrix entries in memory at a time, nodes times monomials: 16 MB, times a few."""
MAX_NODES = 3e8
"""Lattices beyond this are refused: minutes of work, because the preactivations are far too large."""
STEP = 0.65
"""Lattice step that integrates polynomials of degree 6 against the Gaussian itself to 1e-14."""
TAIL = 1e-13
"""Relative weight of the Gaussian tail (times the integrand's growth) that the trapezoid rule leaves out."""


class QuadratureError(RuntimeError):
    """An average that the rules here cannot deliver: no convergence, or far too many nodes."""


def factor_kernel(kernel: Array, null: float = 1e-14) -> Array:
    """A factor A (n, r) with A A^T = kernel (n, n), without its null directions: eigenvalues <= null * largest.

    A dropped direction of variance v changes an average of an even product by O(v).
    """
    values, vectors = np.linalg.eigh(kernel)
    keep = values > null * max(values[-1], 0.0)
    return (vectors[:, keep] * np.sqrt(values[keep]))[:, ::-1]


def trapezoid_rule(steps: Array, radius: float, *, half: bool = False) -> Rule:
    """Product trapezoid rule for N(0, 1)^r on the lattice (k + 1/2) steps, |u| < radius; steps has shape (r,).

    `half` keeps u_1 > 0 and doubles the weights, for integrands that are even under u -> -u. For r = 0 the one node
    is the empty vector.
    """
    axes = [step * (np.arange(-np.ceil(radius / step), np.ceil(radius / step)) + 0.5) for step in steps]
    if half and axes:
        axes[0] = axes[0][axes[0] > 0]
    volume = np.prod(steps / np.sqrt(2 * np.pi)) * (2 if half and axes else 1)
    inner, outer = _grid(axes[-2:]), _grid(axes[:-2])
    inner = inner[_squares(inner) < radius**2]
    outer = outer[_squares(outer) < radius**2]
    rows = max(1, CHUNK // len(inner))
    for start in range(0, len(outer), rows):
        block = outer[start : start + rows]
        nodes = np.concatenate([np.repeat(block, len(inner), axis=0), np.tile(inner, (len(block), 1))], axis=1)
        square = _squares(nodes)
        keep = square < radius**2
        yield nodes[keep], volume * np.exp(-square[keep] / 2)


def sphere_rule(normals: Array, order: int) -> Rule:
    """Rule for the mean over the sphere S^(r-1) of functions that are smooth but for kinks at normals @ u = 0.

    With u = cos(t) e + sin(t) n, n on the sphere orthogonal to e, the integrand at fixed n has kinks where a
    hyperplane is crossed, once each in (0, pi): Gauss-Legendre of `order` nodes between them. What is left, a
    function of n, is singular only where two crossings meet, (A_i (A_j.e) - A_j (A_i.e)).n = 0: again hyperplanes
    through 0, so the rule recurses down to S^0 = {-1, 1}, where it is exact. normals: (m, r), any lengths, 1 <= r.
    """
    rotation, turned = _turn(_distinct(normals))
    for lower, lower_weights in _batches(*_lower_sphere(turned, order), arcs=len(turned) + 1, order=order):
        nodes, weights = _extend(turned, lower, lower_weights, order)
        yield nodes @ rotation.T, weights


def radial_moment(dimension: int, degree: int) -> float:
    """E |u|^degree for u ~ N(0, 1)^dimension: 2^(k/2) Gamma((r + k)/2) / Gamma(r/2)."""
    return float(np.exp(degree / 2 * np.log(2) + gammaln((dimension + degree) / 2) - gammaln(dimension / 2)))


def smooth_moments(
    unit: Unit, factor: Array, orders: Sequence[int], *, odd: bool = False, tolerance: float = 1e-9
) -> dict[int, Array]:
    """Packed moments E[s_a s_b ...] of even orders, s = unit(z) with z (m, n) -> (m, n) smooth, z = factor @ u.

    The last refinement changes no moment by more than `tolerance` times the largest of its order. unit may grow
    linearly. Raises ValueError for factors of rank > 4.
    """
    _checked_dimension(factor)

    def average(rule: Rule) -> dict[int, Array]:
        return packed_moments(rule, unit, factor, orders)

    return refined_lattice(average, np.max(np.abs(factor), axis=0, initial=0.0), max(orders), odd, tolerance)


def pair_averages(
    units: Sequence[Unit],
    kernels: Array,
    products: Sequence[tuple[int, int]],
    *,
    odd: bool = False,
    tolerance: float = 1e-9,
) -> dict[tuple[int, int], Array]:
    """<units[i](z_a) units[j](z_b)> for every (i, j) of `products`; kernels (p, 3) holds (K_aa, K_ab, K_bb).

    Each value has shape (p,). The 2 x 2 factor is triangular, so coincident points and zero variances are harmless.
    `odd`: all products are even under z -> -z.
    """
    aa, ab, bb = kernels.T
    slope = np.divide(ab, np.sqrt(aa), out=np.zeros_like(aa), where=aa > 0)
    rest = np.sqrt(np.maximum(bb - slope**2, 0.0))

    def average(rule: Rule) -> dict[tuple[int, int], Array]:
        sums = {product: np.zeros(len(kernels)) for product in products}
        for nodes, weights in rule:
            first = nodes[:, :1] * np.sqrt(aa)
            second = nodes[:, :1] * slope + nodes[:, 1:] * rest
            left = {i: units[i](first) for i, _ in products}
            right = {j: units[j](second) for _, j in products}
            for i, j in products:
                sums[i, j] += np.einsum("m,mp,mp->p", weights, left[i], right[j])
        return sums

    amplitude = np.sqrt(np.max(kernels[:, [0, 2]], initial=0.0))
    return refined_lattice(average, np.full(2, amplitude), 2, odd, tolerance)


def homogeneous_moments(
    unit: Unit, factor: Array, orders: Sequence[int], *, tolerance: float | None = None
) -> dict[int, Array]:
    """As `smooth_moments` for piecewise linear units with their kink at 0 (relu, leaky relu, absolute value).

    Closed-form radial moment times `sphere_rule`. One-dimensional factors are exact. The default tolerance is that of
    the rank: 1e-11 to 1e-10 up to three dimensions, 1e-7 in four, where two more nodes gain a factor of 100.
    """
    r = _checked_dimension(factor)
    if r == 0:
        return {k: np.zeros(len(multisets(len(factor), k))) for k in orders}
    bound = (1e-11, 1e-11, 1e-10, 1e-7)[r - 1] if tolerance is None else tolerance

    def estimate(level: int) -> dict[int, Array]:
        moments = packed_moments(sphere_rule(factor, order=6 + 2 * level), unit, factor, orders)
        return {k: radial_moment(r, k) * moment for k, moment in moments.items()}

    return _refined(estimate, bound)


def packed_moments(rule: Rule, unit: Unit, factor: Array, orders: Sequence[int]) -> dict[int, Array]:
    """Packed moments of even orders of s = unit(nodes @ factor.T) under a rule.

    An order-2d moment is a product of two degree-d monomials, so all components together are one matrix product.
    """
    n = len(factor)
    rows = max(1, ENTRIES // len(multisets(n, max(orders) // 2)))
    sums: dict[int, Array] = {}
    for nodes, weights in _pieces(rule, rows):
        monomials = {1: unit(nodes @ factor.T)}
        for degree in range(2, max(orders) // 2 + 1):
            head, last = _split(n, degree, degree - 1)
            monomials[degree] = monomials[degree - 1][:, head] * monomials[1][:, last]
        for k in orders:
            weighted = np.sqrt(weights)[:, None] * monomials[k // 2]
            sums[k] = sums.get(k, 0.0) + weighted.T @ weighted
    return {k: sums[k][_split(n, k, k // 2)] for k in orders}


def _pieces(rule: Rule, rows: int) -> Iterator[tuple[Array, Array]]:
    """The same nodes, at most `rows` at a time."""
    for nodes, weights in rule:
        for start in range(0, len(weights), rows):
            yield nodes[start : start + rows], weights[start : start + rows]


@lru_cache(maxsize=64)
def _split(n: int, order: int, left: int) -> tuple[Indices, Indices]:
    """Packed positions of the first `left` and of the other legs of every multiset of that order."""
    legs = multisets(n, order)
    return rank(legs[:, :left], n), rank(legs[:, left:], n)


def refined_lattice(
    average: Callable[[Rule], dict[Key, Array]], amplitudes: Array, growth: int, even: bool, tolerance: float
) -> dict[Key, Array]:
    """Averages under trapezoid rules refined by sqrt(2) an axis until they agree to `tolerance`.

    amplitudes (r,): largest preactivation per unit of u_i; the steps shrink where it is large. growth: the integrand
    grows at most as |u|^growth. The error falls geometrically, to its power 1.4 or better with each refinement, so
    the finer result, which is returned, is much better than the last change.
    """
    r = len(amplitudes)
    radius = float(np.sqrt(2 * gammainccinv((r + growth) / 2, TAIL))) if r else 1.0

    def estimate(level: int) -> dict[Key, Array]:
        steps = STEP / np.sqrt(1 + 2**level * amplitudes**2)
        nodes = np.prod(2 * radius / steps)
        if nodes > MAX_NODES:
            raise QuadratureError(f"quadrature needs {nodes:.1e} nodes: preactivations of size {max(amplitudes):.3g}")
        return average(trapezoid_rule(steps, radius, half=even))

    return _refined(estimate, tolerance)


def _refined(estimate: Callable[[int], dict[Key, Array]], tolerance: float, levels: int = 9) -> dict[Key, Array]:
    """First estimate that differs from the one before by at most `tolerance` times the largest value of its key."""
    coarse = estimate(0)
    for level in range(1, levels):
        fine = estimate(level)
        if all(np.max(np.abs(fine[k] - coarse[k])) <= tolerance * np.max(np.abs(fine[k])) for k in fine):
            return fine
        coarse = fine
    raise QuadratureError(f"quadrature did not converge to {tolerance:g} in {levels} refinements")


def _checked_dimension(factor: Array) -> int:
    if factor.shape[1] > MAX_DIMENSION:
        raise ValueError(f"quadrature needs rank <= {MAX_DIMENSION}, got {factor.shape[1]}")
    return factor.shape[1]


def _grid(axes: Sequence[Array]) -> Array:
    """All points of a product grid, shape (m, number of axes); one empty point when there are no axes."""
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes)) if axes else np.empty((1, 0))


def _squares(points: Array) -> Array:
    return np.einsum("mr,mr->m", points, points)


def _distinct(normals: Array) -> Array:
    """Unit normals (m', r) up to sign, without null vectors and parallel duplicates."""
    lengths = np.linalg.norm(normals, axis=1)
    keep = lengths > 1e-14 * np.max(lengths, initial=0.0)
    units = normals[keep] / lengths[keep, None]
    parallel = np.triu(np.abs(units @ units.T) > 1 - 1e-14, k=1).any(axis=0)
    return units[~parallel]


def _turn(normals: Array) -> tuple[Array, Array]:
    """The rotation, of 64 fixed ones, whose first column e is farthest from orthogonal to any normal.

    Returns it (r, r) and the normals in its coordinates (m, r).
    """
    r = normals.shape[1]
    draws = np.random.default_rng(20200819).normal(size=(64, r, r))
    rotations = np.linalg.qr(draws)[0]
    distance = np.min(np.abs(np.einsum("mr,kr->km", normals, rotations[:, :, 0])), axis=1, initial=1.0)
    best = rotations[np.argmax(distance)]
    return best, normals @ best


def _lower_sphere(turned: Array, order: int) -> tuple[Array, Array]:
    """Nodes (m, r - 1) and weights of the rule for n: the kinks are where two crossings meet."""
    if turned.shape[1] == 1:
        return np.empty((1, 0)), np.ones(1)
    pairs = np.array(list(combinations(range(len(turned)), 2)), dtype=int).reshape(-1, 2).T
    along, across = turned[:, :1], turned[:, 1:]
    meeting = across[pairs[0]] * along[pairs[1]] - across[pairs[1]] * along[pairs[0]]
    nodes, weights = zip(*sphere_rule(meeting, order), strict=True)
    return np.concatenate(nodes), np.concatenate(weights)


def _batches(lower: Array, weights: Array, *, arcs: int, order: int) -> Iterator[tuple[Array, Array]]:
    rows = max(1, CHUNK // (arcs * order))
    starts = range(0, len(lower), rows)
    return ((lower[start : start + rows], weights[start : start + rows]) for start in starts)


def _extend(turned: Array, lower: Array, lower_weights: Array, order: int) -> tuple[Array, Array]:
    """Nodes cos(t) e + sin(t) n and weights on S^(r-1) from those for n on S^(r-2)."""
    r = turned.shape[1]
    if r == 1:
        return np.array([[-1.0], [1.0]]), np.array([0.5, 0.5])
    along, across = turned[:, 0], lower @ turned[:, 1:].T
    crossings = np.arctan2(np.abs(along), -across * np.sign(along))
    ends = np.zeros((len(lower), 1))
    edges = np.sort(np.concatenate([ends, crossings, ends + np.pi], axis=1), axis=1)
    points, gauss = np.polynomial.legendre.leggauss(order)
    middle, width = (edges[:, 1:] + edges[:, :-1]) / 2, (edges[:, 1:] - edges[:, :-1]) / 2
    t = middle[..., None] + width[..., None] * points
    weights = lower_weights[:, None, None] * width[..., None] * gauss * np.sin(t) ** (r - 2) / beta(0.5, (r - 1) / 2)
    across_nodes = np.sin(t)[..., None] * lower[:, None, None, :]
    nodes = np.concatenate([np.cos(t)[..., None], across_nodes], axis=-1)
    return nodes.reshape(-1, r), weights.reshape(-1)
