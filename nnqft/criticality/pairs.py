"""<phi(s x) phi(s y)> and <phi'(s x) phi'(s y)> s^2 of a centred Gaussian pair (x, y), with an input scale s.

Closed forms where they are known. Otherwise Mehler's formula: with the normalised Hermite polynomials he_k and the
correlation c,

    <f(x) f(y)> = sum_k a_k(q_x) a_k(q_y) c^k,    a_k(q) = <f(s sqrt(q) z) he_k(z)>,

whose coefficients are one-dimensional averages (trapezoid rule, geometric convergence for analytic f). What the
truncated sum may miss is bounded by Parseval's identity; pairs beyond the bound go to two-dimensional quadrature.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.core.errors import InputError
from nnqft.core.gaussian import QuadratureError, pair_averages
from nnqft.nets.activations import Activation
from nnqft.nets.kernels import evaluate
from nnqft.nets.maps import CLOSED
from nnqft.nets.registry import activations

Array = NDArray[np.float64]
Average = Callable[[Array, Array, Array], Array]

TERMS = 256
"""Terms of Mehler's sum."""
RADIUS = 13.0
"""End of the trapezoid rule: he_k(z) exp(-z^2 / 2) is below 1e-17 exp(z^2 / 4 - z^2 / 2 + 42) there."""
LARGEST = 1e5
"""Variances beyond are refused where no closed form is known."""
MISSED = 1e-11
"""What the truncated sum may miss, relative to the largest value possible."""


class UndefinedError(ValueError):
    """A quantity that does not exist for these arguments; the message says why."""


@dataclass(frozen=True)
class Pairs:
    """Averages over Gaussian pairs of one activation phi(scale * x); variances and covariances broadcast."""

    activation: Activation
    scale: float = 1.0

    def values(self, aa: ArrayLike, ab: ArrayLike, bb: ArrayLike) -> Array:
        """<phi phi> for variances aa, bb and covariance ab, float64."""
        return self._average(0, CLOSED.get(self.activation.name), aa, ab, bb)

    def slopes(self, aa: ArrayLike, ab: ArrayLike, bb: ArrayLike) -> Array:
        """<d phi d phi>, d the derivative with respect to x: the derivative of `values` by ab (Price's theorem)."""
        return self.scale**2 * self._average(1, SLOPES.get(self.activation.name), aa, ab, bb)

    def square(self, q: float) -> float:
        """<phi^2> at variance q."""
        if self.activation.name in CLOSED:
            return float(self.values(q, q, q))
        _, values, weights = _line(self.activation, 0, np.array([self.scale**2 * q]))
        return float(values[0] ** 2 @ weights)

    def slope_square(self, q: float) -> float:
        """<phi'^2> at variance q."""
        return float(self.slopes(q, q, q))

    def slope_at_zero(self) -> float:
        """phi'(0); UndefinedError for a kink there."""
        if self.activation.kind == "homogeneous":
            raise UndefinedError(f"{self.activation.name} has no derivative at 0")
        return float(self.scale * evaluate(self.activation, np.zeros(1), 1)[0])

    def _average(self, order: int, closed: Average | None, aa: ArrayLike, ab: ArrayLike, bb: ArrayLike) -> Array:
        given = np.broadcast_arrays(*(self.scale**2 * np.asarray(k, dtype=np.float64) for k in (aa, ab, bb)))
        kernels = np.stack([k.ravel() for k in given], axis=1)
        found = closed(*kernels.T) if closed is not None else _mehler(self.activation, order, kernels)
        return np.asarray(found, dtype=np.float64).reshape(given[0].shape)


def pairs(activation: str | Activation, scale: float = 1.0) -> Pairs:
    """The averages of an activation, by name or itself.

    Raises:
        InputError: for a name that does not exist or a scale that is not positive.
        UndefinedError: for activations whose averages are not known: `gauss`, which needs the variance of its input,
            and piecewise linear ones without closed form.
    """
    if not (np.isfinite(scale) and scale > 0):
        raise InputError("scale", f"must be positive, got {scale}", "use a positive number")
    if isinstance(activation, str):
        known = activations()
        if activation not in known:
            raise InputError("activation", f"no activation {activation!r}", f"use one of {', '.join(known)}")
        activation = known[activation]
    if activation.kind != "smooth" and activation.name not in SLOPES:
        raise UndefinedError(f"Gaussian averages of {activation.name} in a recurrent network are not known")
    return Pairs(activation, float(scale))


def fixed_point(averages: Pairs, sigma_w: float, sigma_b: float, noise: float) -> float:
    """The variance q* = sigma_w^2 <phi^2>_q* + sigma_b^2 + D that iteration from q = 1 settles at (0 if it dies out).

    The first zero of F(q) - q on the way, where the iteration moves monotonically (all activations of the package
    but cos, which has one zero only). UndefinedError if q grows without bound.
    """
    offset = sigma_b**2 + noise

    def excess(q: float) -> float:
        return sigma_w**2 * averages.square(q) + offset - q

    if averages.activation.name == "linear" or averages.activation.kind == "homogeneous":
        growth = sigma_w**2 * averages.square(1.0)
        if growth < 1:
            return offset / (1 - growth)
        raise UndefinedError(
            f"the variance of {averages.activation.name} is multiplied by {growth:.6g} >= 1 in every step"
        )
    return bracketed_root(excess, 1.0)


def bracketed_root(falling: Callable[[float], float], start: float, largest: float = 1e9) -> float:
    """Zero of a function of q > 0 that is positive below and negative above it, nearest to `start` in factors of 2.

    0 if it is negative down to 1e-13; UndefinedError if it is positive up to `largest`.
    """
    from scipy.optimize import brentq

    low = high = start
    while falling(high) > 0:
        low, high = high, 2 * high
        if high > largest:
            raise UndefinedError("the variance grows without bound")
    if low == high:
        while falling(low) < 0:
            low, high = low / 2, low
            if low < 1e-13:
                return 0.0
    return float(brentq(falling, low, high, xtol=1e-15, rtol=1e-14))  # pyright: ignore[reportArgumentType]


def _mehler(activation: Activation, order: int, kernels: Array) -> Array:
    """<f(x) f(y)> with f the derivative of phi of that order; kernels (p, 3) holds (K_aa, K_ab, K_bb)."""
    variances, place = np.unique(kernels[:, [0, 2]], return_inverse=True)
    left, right = place.reshape(-1, 2).T
    coefficients, square = _coefficients(activation, order, np.maximum(variances, 0.0))
    product = np.sqrt(kernels[:, 0] * kernels[:, 2])
    c = np.clip(np.divide(kernels[:, 1], product, out=np.zeros(len(kernels)), where=product > 0), -1, 1)
    total = np.zeros(len(kernels))
    for k in reversed(range(TERMS)):
        total = total * c + coefficients[left, k] * coefficients[right, k]
    tail = np.sqrt(np.maximum(square - np.sum(coefficients**2, axis=1), 0.0))
    missed = tail[left] * tail[right] * np.abs(c) ** TERMS
    hard = missed > MISSED * np.sqrt(square[left] * square[right]) + 1e-300
    same = hard & (left == right) & (c == 1)
    total[same] = square[left[same]]
    rest = hard & ~same
    if np.any(rest):
        total[rest] = _planar(activation, order, kernels[rest])
    return total


def _planar(activation: Activation, order: int, kernels: Array) -> Array:
    """The same by two-dimensional quadrature, for variances so large that Mehler's sum converges slowly."""
    units = [lambda z: evaluate(activation, z, order)]
    try:
        parts = [pair_averages(units, kernels[i : i + 64], [(0, 0)])[0, 0] for i in range(0, len(kernels), 64)]
    except QuadratureError as error:
        raise UndefinedError(f"{activation.name}: {error}") from None
    return np.concatenate(parts)


def _coefficients(activation: Activation, order: int, variances: Array) -> tuple[Array, Array]:
    """a_k(q), shape (n, TERMS), and <f^2>, shape (n,), at variances (n,)."""
    step, values, weights = _line(activation, order, variances)
    return (values * weights) @ _hermite(step, len(weights)), values**2 @ weights


def _line(activation: Activation, order: int, variances: Array) -> tuple[float, Array, Array]:
    """Step of the trapezoid rule, f at its nodes for every variance, shape (n, count), and weights (count,)."""
    largest = float(np.max(variances, initial=0.0))
    if largest > LARGEST:
        raise UndefinedError(f"no averages of {activation.name} at variance {largest:.3g}, beyond {LARGEST:g}")
    step = min(0.1, 0.25 / np.sqrt(1 + largest))
    z = _nodes(step, 2 * int(np.ceil(RADIUS / step)))
    weights = step / np.sqrt(2 * np.pi) * np.exp(-(z**2) / 2)
    return step, evaluate(activation, np.sqrt(variances)[:, None] * z, order), weights


def _nodes(step: float, count: int) -> Array:
    return step * (np.arange(count, dtype=np.float64) - count // 2 + 0.5)


@lru_cache(maxsize=4)
def _hermite(step: float, count: int) -> Array:
    """he_k at the nodes of the trapezoid rule, shape (count, TERMS)."""
    z = _nodes(step, count)
    table = np.empty((count, TERMS))
    table[:, 0], table[:, 1] = 1.0, z
    for k in range(2, TERMS):
        table[:, k] = (z * table[:, k - 1] - np.sqrt(k - 1) * table[:, k - 2]) / np.sqrt(k)
    return table


def _linear_slopes(aa: Array, ab: Array, bb: Array) -> Array:
    return np.ones_like(ab)


def _relu_slopes(aa: Array, ab: Array, bb: Array) -> Array:
    """(pi - theta) / 2 pi, Cho and Saul 2009, degree 0; at zero variance the limit of equal arguments, 1/2."""
    product = np.sqrt(aa * bb)
    c = np.divide(ab, product, out=np.ones_like(ab), where=product > 0)
    return (np.pi - np.arccos(np.clip(c, -1, 1))) / (2 * np.pi)


def _erf_slopes(aa: Array, ab: Array, bb: Array) -> Array:
    return 4 / np.pi / np.sqrt((1 + 2 * aa) * (1 + 2 * bb) - 4 * ab**2)


def _sin_slopes(aa: Array, ab: Array, bb: Array) -> Array:
    return (np.exp(-(aa + bb) / 2 + ab) + np.exp(-(aa + bb) / 2 - ab)) / 2


SLOPES: dict[str, Average] = {"linear": _linear_slopes, "relu": _relu_slopes, "erf": _erf_slopes, "sin": _sin_slopes}
