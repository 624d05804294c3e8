"""Mean-field theory of signal propagation: fixed points of length and correlation and their depth scales.

    q' = C_b + C_W <phi(sqrt(q) z)^2>,                c' = [C_b + C_W <phi(u_1) phi(u_2)>] / q*,
    chi_par = dq'/dq = C_W <phi'^2 + phi phi''>,      chi_perp = dc'/dc at c = 1 = C_W <phi'^2>,
    xi_q = -1 / ln |chi_par|,                         xi_c = -1 / ln chi_c,  chi_c = dc'/dc at c*,

with C_W = sigma_w^2, C_b = sigma_b^2: Poole et al. 1606.05340, Schoenholz et al. 1611.01232 (their chi_1 is
chi_perp). chi_par and chi_perp are those of Roberts, Yaida and Hanin 2106.10165 (section 5). chi_par > -1/2 at every
fixed point, since q d<phi^2>/dq = (<phi^2 z^2> - <phi^2>) / 2: lengths never alternate.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.criticality.averages import Array, length_averages, piecewise_linear, resolved, slopes
from nnqft.criticality.correlation import pair_map, stable_correlation
from nnqft.criticality.roots import Which, bracketed_roots
from nnqft.criticality.tables import GRID, squares
from nnqft.nets.activations import Activation
from nnqft.nets.kernels import evaluate

MARGINAL = 1e-10
"""|1 - chi| below which a depth scale counts as infinite."""
GROWS = "no fixed point: lengths grow without bound"
EVERY = "every length is a fixed point"
LIMIT = "q* = 0: c* is its limit for sigma_b -> 0"


@dataclass(frozen=True)
class MeanField:
    """Fixed points and depth scales, each of the shape of (sigma_w, sigma_b) broadcast (a number for numbers).

    q_star: the fixed point that lengths reach from q = 1. c_star: the stable fixed point of the correlation in [0, 1].
    chi_c: slope of the correlation map there. xi_q, xi_c: in layers, infinite where marginal. status: "" or what is
    special; where there is no fixed point the rest is NaN, and status the reason.
    """

    q_star: Any
    c_star: Any
    chi_par: Any
    chi_perp: Any
    chi_c: Any
    xi_q: Any
    xi_c: Any
    status: Any


def mean_field(activation: Activation | str, sigma_w: ArrayLike, sigma_b: ArrayLike) -> MeanField:
    """The fixed points at arrays of (sigma_w, sigma_b) that broadcast.

    Raises ValueError for activations without a Gaussian average (see `resolved`), for sigma_w <= 0 or sigma_b < 0.
    """
    phi = resolved(activation)
    w, b = np.broadcast_arrays(np.asarray(sigma_w, dtype=np.float64), np.asarray(sigma_b, dtype=np.float64))
    if not (np.all(w > 0) and np.all(b >= 0) and np.all(np.isfinite(w)) and np.all(np.isfinite(b))):
        raise ValueError("sigma_w must be positive, sigma_b must not be negative, both finite")
    C_W, C_b = w.ravel() ** 2, b.ravel() ** 2
    q, status = _lengths(phi, C_W, C_b)
    at = np.where(np.isfinite(q), q, 1.0 if piecewise_linear(phi) else np.nan)
    square, slope, derivative = length_averages(phi, at)
    chi_par, chi_perp = C_W * derivative, C_W * slope
    xi_q = depth_scale(np.abs(chi_par))
    gone = status == GROWS
    c, chi_c = _correlations(phi, q, square, C_W, C_b, chi_perp)
    xi_q[gone] = chi_c[gone] = c[gone] = np.nan
    if phi.name == "linear":
        c[status == EVERY] = np.nan
    status = np.where((status == "") & (q == 0), LIMIT, status)
    found = (q, c, chi_par, chi_perp, chi_c, xi_q, depth_scale(chi_c), status.astype(object))
    return MeanField(*(value.reshape(w.shape)[()] for value in found))


def length_map(activation: Activation | str, q: ArrayLike, sigma_w: ArrayLike, sigma_b: ArrayLike) -> Array:
    """The variance q' of the next layer from q."""
    square, _, _ = length_averages(resolved(activation), q)
    return np.asarray(sigma_b) ** 2 + np.asarray(sigma_w) ** 2 * square


def correlation_map(
    activation: Activation | str, q: ArrayLike, c: ArrayLike, sigma_w: ArrayLike, sigma_b: ArrayLike
) -> tuple[Array, Array]:
    """Covariance of the next layer over q, and its derivative in c, at correlation c; c' itself where q is q*."""
    length, c, w, b = np.broadcast_arrays(*(np.asarray(part, dtype=np.float64) for part in (q, c, sigma_w, sigma_b)))
    value, slope = pair_map(resolved(activation), length.ravel(), c.ravel())
    value, slope = value.reshape(c.shape), slope.reshape(c.shape)
    return (b**2 + w**2 * value) / length, w**2 * slope / length


def depth_scale(chi: Array) -> Array:
    """-1 / ln chi in layers: infinite where chi = 1 within MARGINAL, NaN where chi > 1, 0 where chi = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = -1 / np.log(chi)
    scale = np.where(np.abs(chi - 1) <= MARGINAL, np.inf, scale)
    return np.where(chi > 1 + MARGINAL, np.nan, np.abs(scale))


def _lengths(phi: Activation, C_W: Array, C_b: Array) -> tuple[Array, NDArray[np.object_]]:
    """q* (points,) and why it is NaN."""
    status = np.full(len(C_W), "", dtype=object)
    if piecewise_linear(phi):
        growth = C_W * sum(slope**2 for slope in slopes(phi)) / 2
        critical = np.abs(growth - 1) <= MARGINAL
        q = np.where((growth < 1) & ~critical, C_b / np.where(critical, 1.0, 1 - growth), np.nan)
        status[np.isnan(q)] = GROWS
        status[critical & (C_b == 0)] = EVERY
        return q, status
    table = squares(phi)[0]
    excess = C_b[:, None] + C_W[:, None] * table - GRID
    start = int(np.searchsorted(GRID, 1.0))
    up = excess[:, start] > 0
    falls = (excess[:, :-1] > 0) & (excess[:, 1:] <= 0)
    falls[:, 0] &= C_b + C_W * table[0] > 0
    intervals = np.arange(falls.shape[1])
    allowed = falls & np.where(up[:, None], intervals >= start, intervals < start)
    first = np.argmax(allowed, axis=1)
    last = falls.shape[1] - 1 - np.argmax(allowed[:, ::-1], axis=1)
    interval, any_found = np.where(up, first, last), allowed.any(axis=1)
    origin = float(evaluate(phi, np.zeros(1))[0])
    q = np.where(up | (origin != 0), np.nan, 0.0)
    q[~any_found & ~up & (C_b > 0)] = np.nan
    rows = np.flatnonzero(any_found)

    def excess_at(which: Which, x: Array) -> Array:
        return C_b[rows[which]] + C_W[rows[which]] * length_averages(phi, x)[0] - x

    q[rows] = bracketed_roots(excess_at, GRID[interval[rows]], GRID[interval[rows] + 1])
    status[np.isnan(q)] = GROWS
    return q, status


def _correlations(
    phi: Activation, q: Array, square: Array, C_W: Array, C_b: Array, chi_perp: Array
) -> tuple[Array, Array]:
    """c* and chi_c (points,): 1 and chi_perp in the ordered phase."""
    c, chi = np.ones_like(chi_perp), chi_perp.copy()
    chaotic = np.flatnonzero((chi_perp > 1 + MARGINAL) & (q > 0))
    if chaotic.size:
        part = (q[chaotic], square[chaotic], C_W[chaotic], C_b[chaotic])
        c[chaotic], chi[chaotic] = stable_correlation(phi, *part)
    return c, chi
