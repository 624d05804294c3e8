"""Trees over the region of the vertices: the matrix of one propagator between all sources, at every cutoff.

    M_st(Lambda) = int d^d y int d^d z s(y) K_w(y, z) t(z)

for the sources s, t of :class:`nnqft.couplings.trees.Legs`, and dM / dLambda with one of the vertices on the surface.
The methods are those of :mod:`nnqft.couplings.vertices`: scaling for homogeneous legs, where M_st has the power
p_s + p_t + 2 d + 2 of Lambda for sources of degrees p; Gaussians; and quadrature.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nnqft.couplings.contraction import KINKED_TREE, converge_tree
from nnqft.couplings.gaussian_trees import gaussian_matrix
from nnqft.couplings.quadrature import on_the_sphere, ray_breaks
from nnqft.couplings.theory import Theory, edges, rules, unit_surface
from nnqft.couplings.trees import Curve, curve_matrix, tree_matrix, tree_slope

Array = NDArray[np.float64]


def exchange(theory: Theory, cutoffs: Array) -> tuple[Array, Array]:
    """M and dM / dLambda, (n_cutoffs, sources, sources) each, float64.

    Two rules agree to 1e-11, 1e-9, 1e-7 for d_in = 1, 2, 3, and to 1e-6 where the relu kernel is singular at a point,
    of sqrt(M_ss M_tt), which bounds M_st because K_w is positive. RuntimeError otherwise.
    """
    if theory.homogeneous:
        return _homogeneous(theory, cutoffs)
    legs = theory.legs
    found = [
        gaussian_matrix(theory.sigma_w, theory.x, float(cutoff), legs.powers, legs.single)
        if theory.closed(cutoff)
        else _smooth(theory, float(cutoff))
        for cutoff in cutoffs
    ]
    return np.stack([value for value, _ in found]), np.stack([slope for _, slope in found])


def _homogeneous(theory: Theory, cutoffs: Array) -> tuple[Array, Array]:
    """Exact scaling: each of the integrals over |y| and |z| is a power of the cutoff."""
    own = theory.legs.degrees + 1 + theory.x.shape[1]
    powers = own[:, None] + own
    unit = _unit_matrix(theory) / np.multiply.outer(own, own)
    scaling = cutoffs[:, None, None]
    return scaling**powers * unit, powers * scaling ** (powers - 1) * unit


def _unit_matrix(theory: Theory) -> Array:
    """The double integral over the faces of the unit box, or the unit sphere: (sources, sources)."""
    d = theory.x.shape[1]
    breaks = ray_breaks(theory.x)
    rule = unit_surface(theory, breaks)
    if d == 1:
        return tree_matrix(theory.legs, rule(1))
    if d == 3:
        tolerance = KINKED_TREE if theory.kinked else None
        return converge_tree(lambda nodes: (tree_matrix(theory.legs, rule(nodes)),), d, tolerance)[0]
    ends = [breaks[axis][0] for axis in (0, 0, 1, 1)]
    side = np.repeat(np.arange(4), [len(e) - 1 for e in ends])
    axis, sign = side // 2, 1.0 - 2 * (side % 2)

    def at(panel: NDArray[np.int64], u: Array) -> tuple[Array, Array]:
        a, s = np.broadcast_to(axis[panel], u.shape), np.broadcast_to(sign[panel], u.shape)
        y = np.stack([np.where(a == 0, s, u), np.where(a == 0, u, s)], axis=-1)
        return (y, np.ones_like(u)) if theory.flat else on_the_sphere((y, np.ones_like(u)))

    low, high = (np.concatenate([e[part] for e in ends]) for part in (slice(-1), slice(1, None)))
    curve = Curve(low, high, at, mirrored=True)
    return converge_tree(lambda nodes: (curve_matrix(theory.legs, curve, nodes),), d)[0]


def _smooth(theory: Theory, cutoff: float) -> tuple[Array, Array]:
    """Quadrature in u, y_i or |y| = scale sinh u, at one cutoff: the volume and the surface."""
    x, d = theory.x, theory.x.shape[1]
    along = theory.kinked and d == 1
    symmetric = edges(theory, cutoff, np.concatenate([x, -x]) if along else x[:0])
    volume, surface = rules(theory, cutoff, symmetric)

    def tree(nodes: int) -> tuple[Array, Array]:
        if along:
            curve = Curve(symmetric[0][:-1], symmetric[0][1:], _along_the_axis(theory.scale), mirrored=False)
            value = curve_matrix(theory.legs, curve, nodes)
        else:
            value = tree_matrix(theory.legs, volume(nodes))
        return value, tree_slope(theory.legs, surface(nodes), volume(nodes))

    tolerance = KINKED_TREE if theory.kinked and d > 1 else None
    value, slope = converge_tree(tree, d, tolerance)
    return value, slope


def _along_the_axis(scale: float) -> Callable[[NDArray[np.int64], Array], tuple[Array, Array]]:
    return lambda panel, u: (scale * np.sinh(u)[..., None], scale * np.cosh(u))
