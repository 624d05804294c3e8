"""The correlation map: from the correlation of two preactivations of equal variance q to that of the next layer.

Mehler's formula: with phi(sqrt(q) z) = sum_k a_k He_k(z) / sqrt(k!),

    <phi(u_1) phi(u_2)> = sum_k a_k^2 c^k,    <phi'(u_1) phi'(u_2)> = (1 / q) sum_k k a_k^2 c^(k - 1),

so that for c in [0, 1] the map g(c) = [C_b + C_W sum_k a_k^2 c^k] / q* is increasing and convex with g(1) = 1: c = 1 is
its only fixed point there if chi_perp = g'(1) <= 1, and otherwise there is exactly one other, which is stable and which
Newton's method from c = 0 reaches without overshooting (Poole et al. 1606.05340 find it by iteration).
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nnqft.core.gaussian import pair_averages, trapezoid_rule
from nnqft.criticality.averages import piecewise_linear, resolution, slopes
from nnqft.nets.activations import Activation
from nnqft.nets.kernels import evaluate

Array = NDArray[np.float64]
PairMap = Callable[[Array], tuple[Array, Array]]
"""c (points,) -> <phi phi> and its derivative in c."""

TERMS = 384
"""Of the series."""
TAIL = 1e-13
"""Part of g(c*) beyond the series, relative, from which on quadrature in two dimensions takes over."""
NEWTON = 100
ENTRIES = 1 << 22


def pair_map(activation: Activation, q: Array, c: Array) -> tuple[Array, Array]:
    """<phi(u_1) phi(u_2)> and its derivative q <phi'(u_1) phi'(u_2)> in c, for q (points,), c (points,) in [-1, 1].

    Piecewise linear activations in closed form, Cho and Saul 2009; others by the lattice in two dimensions, to 1e-12.
    """
    if piecewise_linear(activation):
        a, b = slopes(activation)
        angle = np.arccos(np.clip(c, -1, 1))
        same = (np.sin(angle) + (np.pi - angle) * np.cos(angle)) / (2 * np.pi)
        opposite = (np.sin(angle) - angle * np.cos(angle)) / (2 * np.pi)
        value = q * ((a**2 + b**2) * same - 2 * a * b * opposite)
        slope = (a**2 + b**2) * (np.pi - angle) / (2 * np.pi) + 2 * a * b * angle / (2 * np.pi)
        return value, q * slope
    units = [lambda z: evaluate(activation, z), lambda z: evaluate(activation, z, 1)]
    found = [np.empty_like(q), np.empty_like(q)]
    for start in range(0, len(q), 64):
        part = slice(start, start + 64)
        kernels = np.stack([q[part], c[part] * q[part], q[part]], axis=1)
        averages = pair_averages(units, kernels, ((0, 0), (1, 1)), odd=activation.odd)
        found[0][part], found[1][part] = averages[0, 0], q[part] * averages[1, 1]
    return found[0], found[1]


def mehler_coefficients(activation: Activation, q: Array, terms: int = TERMS) -> Array:
    """a_k^2 for k < terms, shape (points, terms), of smooth activations at variances q (points,)."""
    found = np.empty((len(q), terms))
    level = np.ceil(np.log2(2 * np.sqrt(0.25 + q))).astype(int) + resolution(activation)
    for bucket in np.unique(level):
        z, basis = _basis(int(bucket), terms)
        where = np.flatnonzero(level == bucket)
        rows = max(1, ENTRIES // len(z))
        for start in range(0, len(where), rows):
            chosen = where[start : start + rows]
            found[chosen] = (evaluate(activation, np.sqrt(q[chosen])[:, None] * z) @ basis) ** 2
    return found


def stable_correlation(activation: Activation, q: Array, square: Array, C_W: Array, C_b: Array) -> tuple[Array, Array]:
    """c* in [0, 1) and chi_c for points (points,) with chi_perp > 1; square: <phi^2> at q."""
    if piecewise_linear(activation):
        return _newton(lambda c: pair_map(activation, q, c), np.zeros_like(q), q, C_W, C_b)
    coefficients = mehler_coefficients(activation, q)
    powers = np.arange(coefficients.shape[1])

    def series(c: Array) -> tuple[Array, Array]:
        terms = coefficients * c[:, None] ** powers
        slope = coefficients[:, 1:] * powers[1:] * c[:, None] ** powers[:-1]
        return terms.sum(axis=1), slope.sum(axis=1)

    c, chi = _newton(series, np.zeros_like(q), q, C_W, C_b)
    left_out = np.maximum(square - coefficients.sum(axis=1), 0) * C_W / q * c ** len(powers) * len(powers)
    rest = np.flatnonzero(left_out > TAIL)
    if rest.size:
        chosen = (c[rest], q[rest], C_W[rest], C_b[rest])
        c[rest], chi[rest] = _newton(lambda x: pair_map(activation, q[rest], x), *chosen)
    return c, chi


def _newton(pairs: PairMap, start: Array, q: Array, C_W: Array, C_b: Array) -> tuple[Array, Array]:
    """The fixed point of g right of the start, where g(c) > c, and g' there."""
    c, slope = start, start
    for _ in range(NEWTON):
        value, derivative = pairs(c)
        slope = C_W * derivative / q
        gap = (C_b + C_W * value) / q - c
        step = np.where(slope < 1, np.maximum(gap, 0) / np.where(slope < 1, 1 - slope, 1.0), 0.0)
        c = np.minimum(c + step, 1.0)
        if np.all(step <= 1e-15):
            break
    return c, slope


@lru_cache(maxsize=8)
def _basis(level: int, terms: int) -> tuple[Array, Array]:
    """Nodes (m,) and weight * He_k / sqrt(k!) (m, terms), for sqrt(1/4 + q) <= 2^level / 2.

    Radius and step resolve the oscillations of the highest He_k, of wave number sqrt(k), besides phi. The recurrence
    runs on exp(-z^2 / 4) He_k / sqrt(k!), which neither overflows nor loses digits.
    """
    radius = max(12.5, 0.5 * np.sqrt(terms) + 6)
    step = 2 * np.pi / (np.sqrt(terms) + 10 + 12 * 2.0**level)
    chunks = list(trapezoid_rule(np.array([step]), radius))
    z = np.concatenate([nodes[:, 0] for nodes, _ in chunks])
    half = np.exp(-(z**2) / 4)
    basis = np.empty((len(z), terms))
    basis[:, 0], basis[:, 1] = half, z * half
    for k in range(1, terms - 1):
        basis[:, k + 1] = (z * basis[:, k] - np.sqrt(k) * basis[:, k - 1]) / np.sqrt(k + 1)
    return z, basis * (half * step / np.sqrt(2 * np.pi))[:, None]
