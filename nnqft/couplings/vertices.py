"""Vertex integrals of the effective action over the box |y_i| <= Lambda or the ball |y| <= Lambda; exact derivatives.

For legs K_a(y) = K_w(x_a, y) of :mod:`nnqft.couplings.kernels` (Halverson, Maiti, Stoner, arXiv:2008.08601, section 4)

    I4(abcd) = int d^d y K_a K_b K_c K_d,  I4_y2k(abcd) = int d^d y |y|^2k K_a K_b K_c K_d,  A(ab) = int d^d y K_a K_b,

which at leading order are G4c (:mod:`nnqft.couplings.operators`). Six legs have I6 = int d^d y K_a ... K_f and the tree
of :mod:`nnqft.couplings.trees`. The derivative in Lambda is the integral over the surface. Three methods, one
contraction:

- legs homogeneous in y (relu, linear; sigma_b = 0): an integrand of degree p integrates to
  Lambda^(p + d) / (p + d) times its integral over the faces of the unit box (ball: the unit sphere), whose grid is
  broken where the rays +-x_a hit it, since the relu kernel has a |rho|^3 singularity there;
- gauss in the box: error functions (:mod:`nnqft.couplings.gaussian`);
- everything else: Gauss-Legendre in u, y_i or |y| = c sinh u, split at 0 (and at the points for relu with a bias).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.core.packing import Components, multisets, rank, splits
from nnqft.core.selection import parts, placements
from nnqft.couplings.contraction import KINKED_TREE, TOLERANCE, converge, converge_tree
from nnqft.couplings.gaussian import gaussian_integrals
from nnqft.couplings.kernels import leg_kernel, propagator
from nnqft.couplings.operators import (
    ALL,
    COUPLING_PATTERN,
    COUPLINGS,
    QUARTIC,
    design,
    design_slope,
    is_coupling,
    is_integral,
    legs_of,
    power_of,
    quartic_names,
)
from nnqft.couplings.quadrature import (
    Rule,
    ball_surface,
    ball_volume,
    box_surface,
    box_volume,
    on_the_sphere,
    panel_edges,
    ray_breaks,
    unit_faces,
)
from nnqft.couplings.trees import Curve, Legs, curve_matrix, tree_matrix, tree_slope

Array = NDArray[np.float64]
Integrals = dict[str, Array]
Region = Literal["box", "ball"]

VERSION = 1
"""Raised with every change that alters the numbers: part of the key of what is cached on disk."""

__all__ = [
    "ALL",
    "COUPLINGS",
    "COUPLING_PATTERN",
    "QUARTIC",
    "design",
    "design_slope",
    "is_coupling",
    "quartic_names",
    "selected_integrals",
    "vertex_integrals",
]

_TOGETHER, _TOGETHER_KINKED = 16, 4  # points of selected components that are integrated together; kinks cost nodes


@dataclass(frozen=True)
class _Theory:
    """The points (n, d_in), the legs on them, and the region of the vertices."""

    x: Array
    legs: Legs
    region: Region
    kinked: bool
    scale: float  # distance of the nearest singularity of a leg from the real axis

    @property
    def flat(self) -> bool:
        """Whether the region is a box, which in one dimension the ball is too."""
        return self.region == "box" or self.x.shape[1] == 1


def vertex_integrals(
    activation: str,
    sigma_w: float,
    sigma_b: float,
    x: ArrayLike,
    cutoffs: ArrayLike,
    *,
    depth: int = 1,
    names: Sequence[str] = QUARTIC,
    region: Region = "box",
    strength: float = 1.0,
) -> Integrals:
    """Packed integrals of the `names`, float64, each followed by its d / d Lambda under the name with a "d" before it.

    `I4`, `I4_y2`, ..., `I4_y18` (n_cutoffs, quads), `A` (n_cutoffs, pairs), `I6` (n_cutoffs, sexts) and `tree`
    (n_cutoffs, sexts, 10), one entry for every split of six legs in the order of :func:`nnqft.core.packing.splits`
    (n, 3, 3): the tree of the six-point function is their sum. x has shape (n, d_in), d_in = 1, 2 or 3; cutoffs
    (n_cutoffs,) are positive, finite unless the activation is gauss. Legs and propagator are multiplied by `strength`:
    with the activation gauss, strength = amplitude^2 / (2 sigma_w^2) makes them the kernel of the cosine network,
    amplitude^2 / 2 exp(-sigma_w^2 |x - y|^2 / (2 d_in)).

    Two successive rules agree to 1e-11, 1e-10, 1e-8 for d_in = 1, 2, 3 of the Cauchy-Schwarz bound of each component,
    such as sqrt(I4(aabb) I4(ccdd)); trees to 1e-11, 1e-9, 1e-7, and to 1e-6 where the relu kernel is singular at a
    point (trees.py). RuntimeError if none do. Raises ValueError for bad points, cutoffs or strength, for a tree of an
    activation whose kernel has no closed form, and wherever :func:`leg_kernel` does.
    """
    x = np.asarray(x, dtype=np.float64)
    cutoffs = np.asarray(cutoffs, dtype=np.float64)
    _check(x, cutoffs, names, region, strength)
    found = _integrals(activation, sigma_w, sigma_b, x, cutoffs, depth, names, region)
    for name in names:
        factor = strength ** (7 if name == "tree" else legs_of(name))
        found |= {key: factor * found[key] for key in (name, "d" + name)}
    return found


def _integrals(
    activation: str,
    sigma_w: float,
    sigma_b: float,
    x: Array,
    cutoffs: Array,
    depth: int,
    names: Sequence[str],
    region: Region,
) -> Integrals:
    """:func:`vertex_integrals` of strength 1."""
    leg_kernel(activation, sigma_w, sigma_b, x, x[:1], depth=depth)  # refuses what has no legs
    if "tree" in names:
        propagator(activation, sigma_w, sigma_b, x, x)  # and this what has no trees
    finite = np.isfinite(cutoffs)
    if activation != "gauss" and not finite.all():
        raise ValueError(f"an infinite cutoff is possible for gauss only: the legs of {activation} do not decay")
    legs = Legs(
        lambda y: leg_kernel(activation, sigma_w, sigma_b, x, y),
        lambda y, z: propagator(activation, sigma_w, sigma_b, y, z),
        len(x),
    )
    relu = activation == "relu"
    scale = np.sqrt(x.shape[1] * (sigma_b**2 if relu and sigma_b else 0.5 + sigma_b**2)) / sigma_w
    theory = _Theory(x, legs, region, relu, float(scale))
    if sigma_b == 0 and activation in ("relu", "linear"):
        return _homogeneous(theory, cutoffs, names)
    if activation == "gauss" and (theory.flat or not finite.any()):
        return gaussian_integrals(sigma_w, x, cutoffs, names)
    rows = [
        _smooth(theory, float(c), names)
        if np.isfinite(c)
        else {name: v[0] for name, v in gaussian_integrals(sigma_w, x, np.array([c]), names).items()}
        for c in cutoffs
    ]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def selected_integrals(
    activation: str,
    sigma_w: float,
    sigma_b: float,
    x: Array,
    cutoffs: ArrayLike,
    basis: Components,
    *,
    depth: int = 1,
    names: Sequence[str] = QUARTIC,
    region: Region = "box",
    strength: float = 1.0,
) -> Integrals:
    """:func:`vertex_integrals` of the selected components, some points at a time; `A`, `dA` are NaN where unused."""
    found: Integrals = {}
    together = _TOGETHER_KINKED if activation == "relu" else _TOGETHER
    orders = sorted({legs_of(name) for name in names} - {2}) or [4]
    for subset, place in placements(basis, orders, parts(basis, orders, together)):
        own = vertex_integrals(
            activation,
            sigma_w,
            sigma_b,
            x[list(subset)],
            cutoffs,
            depth=depth,
            names=names,
            region=region,
            strength=strength,
        )
        pairs = rank(np.array(subset)[multisets(len(subset), 2)], basis), slice(None)
        for name, values in own.items():
            legs = legs_of(name.removeprefix("d"))
            there, here = pairs if legs == 2 else place[legs]
            shape = len(values), len(multisets(basis, legs)), *values.shape[2:]
            found.setdefault(name, np.full(shape, np.nan))[:, there] = values[:, here]
    return found


def _check(x: Array, cutoffs: Array, names: Sequence[str], region: str, strength: float) -> None:
    if x.ndim != 2 or x.shape[1] not in TOLERANCE or not np.isfinite(x).all():
        raise ValueError(f"vertex integrals need finite points of shape (n, d_in) with d_in = 1, 2 or 3, not {x.shape}")
    if cutoffs.ndim != 1 or not np.all(cutoffs > 0):
        raise ValueError(f"cutoffs must be a list of positive numbers, not {cutoffs}")
    if not 0 < strength < np.inf:
        raise ValueError(f"the strength of the legs is positive and finite, not {strength}")
    if not names or not all(map(is_integral, names)) or region not in ("box", "ball"):
        known = "I4, I4_y2, I4_y4, ..., I4_y18, A, I6, tree"
        raise ValueError(f"integrals are {known} over a box or a ball, not {list(names)} over {region!r}")


def _homogeneous(theory: _Theory, cutoffs: Array, names: Sequence[str]) -> Integrals:
    """Legs of degree 1 in y: faces of the unit box, then powers of the cutoff (exact scaling)."""
    d = theory.x.shape[1]
    breaks = ray_breaks(theory.x)

    def rule(nodes: int) -> Rule:
        faces = unit_faces(breaks, nodes)
        return faces if theory.flat else on_the_sphere(faces)

    found = {}
    vertex = [name for name in names if name != "tree"]
    surface = converge(theory.legs, d, vertex, rule)
    degree = {name: legs_of(name) + 2 * power_of(name) + d for name in vertex}
    powers = {name: (p, 1 / p) for name, p in degree.items()}
    if "tree" in names:
        surface["tree"] = _unit_tree(theory, breaks, rule)[splits(theory.legs.n, 3, 3)]
        powers["tree"] = 2 * (4 + d), 1 / (4 + d) ** 2
    for name in names:
        (power, factor), value = powers[name], surface[name]
        scaling = cutoffs.reshape(-1, *[1] * value.ndim)
        found[name] = scaling**power * factor * value
        found["d" + name] = power * scaling ** (power - 1) * factor * value
    return found


def _unit_tree(theory: _Theory, breaks: list[list[Array]], rule: Callable[[int], Rule]) -> Array:
    """The double integral over the faces of the unit box, or the unit sphere: (triples, triples)."""
    d = theory.x.shape[1]
    if d == 1:
        return tree_matrix(theory.legs, rule(1))
    if d == 3:
        tolerance = KINKED_TREE if theory.kinked else None
        return converge_tree(lambda nodes: (tree_matrix(theory.legs, rule(nodes)),), d, tolerance)[0]
    edges = [breaks[axis][0] for axis in (0, 0, 1, 1)]
    side = np.repeat(np.arange(4), [len(e) - 1 for e in edges])
    axis, sign = side // 2, 1.0 - 2 * (side % 2)

    def at(panel: NDArray[np.int64], u: Array) -> tuple[Array, Array]:
        a, s = np.broadcast_to(axis[panel], u.shape), np.broadcast_to(sign[panel], u.shape)
        y = np.stack([np.where(a == 0, s, u), np.where(a == 0, u, s)], axis=-1)
        return (y, np.ones_like(u)) if theory.flat else on_the_sphere((y, np.ones_like(u)))

    low, high = (np.concatenate([e[part] for e in edges]) for part in (slice(-1), slice(1, None)))
    curve = Curve(low, high, at, mirrored=True)
    return converge_tree(lambda nodes: (curve_matrix(theory.legs, curve, nodes),), d)[0]


def _smooth(theory: _Theory, cutoff: float, names: Sequence[str]) -> Integrals:
    """Quadrature in u, y_i or |y| = scale sinh u, at one cutoff: the volume and the surface."""
    x, scale = theory.x, theory.scale
    d = x.shape[1]

    def edges(breaks: Array) -> list[Array]:
        return [np.arcsinh(panel_edges(np.append(column, 0.0), cutoff) / scale) for column in breaks.T]

    def rules(edges: list[Array]) -> tuple[Callable[[int], Rule], Callable[[int], Rule]]:
        if theory.flat:
            return lambda nodes: box_volume(edges, scale, nodes), lambda nodes: box_surface(edges, scale, cutoff, nodes)
        return lambda nodes: ball_volume(scale, cutoff, d, nodes), lambda nodes: ball_surface(cutoff, d, nodes)

    volume, surface = rules(edges(x if theory.kinked else x[:0]))
    vertex = [name for name in names if name != "tree"]
    found = converge(theory.legs, d, vertex, volume)
    found |= {"d" + name: value for name, value in converge(theory.legs, d, vertex, surface).items()}
    if "tree" not in names:
        return found
    symmetric = edges(np.concatenate([x, -x]) if theory.kinked and d == 1 else x[:0])
    volume, surface = rules(symmetric)

    def tree(nodes: int) -> tuple[Array, Array]:
        if theory.kinked and d == 1:
            curve = Curve(symmetric[0][:-1], symmetric[0][1:], _along_the_axis(scale), mirrored=False)
            value = curve_matrix(theory.legs, curve, nodes)
        else:
            value = tree_matrix(theory.legs, volume(nodes))
        return value, tree_slope(theory.legs, surface(nodes), volume(nodes))

    tolerance = KINKED_TREE if theory.kinked and d > 1 else None
    where = splits(theory.legs.n, 3, 3)
    value, slope = converge_tree(tree, d, tolerance)
    return found | {"tree": value[where], "dtree": slope[where]}


def _along_the_axis(scale: float) -> Callable[[NDArray[np.int64], Array], tuple[Array, Array]]:
    return lambda panel, u: (scale * np.sinh(u)[..., None], scale * np.cosh(u))
