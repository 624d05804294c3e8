"""Trees of the Gauss-net over the box, whose legs and propagator are K_w = sigma_w^2 exp(-a |y - z|^2 / 2).

a = sigma_w^2 / d_in (Halverson, Maiti, Stoner, arXiv:2008.08601, section 2.2). A source of P legs at mean m with
S = sum (x - m)^2 per coordinate is exp(-a (S + P (y - m)^2) / 2), so a tree is a product over coordinates: between
sources of P and Q legs, D = (P + 1)(Q + 1) - 1,

    2 pi / (a sqrt D) exp(-a (S + S' + P Q (m - m')^2 / D) / 2)

without a cutoff, and a double quadrature with one. |y|^2k |z|^2l is expanded into moments y^2i z^2j of the coordinates,
without a cutoff those of the Gaussian with means ((Q + 1) P m + Q m', P m + (P + 1) Q m') / D and covariance
[[Q + 1, 1], [1, P + 1]] / (a D).
"""

from functools import reduce
from itertools import product
from math import comb

import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import multisets
from nnqft.couplings.quadrature import panels

Array = NDArray[np.float64]

_REACH = 9.0  # standard deviations of a source kept: the rest is 3e-18
_PANEL, _NODES = 2.0, 24  # panels this long in units of a^-1/2: 24 nodes integrate the Gaussians there to rounding
_MOST = 6000  # nodes a coordinate


def gaussian_matrix(
    sigma_w: float, x: Array, cutoff: float, powers: tuple[int, ...], single: bool
) -> tuple[Array, Array]:
    """The matrix of trees between the sources of :class:`nnqft.couplings.trees.Legs`, and its derivative in Lambda.

    Both (sources, sources). RuntimeError for points too far apart at a finite cutoff.
    """
    n, d = x.shape
    a, top = sigma_w**2 / d, max(powers, default=0)
    groups = ([multisets(n, 3)] if powers else []) + ([np.arange(n)[:, None]] if single else [])
    legs = np.concatenate([np.full(len(group), group.shape[1]) for group in groups])
    means = np.concatenate([x[group].mean(axis=1) for group in groups])
    spreads = np.concatenate([x[group].var(axis=1) for group in groups]) * legs[:, None]
    between = [_factor(a, top, legs, m, s, cutoff) for m, s in zip(means.T, spreads.T, strict=True)]
    value, slope = reduce(_of_both, between)
    strength = sigma_w ** (2.0 * legs)
    outer = sigma_w**2 * np.multiply.outer(strength, strength)
    triples = len(groups[0]) if powers else 0
    power = np.concatenate([np.repeat(powers, triples), np.zeros(n * single)]).astype(np.int64)
    source = np.concatenate([np.tile(np.arange(triples), len(powers)), triples + np.arange(n * single)]).astype(
        np.int64
    )
    where = power[:, None], power, source[:, None], source
    return outer[where[2:]] * value[where], outer[where[2:]] * slope[where]


def _of_both(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
    """Moments of |y|^2 and |z|^2 over two coordinates, by the multinomial theorem, and their derivatives (Leibniz)."""
    (u, du), (v, dv) = one, other
    value, slope = np.zeros_like(u), np.zeros_like(u)
    for k, q in product(range(len(u)), repeat=2):
        for i, j in product(range(k + 1), range(q + 1)):
            factor, rest = comb(k, i) * comb(q, j), (k - i, q - j)
            value[k, q] += factor * u[rest] * v[i, j]
            slope[k, q] += factor * (du[rest] * v[i, j] + u[rest] * dv[i, j])
    return value, slope


def _factor(a: float, top: int, legs: Array, mean: Array, spread: Array, cutoff: float) -> tuple[Array, Array]:
    """One coordinate: moments y^2k z^2l (top + 1, top + 1, R, R) between sources (R,), and their derivatives."""
    if not np.isfinite(cutoff):
        value = _unbounded(a, top, legs, mean, spread)
        return value, np.zeros_like(value)
    reach = (_REACH + np.sqrt(2 * top)) / np.sqrt(legs * a)
    low = max(-cutoff, np.min(np.minimum(mean, cutoff) - reach))
    high = min(cutoff, np.max(np.maximum(mean, -cutoff) + reach))
    count = int(np.ceil((high - low) * np.sqrt(a) / _PANEL))
    if count * _NODES > _MOST:
        raise RuntimeError(
            f"the points are {(high - low) * np.sqrt(a):.0f} correlation lengths apart: too far for trees"
        )
    y, w = panels(np.linspace(low, high, count + 1), _NODES)
    ends = np.array([-cutoff, cutoff])

    def sources(nodes: Array) -> Array:
        exponent = spread[:, None] + legs[:, None] * (mean[:, None] - nodes) ** 2
        return (nodes ** (2 * np.arange(top + 1))[:, None, None] * np.exp(-a / 2 * exponent)).reshape(-1, len(nodes))

    def propagator(nodes: Array) -> Array:
        return np.exp(-a / 2 * (nodes[:, None] - y) ** 2)

    inside = sources(y) * w
    surface = sources(ends) @ propagator(ends) @ inside.T
    shape = (top + 1, len(legs)) * 2
    value, slope = inside @ propagator(y) @ inside.T, surface + surface.T
    return value.reshape(shape).swapaxes(1, 2), slope.reshape(shape).swapaxes(1, 2)


def _unbounded(a: float, top: int, legs: Array, mean: Array, spread: Array) -> Array:
    """The same without a cutoff: Stein's recursion for the moments of the Gaussian in (y, z)."""
    p, q = legs[:, None].astype(np.float64), legs.astype(np.float64)
    m, other = mean[:, None], mean
    det = (p + 1) * (q + 1) - 1
    first, second = ((q + 1) * p * m + q * other) / det, (p * m + (p + 1) * q * other) / det
    c_yy, c_yz, c_zz = (q + 1) / (a * det), 1 / (a * det), (p + 1) / (a * det)
    exponent = spread[:, None] + spread + p * q / det * (m - other) ** 2
    size = 2 * top + 1
    moments = np.zeros((size, size, *exponent.shape))
    moments[0, 0] = 2 * np.pi / (a * np.sqrt(det)) * np.exp(-a / 2 * exponent)
    for j in range(1, size):
        moments[0, j] = second * moments[0, j - 1] + (j - 1) * c_zz * moments[0, max(j - 2, 0)]
    for i, j in product(range(1, size), range(size)):
        moments[i, j] = first * moments[i - 1, j] + (i - 1) * c_yy * moments[max(i - 2, 0), j]
        moments[i, j] += j * c_yz * moments[i - 1, max(j - 1, 0)]
    return moments[::2, ::2]
