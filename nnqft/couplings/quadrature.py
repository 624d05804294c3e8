"""Quadrature rules over the box |y_i| <= Lambda and the ball |y| <= Lambda, their surfaces, and the sphere.

A rule is a pair of nodes (m, d) and weights (m,). All are composite Gauss-Legendre rules (trapezoid rules around a
circle). Those for smooth integrands run in u, r = c sinh u, where c is the distance of the nearest singularity from the
real axis: it resolves the region near the points and the far tail alike. With an even number of nodes and edges that
are symmetric about 0 a rule is symmetric under the reflection of every coordinate and has no node with a coordinate 0.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rule = tuple[Array, Array]


def box_volume(edges: Sequence[Array], scale: float, nodes: int) -> Rule:
    """The box, y_i = scale sinh u_i, with panels between the `edges` (in u) of each coordinate."""
    return tensor_rule(_sinh_axes(edges, scale, nodes))


def box_surface(edges: Sequence[Array], scale: float, cutoff: float, nodes: int) -> Rule:
    """The 2 d faces y_axis = +-cutoff of the box, so that d/dLambda int_box f = int_surface f."""
    grids = _sinh_axes(edges, scale, nodes)
    return _joined([_faces(grids[:axis] + grids[axis + 1 :], axis, cutoff) for axis in range(len(grids))])


def ball_volume(scale: float, cutoff: float, d: int, nodes: int) -> Rule:
    """The ball in d = 2 or 3 dimensions, r = scale sinh u, of integrands smooth inside."""
    (r, w), (n, v) = _sinh_axes([np.arcsinh(np.array([0.0, cutoff]) / scale)], scale, nodes)[0], sphere(d, nodes)
    return (r[:, None, None] * n).reshape(-1, d), np.multiply.outer(r ** (d - 1) * w, v).ravel()


def ball_surface(cutoff: float, d: int, nodes: int) -> Rule:
    """The sphere |y| = cutoff."""
    n, v = sphere(d, nodes)
    return cutoff * n, cutoff ** (d - 1) * v


def sphere(d: int, nodes: int) -> Rule:
    """Unit vectors in d = 2 or 3 dimensions with weights that sum to 2 pi or 4 pi."""
    around = 4 * (-(-nodes // 2))
    phi = (np.arange(around) + 0.5) * 2 * np.pi / around
    circle = np.stack([np.cos(phi), np.sin(phi)], axis=-1)
    if d == 2:
        return circle, np.full(around, 2 * np.pi / around)
    height, w = legendre(2 * (-(-nodes // 2)))
    ring = np.sqrt(1 - height**2)[:, None, None] * circle
    n = np.concatenate([ring, np.broadcast_to(height[:, None, None], (*ring.shape[:2], 1))], axis=-1)
    return n.reshape(-1, 3), np.repeat(w * 2 * np.pi / around, around)


def ray_breaks(x: Array) -> list[list[Array]]:
    """For every axis of the unit box the edges along the other axes where the rays +-x_a hit its pair of faces."""
    rays = x[np.any(x != 0, axis=1)]
    hits = rays / np.abs(rays).max(axis=1, keepdims=True)
    breaks = []
    for axis in range(x.shape[1]):
        there = np.delete(hits[np.abs(hits[:, axis]) == 1], axis, axis=1)
        breaks.append([panel_edges(np.concatenate([column, -column]), 1.0) for column in there.T])
    return breaks


def unit_faces(breaks: list[list[Array]], nodes: int) -> Rule:
    """The faces of the unit box, with panels between the breaks of :func:`ray_breaks`."""
    faces = [_faces([panels(e, nodes) for e in edges], axis, 1.0) for axis, edges in enumerate(breaks)]
    return _joined(faces)


def on_the_sphere(rule: Rule) -> Rule:
    """A rule over the faces of the unit box as one over the unit sphere: y / |y| with solid angle dA / |y|^d."""
    y, w = rule
    radius = np.linalg.norm(y, axis=-1)
    return y / radius[..., None], w / radius ** y.shape[-1]


def positive(rule: Rule) -> Rule:
    """The nodes in the orthant where all coordinates are positive, of a rule symmetric under all reflections."""
    y, w = rule
    there = np.all(y > 0, axis=1)
    return y[there], w[there]


def panel_edges(breaks: Array, end: float) -> Array:
    """Sorted panel edges from -end to end, with those of the breaks that lie between, once each."""
    edges = np.sort(np.concatenate([[-end, end], breaks[np.abs(breaks) < end]]))
    return edges[np.append(True, np.diff(edges) > 1e-12 * end)]


def panels(edges: Array, nodes: int) -> Rule:
    """Composite Gauss-Legendre rule, one-dimensional nodes (m,): `nodes` a panel."""
    t, w = legendre(nodes)
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    return (middle + half * t).ravel(), (half * w).ravel()


@lru_cache(maxsize=32)
def legendre(nodes: int) -> Rule:
    """Gauss-Legendre nodes (nodes,) and weights on [-1, 1]; shared, not to be written to."""
    t, w = leggauss(nodes)
    t.setflags(write=False)
    w.setflags(write=False)
    return t, w


def tensor_rule(axes: Sequence[Rule]) -> Rule:
    """Nodes (m, d) and weights (m,) of the tensor product of one-dimensional rules."""
    nodes = np.stack(np.meshgrid(*(y for y, _ in axes), indexing="ij"), axis=-1).reshape(-1, len(axes))
    weights = axes[0][1]
    for _, w in axes[1:]:
        weights = np.multiply.outer(weights, w).ravel()
    return nodes, weights


def _sinh_axes(edges: Sequence[Array], scale: float, nodes: int) -> list[Rule]:
    grids = (panels(e, nodes) for e in edges)
    return [(scale * np.sinh(u), scale * np.cosh(u) * w) for u, w in grids]


def _faces(rules: list[Rule], axis: int, end: float) -> Rule:
    """The pair of faces y_axis = +-end of a box, with one-dimensional rules along the other axes."""
    return tensor_rule([*rules[:axis], (np.array([-end, end]), np.ones(2)), *rules[axis:]])


def _joined(rules: Sequence[Rule]) -> Rule:
    return np.concatenate([y for y, _ in rules]), np.concatenate([w for _, w in rules])
