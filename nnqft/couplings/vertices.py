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

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.core.packing import Components, multisets, rank, splits
from nnqft.core.selection import parts, placements
from nnqft.couplings.contraction import converge
from nnqft.couplings.exchange import exchange
from nnqft.couplings.gaussian import gaussian_integrals
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
from nnqft.couplings.quadrature import ray_breaks
from nnqft.couplings.theory import Region, Theory, edges, rules, theory, unit_surface

Array = NDArray[np.float64]
Integrals = dict[str, Array]

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
    if not names or not all(map(is_integral, names)):
        raise ValueError(f"integrals are I4, I4_y2, I4_y4, ..., I4_y18, A, I6 and tree, not {list(names)}")
    trees = "tree" in names
    law = theory(activation, sigma_w, sigma_b, x, cutoffs, depth=depth, region=region, strength=strength, trees=trees)
    found = _vertices(law, cutoffs, [name for name in names if name != "tree"])
    if trees:
        left, right = splits(len(x), 3, 3)
        value, slope = exchange(law, cutoffs)
        found |= {"tree": value[:, left, right], "dtree": slope[:, left, right]}
    for name in names:
        factor = strength ** (7 if name == "tree" else legs_of(name))
        found |= {key: factor * found[key] for key in (name, "d" + name)}
    return found


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


def _vertices(law: Theory, cutoffs: Array, names: Sequence[str]) -> Integrals:
    """Integrals over one vertex, legs of strength 1."""
    if not names:
        return {}
    if law.homogeneous:
        return _homogeneous(law, cutoffs, names)
    if all(law.closed(cutoff) for cutoff in cutoffs):
        return gaussian_integrals(law.sigma_w, law.x, cutoffs, names)
    rows = [
        {name: v[0] for name, v in gaussian_integrals(law.sigma_w, law.x, np.array([c]), names).items()}
        if law.closed(c)
        else _smooth(law, float(c), names)
        for c in cutoffs
    ]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _homogeneous(law: Theory, cutoffs: Array, names: Sequence[str]) -> Integrals:
    """Legs of degree 1 in y: faces of the unit box, then powers of the cutoff (exact scaling)."""
    d = law.x.shape[1]
    surface = converge(law.legs, d, names, unit_surface(law, ray_breaks(law.x)))
    found, scaling = {}, cutoffs[:, None]
    for name in names:
        power, value = legs_of(name) + 2 * power_of(name) + d, surface[name]
        found[name] = scaling**power * (1 / power) * value
        found["d" + name] = power * scaling ** (power - 1) * (1 / power) * value
    return found


def _smooth(law: Theory, cutoff: float, names: Sequence[str]) -> Integrals:
    """Quadrature in u, y_i or |y| = scale sinh u, at one cutoff: the volume and the surface."""
    d = law.x.shape[1]
    volume, surface = rules(law, cutoff, edges(law, cutoff, law.x if law.kinked else law.x[:0]))
    found = converge(law.legs, d, names, volume)
    return found | {"d" + name: value for name, value in converge(law.legs, d, names, surface).items()}
