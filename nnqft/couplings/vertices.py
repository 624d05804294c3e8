"""Vertex integrals of the effective action over the box |y_i| <= Lambda, and their exact derivatives.

For legs K_a(y) = K_w(x_a, y) of :mod:`nnqft.couplings.kernels` (Halverson, Maiti, Stoner, arXiv:2008.08601, section 4)

    I4(abcd) = int d^d y K_a K_b K_c K_d,   I4_y2(abcd) = int d^d y |y|^2 K_a K_b K_c K_d,   A(ab) = int d^d y K_a K_b,

so that at leading order G4c = -24 lambda_0 I4 - 24 lambda_2 I4_y2 - 8 lambda_nl sum_{3 pairings} A A. The derivative in
Lambda is the integral over the surface of the box. Three methods, one contraction:

- legs homogeneous in y (relu, linear; sigma_b = 0): an integrand of degree p integrates to
  Lambda^(p + d) / (p + d) times its integral over the faces of the unit box, whose grid is broken where the rays
  +-x_a hit it, since the relu kernel has a |rho|^3 singularity there;
- gauss: error functions;
- everything else: tensor Gauss-Legendre in u, y_i = c sinh u_i, split at 0 (and at the points for relu with a bias).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from math import isqrt

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike, NDArray
from scipy.special import erf

from nnqft.core.packing import Basis, Components, multisets, pairing_legs, rank
from nnqft.core.selection import parts, placements
from nnqft.couplings.kernels import leg_kernel

Array = NDArray[np.float64]
Rule = tuple[Array, Array]
Integrals = dict[str, Array]
Leg = Callable[[Array], Array]

COUPLINGS = ("lambda_0", "lambda_2", "lambda_nl")
_NAMES = ("I4", "I4_y2", "A")
_DEGREE = {"I4": 4, "I4_y2": 6, "A": 2}  # degree in y of an integrand whose legs have degree 1
_NODES = (12, 16, 24, 36, 54, 81, 122)  # Gauss-Legendre nodes a panel, until two agree
_TOLERANCE = {1: 1e-11, 2: 1e-10, 3: 1e-8}
_CHUNK = 1 << 14
_TOGETHER, _TOGETHER_KINKED = 16, 4  # points of selected components that are integrated together; kinks cost nodes


def vertex_integrals(
    activation: str, sigma_w: float, sigma_b: float, x: ArrayLike, cutoffs: ArrayLike, *, depth: int = 1
) -> Integrals:
    """Packed `I4`, `I4_y2` (n_cutoffs, quads), `A` (n_cutoffs, pairs); `dI4`, `dI4_y2`, `dA` their d / d Lambda.

    x has shape (n, d_in), d_in = 1, 2 or 3; cutoffs (n_cutoffs,) are positive, finite unless the activation is gauss.
    Two successive rules agree to 1e-11, 1e-10, 1e-8 of sqrt(I4(aabb) I4(ccdd)) for d_in = 1, 2, 3 (RuntimeError if
    none do). Raises ValueError for bad points or cutoffs and wherever :func:`leg_kernel` does.
    """
    x = np.asarray(x, dtype=np.float64)
    cutoffs = np.asarray(cutoffs, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] not in _TOLERANCE or not np.isfinite(x).all():
        raise ValueError(f"vertex integrals need finite points of shape (n, d_in) with d_in = 1, 2 or 3, not {x.shape}")
    if cutoffs.ndim != 1 or not np.all(cutoffs > 0):
        raise ValueError(f"cutoffs must be a list of positive numbers, not {cutoffs}")
    leg_kernel(activation, sigma_w, sigma_b, x, x[:1], depth=depth)  # refuses what has no legs
    if activation == "gauss":
        return _gaussian(sigma_w, x, cutoffs)
    if not np.isfinite(cutoffs).all():
        raise ValueError(f"an infinite cutoff is possible for gauss only: the legs of {activation} do not decay")

    def leg(y: Array) -> Array:
        return leg_kernel(activation, sigma_w, sigma_b, x, y)

    if sigma_b == 0 and activation in ("relu", "linear"):
        return _homogeneous(leg, x, cutoffs)
    kinks = x if activation == "relu" else x[:0]
    scale = np.sqrt(x.shape[1] * (sigma_b**2 if activation == "relu" else 0.5 + sigma_b**2)) / sigma_w
    rows = [_smooth(leg, len(x), kinks, scale, float(cutoff)) for cutoff in cutoffs]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def selected_integrals(
    activation: str, sigma_w: float, sigma_b: float, x: Array, cutoffs: ArrayLike, basis: Components, *, depth: int = 1
) -> Integrals:
    """:func:`vertex_integrals` of the selected components, some points at a time; `A`, `dA` are NaN where unused."""
    found: Integrals = {}
    together = _TOGETHER_KINKED if activation == "relu" else _TOGETHER
    for subset, place in placements(basis, (4,), parts(basis, (4,), together)):
        own = vertex_integrals(activation, sigma_w, sigma_b, x[list(subset)], cutoffs, depth=depth)
        positions = {"A": (rank(np.array(subset)[multisets(len(subset), 2)], basis), slice(None))}
        for name, values in own.items():
            there, here = positions.get(name.removeprefix("d"), place[4])
            size = len(multisets(basis, 2 if name in ("A", "dA") else 4))
            found.setdefault(name, np.full((len(values), size), np.nan))[:, there] = values[:, here]
    return found


def design(integrals: Integrals, model: Sequence[str], basis: Basis | None = None) -> Array:
    """Columns dG4c / d(coupling) of the leading-order fit: shape (n_cutoffs, quads, couplings), in the model's order.

    The model is a sequence of names out of `COUPLINGS` (ValueError otherwise). basis: the components, if selected.
    """
    a, pairs = integrals["A"], _pairs_of_quads(integrals, basis)
    columns = {
        "lambda_0": -24 * integrals["I4"],
        "lambda_2": -24 * integrals["I4_y2"],
        "lambda_nl": -8 * np.prod(a[:, pairs], axis=-1).sum(axis=-1),
    }
    return _stack(columns, model)


def design_slope(integrals: Integrals, model: Sequence[str], basis: Basis | None = None) -> Array:
    """Derivative of :func:`design` with respect to the cutoff Lambda, same shape, from the surface terms."""
    pairs = _pairs_of_quads(integrals, basis)
    a, da = integrals["A"][:, pairs], integrals["dA"][:, pairs]
    columns = {
        "lambda_0": -24 * integrals["dI4"],
        "lambda_2": -24 * integrals["dI4_y2"],
        "lambda_nl": -8 * np.sum(da[..., 0] * a[..., 1] + a[..., 0] * da[..., 1], axis=-1),
    }
    return _stack(columns, model)


def _stack(columns: Integrals, model: Sequence[str]) -> Array:
    unknown = [name for name in model if name not in columns]
    if unknown or not model:
        raise ValueError(f"a model is a list of couplings out of {', '.join(COUPLINGS)}, not {list(model)}")
    return np.stack([columns[name] for name in model], axis=-1)


def _pairs_of_quads(integrals: Integrals, basis: Basis | None) -> NDArray[np.int64]:
    """Packed pairs (quads, 3 pairings, 2) of the four legs of every component."""
    n = (isqrt(8 * integrals["A"].shape[-1] + 1) - 1) // 2
    return pairing_legs(basis or n, 4)


def _homogeneous(leg: Leg, x: Array, cutoffs: Array) -> Integrals:
    """Legs of degree 1 in y: faces of the unit box, then powers of the cutoff (physics of scaling, exact)."""
    n, d = x.shape
    rays = x[np.any(x != 0, axis=1)]
    hits = rays / np.abs(rays).max(axis=1, keepdims=True)
    breaks = []
    for axis in range(d):
        there = np.delete(hits[np.abs(hits[:, axis]) == 1], axis, axis=1)
        breaks.append([_edges(np.concatenate([column, -column]), 1.0) for column in there.T])

    def integrate(nodes: int) -> Integrals:
        faces = (_faces([_panels(edges, nodes) for edges in breaks[axis]], axis, 1.0) for axis in range(d))
        return _contract(leg, faces, n)

    surface = _converge(integrate, n, d)
    found = {}
    for name in _NAMES:
        degree = _DEGREE[name] + d
        found[name] = cutoffs[:, None] ** degree / degree * surface[name]
        found["d" + name] = cutoffs[:, None] ** (degree - 1) * surface[name]
    return found


def _smooth(leg: Leg, n: int, kinks: Array, scale: float, cutoff: float) -> Integrals:
    """Tensor Gauss-Legendre in u, y_i = scale sinh u_i, at one cutoff: the volume and, by faces, the surface."""
    d = kinks.shape[1]
    edges = [np.arcsinh(_edges(np.append(column, 0.0), cutoff) / scale) for column in kinks.T]

    def axes(nodes: int) -> list[Rule]:
        grids = (_panels(e, nodes) for e in edges)
        return [(scale * np.sinh(u), scale * np.cosh(u) * w) for u, w in grids]

    def volume(nodes: int) -> Integrals:
        return _contract(leg, [_tensor_rule(axes(nodes))], n)

    def surface(nodes: int) -> Integrals:
        grids = axes(nodes)
        faces = (_faces(grids[:axis] + grids[axis + 1 :], axis, cutoff) for axis in range(d))
        return _contract(leg, faces, n)

    outside = _converge(surface, n, d)
    return _converge(volume, n, d) | {"d" + name: outside[name] for name in _NAMES}


def _gaussian(sigma_w: float, x: Array, cutoffs: Array) -> Integrals:
    """Closed form for K_w = sigma_w^2 exp(-a |x - y|^2 / 2), a = sigma_w^2 / d_in; infinite cutoffs allowed."""
    n, d = x.shape
    a = sigma_w**2 / d
    found = {}
    for name, legs in (("I4", 4), ("A", 2)):
        points = x[multisets(n, legs)]  # (components, legs, d)
        centre = points.mean(axis=1)
        strength = sigma_w ** (2 * legs) * np.exp(-a / 2 * np.sum((points - centre[:, None]) ** 2, axis=(1, 2)))
        value, slope = np.ones((len(cutoffs), len(centre))), 0.0
        value_y2, slope_y2 = 0.0, 0.0
        for mu in centre.T:  # the Leibniz rule over coordinates: at most one y_i^2 and one derivative
            j, j2, dj, dj2 = _gaussian_moments(legs * a, mu, cutoffs[:, None])
            slope_y2 = slope_y2 * j + value_y2 * dj + slope * j2 + value * dj2
            value_y2 = value_y2 * j + value * j2
            slope = slope * j + value * dj
            value = value * j
        found |= {name: strength * value, "d" + name: strength * slope}
        if name == "I4":
            found |= {"I4_y2": strength * value_y2, "dI4_y2": strength * slope_y2}
    return found


def _gaussian_moments(b: float, mu: Array, cutoff: Array) -> tuple[Array, Array, Array, Array]:
    """Integrals of exp(-b (y - mu)^2 / 2) and y^2 exp(...) over |y| <= cutoff, and their derivatives in the cutoff."""
    finite = np.where(np.isfinite(cutoff), cutoff, 0.0)
    upper = np.where(np.isfinite(cutoff), np.exp(-b / 2 * (finite - mu) ** 2), 0.0)
    lower = np.where(np.isfinite(cutoff), np.exp(-b / 2 * (finite + mu) ** 2), 0.0)
    root = np.sqrt(b / 2)
    j = np.sqrt(np.pi / (2 * b)) * (erf(root * (cutoff - mu)) + erf(root * (cutoff + mu)))
    j2 = (1 / b + mu**2) * j - ((finite + mu) * upper + (finite - mu) * lower) / b
    return j, j2, upper + lower, finite**2 * (upper + lower)


def _contract(leg: Leg, rules: Iterable[Rule], n: int) -> Integrals:
    """Sum over the nodes of all rules: packed I4, I4_y2 (quads,) and A (pairs,) for legs leg(y) of shape (n, nodes)."""
    first, second = multisets(n, 2).T
    pairs = len(first)
    total, total_y2, a = np.zeros((pairs, pairs)), np.zeros((pairs, pairs)), np.zeros(pairs)
    for nodes, weights in rules:
        for start in range(0, len(weights), _CHUNK):
            y, w = nodes[start : start + _CHUNK], weights[start : start + _CHUNK]
            k = leg(y)
            product = k[first] * k[second]
            weighted = product * w
            total += weighted @ product.T
            total_y2 += (weighted * np.sum(y * y, axis=1)) @ product.T
            a += weighted.sum(axis=1)
    quads = tuple(pairing_legs(n, 4)[:, 0].T)
    return {"I4": total[quads], "I4_y2": total_y2[quads], "A": a}


def _converge(integrate: Callable[[int], Integrals], n: int, d: int) -> Integrals:
    """Refine until two rules agree, relative to the Cauchy-Schwarz bound of each component (which may be zero)."""
    coarse = integrate(_NODES[0])
    for nodes in _NODES[1:]:
        fine = integrate(nodes)
        bounds = _bounds(fine, n)
        if all(np.all(np.abs(fine[name] - coarse[name]) <= _TOLERANCE[d] * bounds[name]) for name in _NAMES):
            return fine
        coarse = fine
    raise RuntimeError(f"a vertex integral has not converged with {_NODES[-1]} Gauss-Legendre nodes a panel")


def _bounds(integrals: Integrals, n: int) -> Integrals:
    """sqrt(I4(aabb) I4(ccdd)) >= |I4(abcd)| and sqrt(A(aa) A(bb)) >= |A(ab)|."""
    pairs = multisets(n, 2)
    doubled = rank(np.repeat(pairs, 2, axis=1), n)
    quads = pairing_legs(n, 4)[:, 0]
    bound = {name: np.sqrt(np.prod(integrals[name][doubled][quads], axis=-1)) for name in ("I4", "I4_y2")}
    diagonal = rank(np.repeat(np.arange(n)[:, None], 2, axis=1), n)
    return bound | {"A": np.sqrt(np.prod(integrals["A"][diagonal][pairs], axis=-1))}


def _edges(breaks: Array, end: float) -> Array:
    """Sorted panel edges from -end to end, with those of the breaks that lie between, once each."""
    edges = np.sort(np.concatenate([[-end, end], breaks[np.abs(breaks) < end]]))
    return edges[np.append(True, np.diff(edges) > 1e-12 * end)]


def _panels(edges: Array, nodes: int) -> Rule:
    """Composite Gauss-Legendre rule: `nodes` a panel."""
    t, w = _legendre(nodes)
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    return (middle + half * t).ravel(), (half * w).ravel()


@lru_cache(maxsize=16)
def _legendre(nodes: int) -> Rule:
    t, w = leggauss(nodes)
    t.setflags(write=False)
    w.setflags(write=False)
    return t, w


def _faces(rules: list[Rule], axis: int, end: float) -> Rule:
    """The pair of faces y_axis = +-end of a box, with one-dimensional rules along the other axes."""
    return _tensor_rule([*rules[:axis], (np.array([-end, end]), np.ones(2)), *rules[axis:]])


def _tensor_rule(axes: Sequence[Rule]) -> Rule:
    """Nodes (m, d) and weights (m,) of the tensor product of one-dimensional rules."""
    nodes = np.stack(np.meshgrid(*(y for y, _ in axes), indexing="ij"), axis=-1).reshape(-1, len(axes))
    weights = axes[0][1]
    for _, w in axes[1:]:
        weights = np.multiply.outer(weights, w).ravel()
    return nodes, weights
