"""Vertex integrals of the Gauss-net over the box, where the legs are K_w = sigma_w^2 exp(-a |x - y|^2 / 2).

a = sigma_w^2 / d_in (Halverson, Maiti, Stoner, arXiv:2008.08601, section 2.2). m legs at mean mu with
S = sum (x - mu)^2 per coordinate, b = m a, integrate to

    sigma_w^(2 m) prod_mu exp(-a S / 2) sqrt(pi / 2 b) [erf(s (Lambda - mu)) + erf(s (Lambda + mu))],  s = sqrt(b / 2);

|y|^2k is expanded into truncated moments of the coordinates.
The tree with a propagator K_w(y, z) is a product over coordinates too: for means m and m' of its triples
2 pi / (a sqrt 15) exp(-a (S + S' + 3 (m - m')^2 / 5) / 2) without a cutoff, and a double quadrature with one.
"""

from collections.abc import Sequence
from functools import reduce
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from nnqft.core.packing import multisets
from nnqft.couplings.operators import legs_of, power_of
from nnqft.couplings.quadrature import legendre

Array = NDArray[np.float64]
Moments = tuple[list[Array], list[Array]]  # by the power of y^2: integrals, and their derivatives in Lambda

_REACH = 9.0  # standard deviations kept: the rest is 3e-18
_MOMENT_NODES, _CHUNK = 80, 4096  # nodes over +-13 standard deviations; components at a time


def gaussian_integrals(sigma_w: float, x: Array, cutoffs: Array, names: Sequence[str]) -> dict[str, Array]:
    """What :func:`nnqft.couplings.vertices.vertex_integrals` returns for the box, not trees; finite cutoffs or not."""
    found = {}
    for name in names:
        found[name], found["d" + name] = _vertex(sigma_w, x, cutoffs, legs_of(name), power_of(name))
    return found


def _vertex(sigma_w: float, x: Array, cutoffs: Array, legs: int, power: int) -> tuple[Array, Array]:
    """One vertex of `legs` legs and |y|^(2 power), (n_cutoffs, components), and its derivative in Lambda."""
    a = sigma_w**2 / x.shape[1]
    points = x[multisets(len(x), legs)]  # (components, legs, d)
    centre = points.mean(axis=1)
    strength = sigma_w ** (2 * legs) * np.exp(-a / 2 * np.sum((points - centre[:, None]) ** 2, axis=(1, 2)))
    columns = (_moments(legs * a, mu, cutoffs[:, None], power) for mu in centre.T)
    value, slope = reduce(_of_both, columns)
    return strength * value[power], strength * slope[power]


def _of_both(one: Moments, other: Moments) -> Moments:
    """Moments of |y|^2 over the product of two spaces, by the multinomial theorem, and their derivatives (Leibniz)."""
    (u, du), (v, dv) = one, other
    terms = [[(comb(k, m), k - m, m) for m in range(k + 1)] for k in range(len(u))]
    value = [np.sum([c * u[i] * v[j] for c, i, j in row], axis=0) for row in terms]
    slope = [np.sum([c * (du[i] * v[j] + u[i] * dv[j]) for c, i, j in row], axis=0) for row in terms]
    return value, slope


def _moments(b: float, mu: Array, cutoff: Array, power: int) -> Moments:
    """Integrals of y^(2k) exp(-b (y - mu)^2 / 2) over |y| <= cutoff, k = 0 .. power, and their derivatives.

    k = 0 and 1 in closed form. The recursion to higher ones loses digits in small boxes (integrals of Lambda^(2k + 1)
    from differences of terms of order one): there 80 Gauss-Legendre nodes over all that a Gaussian does not suppress.
    """
    finite = np.where(np.isfinite(cutoff), cutoff, 0.0)
    upper = np.where(np.isfinite(cutoff), np.exp(-b / 2 * (finite - mu) ** 2), 0.0)
    lower = np.where(np.isfinite(cutoff), np.exp(-b / 2 * (finite + mu) ** 2), 0.0)
    root = np.sqrt(b / 2)
    j = np.sqrt(np.pi / (2 * b)) * (erf(root * (cutoff - mu)) + erf(root * (cutoff + mu)))
    j2 = (1 / b + mu**2) * j - ((finite + mu) * upper + (finite - mu) * lower) / b
    values = [j, j2, *_higher(b, mu, cutoff, power)]
    return values[: power + 1], [finite ** (2 * k) * (upper + lower) for k in range(power + 1)]


def _higher(b: float, mu: Array, cutoff: Array, power: int) -> list[Array]:
    """The moments k = 2 .. power, (power - 1, n_cutoffs, components)."""
    if power < 2:
        return []
    reach = (_REACH + np.sqrt(2 * power)) / np.sqrt(b)
    found = np.empty((power - 1, len(cutoff), len(mu)))
    t, w = legendre(_MOMENT_NODES)
    powers = 2 * np.arange(2, power + 1)[:, None, None]
    for c, end in enumerate(cutoff[:, 0]):
        for part in (slice(start, start + _CHUNK) for start in range(0, len(mu), _CHUNK)):
            low, high = np.clip(mu[part] - reach, -end, end), np.clip(mu[part] + reach, -end, end)
            y = (low + high)[:, None] / 2 + (high - low)[:, None] / 2 * t
            weight = np.exp(-b / 2 * (y - mu[part, None]) ** 2) * (high - low)[:, None] / 2 * w
            found[:, c, part] = np.sum(weight * y**powers, axis=-1)
    return list(found)
