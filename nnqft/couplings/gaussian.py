"""Vertex integrals of the Gauss-net over the box, where the legs are K_w = sigma_w^2 exp(-a |x - y|^2 / 2).

a = sigma_w^2 / d_in (Halverson, Maiti, Stoner, arXiv:2008.08601, section 2.2). m legs at mean mu with
S = sum (x - mu)^2 per coordinate, b = m a, integrate to

    sigma_w^(2 m) prod_mu exp(-a S / 2) sqrt(pi / 2 b) [erf(s (Lambda - mu)) + erf(s (Lambda + mu))],  s = sqrt(b / 2).

The tree with a propagator K_w(y, z) is a product over coordinates too: for means m and m' of its triples
2 pi / (a sqrt 15) exp(-a (S + S' + 3 (m - m')^2 / 5) / 2) without a cutoff, and a double quadrature with one.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from nnqft.core.packing import multisets, splits
from nnqft.couplings.quadrature import panels

Array = NDArray[np.float64]

_LEGS = {"I4": 4, "I4_y2": 4, "A": 2, "I6": 6}
_REACH = 9.0  # standard deviations of three legs kept: the rest is 3e-18
_PANEL, _NODES = 2.0, 24  # panels this long in units of a^-1/2: 24 nodes integrate the Gaussians there to rounding
_MOST = 6000  # nodes a coordinate


def gaussian_integrals(sigma_w: float, x: Array, cutoffs: Array, names: Sequence[str]) -> dict[str, Array]:
    """What :func:`nnqft.couplings.vertices.vertex_integrals` returns, for the box; infinite cutoffs allowed."""
    found = {}
    for name in names:
        if name == "tree":
            rows = [_tree(sigma_w, x, float(cutoff)) for cutoff in cutoffs]
            found |= {"tree": np.stack([row[0] for row in rows]), "dtree": np.stack([row[1] for row in rows])}
        else:
            found[name], found["d" + name] = _vertex(sigma_w, x, cutoffs, _LEGS[name], weighted=name == "I4_y2")
    return found


def _vertex(sigma_w: float, x: Array, cutoffs: Array, legs: int, *, weighted: bool) -> tuple[Array, Array]:
    """One vertex of `legs` legs, with |y|^2 if weighted, (n_cutoffs, components), and its derivative in Lambda."""
    a = sigma_w**2 / x.shape[1]
    points = x[multisets(len(x), legs)]  # (components, legs, d)
    centre = points.mean(axis=1)
    strength = sigma_w ** (2 * legs) * np.exp(-a / 2 * np.sum((points - centre[:, None]) ** 2, axis=(1, 2)))
    value, slope = np.ones((len(cutoffs), len(centre))), 0.0
    value_y2, slope_y2 = 0.0, 0.0
    for mu in centre.T:  # the Leibniz rule over coordinates: at most one y_i^2 and one derivative
        j, j2, dj, dj2 = _moments(legs * a, mu, cutoffs[:, None])
        slope_y2 = slope_y2 * j + value_y2 * dj + slope * j2 + value * dj2
        value_y2 = value_y2 * j + value * j2
        slope = slope * j + value * dj
        value = value * j
    return (strength * value_y2, strength * slope_y2) if weighted else (strength * value, strength * slope)


def _moments(b: float, mu: Array, cutoff: Array) -> tuple[Array, Array, Array, Array]:
    """Integrals of exp(-b (y - mu)^2 / 2) and y^2 exp(...) over |y| <= cutoff, and their derivatives in the cutoff."""
    finite = np.where(np.isfinite(cutoff), cutoff, 0.0)
    upper = np.where(np.isfinite(cutoff), np.exp(-b / 2 * (finite - mu) ** 2), 0.0)
    lower = np.where(np.isfinite(cutoff), np.exp(-b / 2 * (finite + mu) ** 2), 0.0)
    root = np.sqrt(b / 2)
    j = np.sqrt(np.pi / (2 * b)) * (erf(root * (cutoff - mu)) + erf(root * (cutoff + mu)))
    j2 = (1 / b + mu**2) * j - ((finite + mu) * upper + (finite - mu) * lower) / b
    return j, j2, upper + lower, finite**2 * (upper + lower)


def _tree(sigma_w: float, x: Array, cutoff: float) -> tuple[Array, Array]:
    """The tree of every split of every component of six legs, (sexts, 10), and its derivative in Lambda."""
    n, d = x.shape
    a = sigma_w**2 / d
    value, slope = np.array(sigma_w**14), np.array(0.0)
    for column in x[multisets(n, 3)].transpose(2, 0, 1):  # the three points of every triple, one coordinate
        j, dj = _tree_factor(a, column, cutoff)
        value, slope = value * j, slope * j + value * dj
    return value[splits(n, 3, 3)], slope[splits(n, 3, 3)]


def _tree_factor(a: float, points: Array, cutoff: float) -> tuple[Array, Array]:
    """Double integral of exp(-a (|y - p|^2 + (y - z)^2 + |z - p'|^2) / 2), p and p' triples (T, 3); its derivative."""
    mean = points.mean(axis=1)
    if not np.isfinite(cutoff):
        spread = np.sum((points - mean[:, None]) ** 2, axis=1)
        exponent = spread[:, None] + spread + 0.6 * (mean[:, None] - mean) ** 2
        return 2 * np.pi / (a * np.sqrt(15)) * np.exp(-a / 2 * exponent), np.zeros_like(exponent)
    reach = _REACH / np.sqrt(3 * a)
    low, high = max(-cutoff, min(mean.min(), cutoff) - reach), min(cutoff, max(mean.max(), -cutoff) + reach)
    count = int(np.ceil((high - low) * np.sqrt(a) / _PANEL))
    if count * _NODES > _MOST:
        raise RuntimeError(
            f"the points are {(high - low) * np.sqrt(a):.0f} correlation lengths apart: too far for trees"
        )
    y, w = panels(np.linspace(low, high, count + 1), _NODES)
    ends = np.array([-cutoff, cutoff])

    def legs(nodes: Array) -> Array:
        return np.exp(-a / 2 * np.sum((points[..., None] - nodes) ** 2, axis=1))

    def propagator(nodes: Array) -> Array:
        return np.exp(-a / 2 * (nodes[:, None] - y) ** 2)

    inside = legs(y) * w
    surface = legs(ends) @ propagator(ends) @ inside.T
    return inside @ propagator(y) @ inside.T, surface + surface.T
