"""The tree with two vertices and one propagator, which belongs with kappa in the six-point function.

    tree(abc|def) = int d^d y int d^d z K_a K_b K_c(y) K_w(y, z) K_d K_e K_f(z),
    G6c = (24 lambda)^2 sum_{10 splits} tree - 720 kappa I6

(Halverson, Maiti, Stoner, arXiv:2008.08601, section 4). It is the quadratic form of the matrix K_w(y, z) over the nodes
of a rule on the products of three legs, so all splits of all components are one matrix over triples. Other quartic
operators (:mod:`nnqft.couplings.tree_design`) have other sources at the ends of the propagator. Kernels do not
change when y and z are reflected together; with a rule that has these symmetries, K_w falls apart into one block for
every character of the 2^d reflections, and one 2^d-th of its entries is computed.

The relu kernel has a |y - z|^3 singularity (without bias one on the rays y || +-z). Where the rule runs along a curve
(d = 2 without bias, d = 1 with one) the inner integral is split there and the result is as good as the others. In more
dimensions it is a point, and only more nodes help.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import multisets
from nnqft.couplings.quadrature import Rule, legendre, positive

Array = NDArray[np.float64]

_BLOCK = 384  # nodes a side of the blocks of K_w that are computed at a time
_WORK = 1 << 21  # numbers in an array of a curve's blocks
_MOST = 4096  # nodes an orthant


@dataclass(frozen=True)
class Legs:
    """leg(y) (n, m) for nodes y (m, d); propagator(y, z) for nodes (..., d) that broadcast; n points.

    powers, single: the sources of the propagator, |y|^2k K_a K_b K_c for every k in `powers`, then K_c if `single`.
    """

    leg: Callable[[Array], Array]
    propagator: Callable[[Array, Array], Array]
    n: int
    powers: tuple[int, ...] = (0,)
    single: bool = False

    @property
    def legs(self) -> NDArray[np.int64]:
        """The legs of every source, 3 or 1: their order is by k, then by component."""
        return np.repeat([3, 1], [len(self.powers) * len(multisets(self.n, 3)), self.n * self.single])

    @property
    def degrees(self) -> NDArray[np.int64]:
        """The degree in y of every source whose legs have degree 1."""
        factor = np.repeat(self.powers, len(multisets(self.n, 3))).astype(np.int64)
        return self.legs + 2 * np.append(factor, np.zeros(self.n * self.single, dtype=np.int64))

    def sources(self, y: Array) -> Array:
        """All sources at nodes (m, d): (sources, m)."""
        k, square = self.leg(y), np.sum(y * y, axis=1)
        triple = self.triples_of(k) if self.powers else k[:0]
        parts = [triple * square**power if power else triple for power in self.powers]
        return np.concatenate([*parts, k] if self.single else parts)

    def triples_of(self, k: Array) -> Array:
        """Products of three of the legs k (n, m)."""
        first, second, third = multisets(self.n, 3).T
        return k[first] * k[second] * k[third]


@dataclass(frozen=True)
class Curve:
    """A one-dimensional region in panels low to high (P,); at(panel, u) are points (..., d) and weights du -> dy.

    mirrored: whether the kernel is singular at y || -z too, so that the panel of -z is split with that of z.
    """

    low: Array
    high: Array
    at: Callable[[NDArray[np.int64], Array], tuple[Array, Array]]
    mirrored: bool


def tree_matrix(legs: Legs, rule: Rule) -> Array:
    """The matrix (sources, sources) of all trees over one rule, symmetric under reflections, for y and z.

    Raises RuntimeError for rules with too many nodes.
    """
    y, w = positive(rule)
    _check_size(len(w))
    total = np.zeros((len(legs.legs),) * 2)
    starts = range(0, len(w), _BLOCK)
    for i in starts:
        left = _Folded.of(legs, y[i : i + _BLOCK], w[i : i + _BLOCK])
        for j in starts[i // _BLOCK :]:
            right = left if j == i else _Folded.of(legs, y[j : j + _BLOCK], w[j : j + _BLOCK])
            block = _between(legs, left, right)
            total += block if j == i else block + block.T
    return (total + total.T) / 2


def tree_slope(legs: Legs, surface: Rule, volume: Rule) -> Array:
    """The derivative of :func:`tree_matrix` in Lambda: one vertex on the surface, the other in the volume."""
    (y, w), (z, v) = positive(surface), positive(volume)
    _check_size(len(v))
    total = np.zeros((len(legs.legs),) * 2)
    for i in range(0, len(w), _BLOCK):
        left = _Folded.of(legs, y[i : i + _BLOCK], w[i : i + _BLOCK])
        for j in range(0, len(v), _BLOCK):
            total += _between(legs, left, _Folded.of(legs, z[j : j + _BLOCK], v[j : j + _BLOCK]))
    return total + total.T


def curve_matrix(legs: Legs, curve: Curve, nodes: int) -> Array:
    """:func:`tree_matrix` over a curve, the inner integral split at the singularity of the propagator."""
    t, w = legendre(nodes)
    panel = np.arange(len(curve.low))[:, None]
    half, middle = (curve.high - curve.low)[:, None] / 2, (curve.high + curve.low)[:, None] / 2
    u = middle + half * t  # (P, nodes)
    y, jacobian = curve.at(panel, u)
    d = y.shape[-1]
    flat, weights = y.reshape(-1, d), (jacobian * half * w).ravel()
    _check_size(len(weights))
    amplitude = legs.sources(flat) * weights
    own = np.repeat(np.arange(len(u)), nodes)
    signs = (1, -1) if curve.mirrored else (1,)
    images = [_panel_of(sign * curve.at(panel[:, 0], middle[:, 0])[0], curve)[own] for sign in signs]
    edges = np.stack([np.broadcast_to(curve.low[:, None], u.shape), u, np.broadcast_to(curve.high[:, None], u.shape)])
    edges = edges.reshape(3, -1, 1)
    halves, middles = (edges[1:] - edges[:-1]) / 2, (edges[1:] + edges[:-1]) / 2
    inner = np.concatenate(middles + halves * t, axis=1)  # (P nodes, 2 nodes): both parts of a node's own panel
    z, jacobian = curve.at(own[:, None], inner)
    steps = jacobian * np.concatenate(halves * w, axis=1)
    total = np.zeros((len(amplitude),) * 2)
    rows = max(1, _WORK // max(len(weights), 2 * nodes * len(amplitude)))
    for part in (slice(start, start + rows) for start in range(0, len(weights), rows)):
        kernel = legs.propagator(flat[part, None], flat)
        for image in images:
            kernel[image[part, None] == own] = 0.0
        at_node = amplitude @ kernel.T
        for sign in signs:
            near = legs.propagator(flat[part, None], sign * z[part]) * steps[part]
            products = legs.sources(sign * z[part].reshape(-1, d)).reshape(-1, *near.shape)
            at_node += np.einsum("ak,sak->sa", near, products)
        total += amplitude[:, part] @ at_node.T
    return (total + total.T) / 2


@dataclass(frozen=True)
class _Folded:
    """Nodes (m, d) of one orthant and sums over their images of weight times source, (characters, sources, m)."""

    y: Array
    amplitude: Array

    @classmethod
    def of(cls, legs: Legs, y: Array, w: Array) -> "_Folded":
        signs, characters = _reflections(y.shape[1])
        images = legs.sources((signs[:, None] * y).reshape(-1, y.shape[1])).reshape(-1, len(signs), len(w)) * w
        return cls(y, np.einsum("cs,tsm->ctm", characters, images))


def _between(legs: Legs, left: _Folded, right: _Folded) -> Array:
    """Both vertices on the images of these nodes: sum over characters of amplitude, block of K_w, amplitude."""
    signs, characters = _reflections(left.y.shape[1])
    kernel = np.stack([legs.propagator(left.y[:, None], sign * right.y) for sign in signs])
    blocks = np.einsum("cs,sab->cab", characters, kernel)
    return np.sum(left.amplitude @ blocks @ right.amplitude.transpose(0, 2, 1), axis=0) / len(signs)


def _reflections(d: int) -> tuple[Array, Array]:
    """The reflections as signs (2^d, d) and their characters (2^d, 2^d)."""
    bits = np.array(list(product([0, 1], repeat=d)))
    return 1.0 - 2 * bits, 1.0 - 2 * ((bits @ bits.T) % 2)


def _panel_of(points: Array, curve: Curve) -> NDArray[np.int64]:
    """The panel whose middle is nearest to each point (P, d)."""
    middles = curve.at(np.arange(len(curve.low)), (curve.low + curve.high) / 2)[0]
    return np.argmin(np.sum((points[:, None] - middles) ** 2, axis=-1), axis=1)


def _check_size(nodes: int) -> None:
    if nodes > _MOST:
        raise RuntimeError(
            f"a tree has not converged: K(y, z) would need more than {_MOST} nodes, here {nodes}, an orthant"
        )
