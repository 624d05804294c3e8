"""The line chi_perp = 1 between order and chaos, parametrised by the length, and universality classes at criticality.

    C_W = 1 / <phi'^2>_q,        C_b = q - C_W <phi^2>_q.

Unstable branches (chi_par > 1, as gelu has) are found as well as stable ones, which iterating the length is not.
Criticality, chi_par = chi_perp = 1, and its classes: Roberts, Yaida and Hanin 2106.10165 sections 5.2 to 5.4.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from nnqft.criticality.averages import Array, length_averages, piecewise_linear, resolved, slopes
from nnqft.criticality.roots import Which, bracketed_roots
from nnqft.criticality.tables import GRID, squares
from nnqft.nets.activations import Activation
from nnqft.nets.kernels import evaluate

LARGEST = 1e4
"""Lengths beyond which a root of <phi phi''> is rounding noise: both chi are equal there to 1e-8."""
RELEVANT = 1e-9
"""Relative size below which <phi phi''> counts as zero."""


@dataclass(frozen=True)
class Branch:
    """One point of the boundary: chi_par > 1 where iterating the length leaves it."""

    q_star: float
    sigma_w: float
    chi_par: float


@dataclass(frozen=True)
class Universality:
    """Where an activation is critical, and how the length leaves the fixed point: F(K) - K = a_1 (K - K*)^2 + ...

    kind: `scale-invariant` (F is linear, every K* is fixed: q_star is NaN), `K*=0` (K -> 1 / (-a_1 l), a_1 < 0),
    `half-stable` (stable from one side), or `none`: chi_par and chi_perp are not 1 together, and the rest is NaN.
    """

    kind: Literal["scale-invariant", "K*=0", "half-stable", "none"]
    q_star: float
    sigma_w: float
    sigma_b: float
    a_1: float


def boundary(activation: Activation | str, sigma_b: ArrayLike) -> tuple[Any, Any]:
    """(q*, sigma_w) where chi_perp = 1 at bias sigma_b, an array of any shape or a number: the smallest q*.

    NaN where no point of the line has this bias. Scale-invariant activations are critical at sigma_b = 0 alone, where
    every length is a fixed point: q* is NaN then, sigma_w is not. All points of the line: :func:`branches`.
    """
    bias = np.asarray(sigma_b, dtype=np.float64)
    firsts = [(found[0].q_star, found[0].sigma_w) if found else (np.nan, np.nan) for found in _all(activation, bias)]
    q, sigma_w = np.array(firsts, dtype=np.float64).reshape(-1, 2).T
    return q.reshape(bias.shape)[()], sigma_w.reshape(bias.shape)[()]


def branches(activation: Activation | str, sigma_b: float) -> list[Branch]:
    """All points of the boundary with this bias, by increasing q*."""
    return _all(activation, np.asarray(sigma_b, dtype=np.float64))[0]


def boundary_line(activation: Activation | str, q: ArrayLike) -> tuple[Array, Array, Array]:
    """sigma_w, C_b and chi_par of the boundary at lengths q > 0; points with C_b < 0 have no bias."""
    square, slope, derivative = length_averages(resolved(activation), q)
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 / np.sqrt(slope), np.asarray(q) - square / slope, derivative / slope


def universality(activation: Activation | str) -> Universality:
    """The class of an activation at criticality; K*=0 is preferred where it is stable (a_1 < 0)."""
    phi = resolved(activation)
    if piecewise_linear(phi):
        growth = sum(slope**2 for slope in slopes(phi)) / 2
        return Universality("scale-invariant", np.nan, float(1 / np.sqrt(growth)), 0.0, 0.0)
    value, first, second, third = (float(evaluate(phi, np.zeros(1), k)[0]) for k in range(4))
    if value == 0 and first != 0:
        a_1 = third / first + 3 / 4 * (second / first) ** 2
        if a_1 < 0:
            return Universality("K*=0", 0.0, 1 / abs(first), 0.0, a_1)
    square, slope, derivative = squares(phi)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap, bias = derivative / slope - 1, GRID - square / slope
    usable = (GRID > 1e-8) & (GRID < LARGEST) & (bias > 0)
    crossing = usable[:-1] & usable[1:] & (gap[:-1] * gap[1:] < 0) & (np.abs(gap[1:] - gap[:-1]) > RELEVANT)
    if not crossing.any():
        return Universality("none", np.nan, np.nan, np.nan, np.nan)
    start = np.flatnonzero(crossing)[:1]

    def difference(which: Which, q: Array) -> Array:
        _, slope, derivative = length_averages(phi, q)
        return derivative - slope

    q = bracketed_roots(difference, GRID[start], GRID[start + 1])
    sigma_w, bias, _ = boundary_line(phi, q)
    curvature = (length_averages(phi, q * 1.001)[2] - length_averages(phi, q * 0.999)[2]) / (0.002 * q)
    a_1 = sigma_w**2 * curvature / 2
    return Universality("half-stable", float(q[0]), float(sigma_w[0]), float(np.sqrt(bias[0])), float(a_1[0]))


def _all(activation: Activation | str, bias: Array) -> list[list[Branch]]:
    """Branches for every entry of bias."""
    phi = resolved(activation)
    wanted = bias.ravel() ** 2
    if piecewise_linear(phi):
        sigma_w = universality(phi).sigma_w
        return [[Branch(np.nan, sigma_w, 1.0)] if b == 0 else [] for b in wanted]
    square, slope, _ = squares(phi)
    safe = np.where(slope > 0, slope, 1.0)
    C_b = np.where(slope > 0, GRID - square / safe, -np.inf)
    excess = C_b[1:] - wanted[:, None]
    point, interval = np.nonzero((excess[:, :-1] > 0) != (excess[:, 1:] > 0))

    def distance(which: Which, q: Array) -> Array:
        return boundary_line(phi, q)[1] - wanted[point[which]]

    q = bracketed_roots(distance, GRID[interval + 1], GRID[interval + 2])
    keep = np.isfinite(q) & (q < LARGEST) & ~((wanted[point] == 0) & (q < 1e-3) & (square[0] == 0))
    sigma_w, _, chi = boundary_line(phi, q)
    found: list[list[Branch]] = [[] for _ in wanted]
    for row in np.flatnonzero((wanted == 0) & (square[0] == 0) & (slope[0] > 0)):
        found[row].append(Branch(0.0, float(1 / np.sqrt(slope[0])), float(squares(phi)[2][0] / slope[0])))
    for row, *numbers, kept in zip(point, q, sigma_w, chi, keep, strict=True):
        if kept:
            found[row].append(Branch(*map(float, numbers)))
    return found
