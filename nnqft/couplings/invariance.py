"""Which transformations of the input leave a kernel alone, found by evaluating it.

Halverson, Maiti, Stoner (arXiv:2008.08601, section 4) call a constant coupling technically natural where the kernel is
translation-invariant: then, and only then, does making lambda(y) constant enlarge the symmetry of the action. For the
legs K_w = K - sigma_b^2, or any other kernel, the change under a transformation T of the points x_a is

    violation(T) = max_ab |K(T x_a, T x_b) - K(x_a, x_b)| / sqrt(M_a M_b),   M_a = max(K(x_a, x_a), K(T x_a, T x_a)),

between 0 and 2. Nearby points make every smooth kernel look invariant: the Erf-net's changes by 1e-4 under shifts of
0.01. So T takes the points as far as they are apart (`here`) and as far as the kernel's own length, the distance over
which it changes by half. A violation is called one when it exceeds 100 times the accuracy of the kernel's evaluation,
and not by its size: 1e-4 is no invariance.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Kernel = Callable[[Array, Array], Array]
"""K(x_a, y_b) (n, m) from points (n, d) and (m, d)."""

ACCURACY = 1e-12
"""Relative accuracy of kernels by quadrature (:mod:`nnqft.couplings.kernels`); closed forms are better."""

MARGIN = 100.0
"""A violation is one above this many times the accuracy."""

_SEED = 20080860
_DIRECTIONS = 2  # random ones, each both ways
_SIZES = (0.37, 1.0)  # of shifts, relative to the extent of the points and to the kernel's own length
_FACTORS = (0.6, 1.9)  # of scalings
_SHRINK, _GROW = 10, 24  # powers of two between which, times the extent, the kernel's own length is looked for
_NUDGE = 1 + 2.0**-42  # changes kernels by less than their accuracy, and their rounding errors entirely


@dataclass(frozen=True)
class Invariance:
    """How far a kernel is from an invariance; NaN with a `reason` where the question has no answer.

    violation: the largest over all transformations; here: over those of the size of the points only; tolerance: what
    it is held against; degree: p in K(s x, s y) = s^p K(x, y) for scalings, NaN where that does not hold.
    """

    violation: float
    here: float
    tolerance: float
    degree: float = float("nan")
    reason: str = ""

    @property
    def holds(self) -> bool:
        """Whether the kernel is invariant, to the accuracy of its evaluation."""
        return bool(self.violation <= self.tolerance)


def translation(kernel: Kernel, x: ArrayLike, length: float | None = None) -> Invariance:
    """K(x + c, y + c) = K(x, y)? For shifts c of 0.37 and 1 times the extent of x and `length`, in fixed directions.

    x (n, d); length: that of :func:`kernel_length`, found if not given (so it is below).
    """
    x = _points(x)
    length = kernel_length(kernel, x) if length is None else length
    steps = _directions(x.shape[1])
    near = [x + size * extent(x) * step for size in _SIZES for step in steps]
    far = [x + size * length * step for size in _SIZES for step in steps] if np.isfinite(length) else []
    return _verdict(kernel, [(x, y, 1.0) for y in near], [(x, y, 1.0) for y in far])


def rotation(kernel: Kernel, x: ArrayLike, length: float | None = None) -> Invariance:
    """K(R x, R y) = K(x, y)? For fixed random orthogonal R, one of them a reflection; in d = 1 the reflection x -> -x.

    About the origin, at the points and at the points blown up to the kernel's own length.
    """
    x = _points(x)
    near, far = _bases(x, kernel_length(kernel, x) if length is None else length)
    if not x.any():
        return Invariance(np.nan, np.nan, np.nan, reason="all points are at the origin, which no rotation moves")
    maps = _orthogonal(x.shape[1])
    return _verdict(kernel, *([(y, y @ r.T, 1.0) for y in base for r in maps] for base in (near, far)))


def scaling(kernel: Kernel, x: ArrayLike, length: float | None = None) -> Invariance:
    """K(s x, s y) = s^p K(x, y)? p from the growth of the variances, at the points blown up to the kernel's length."""
    x = _points(x)
    near, far = _bases(x, kernel_length(kernel, x) if length is None else length)
    if not x.any():
        return Invariance(np.nan, np.nan, np.nan, reason="all points are at the origin, which no scaling moves")
    base = (far or near)[0]
    small, large = (np.trace(kernel(y, y)) for y in (base, _FACTORS[1] * base))
    if not (small > 0 and large > 0):
        return Invariance(np.nan, np.nan, np.nan, reason="the kernel vanishes on the points")
    degree = float(np.log(large / small) / np.log(_FACTORS[1]))
    pairs = ([(y, s * y, s**-degree) for y in some for s in _FACTORS] for some in (near, far))
    found = _verdict(kernel, *pairs)
    return Invariance(found.violation, found.here, found.tolerance, degree if found.holds else float("nan"))


def kernel_length(kernel: Kernel, x: ArrayLike) -> float:
    """Distance from the point of largest variance at which variance or correlation have changed by half.

    Found to a factor of two, from 2^-10 to 2^24 times the extent of x (n, d); inf for a kernel that never does.
    """
    x = _points(x)
    origin = x[np.argmax(np.diag(kernel(x, x)))]
    rays = np.concatenate([np.zeros((1, x.shape[1])), _directions(x.shape[1])])
    for power in range(-_SHRINK, _GROW + 1):
        distance = extent(x) * 2.0**power
        points = origin + distance * rays
        matrix = kernel(points, points)
        variance = np.diag(matrix)
        with np.errstate(divide="ignore", invalid="ignore"):
            lost = 1 - matrix[0] / np.sqrt(variance[0] * variance)
            changed = 1 - np.minimum(variance, variance[0]) / np.maximum(variance, variance[0])
        if np.nanmax(np.maximum(np.abs(lost), changed), initial=0.0) > 0.5:
            return distance
    return float("inf")


def extent(x: Array) -> float:
    """Largest distance between two of the points (n, d); of one point its distance from the origin, or 1 there."""
    size = float(np.sqrt(((x[:, None] - x[None]) ** 2).sum(axis=-1)).max())
    return size or float(np.linalg.norm(x[0])) or 1.0


def _verdict(
    kernel: Kernel, near: Iterable[tuple[Array, Array, float]], far: Iterable[tuple[Array, Array, float]]
) -> Invariance:
    """Largest violations over triples: points, where they are taken, and what the kernel there is multiplied by."""
    here, there, noise = 0.0, 0.0, 0.0
    for pairs, distant in ((near, False), (far, True)):
        for x, y, factor in pairs:
            before, after = kernel(x, x), factor * kernel(y, y)
            size = np.sqrt(np.maximum(np.diag(before), np.diag(after)).clip(min=0.0))
            scale = np.outer(size, size)
            seen = scale > 0
            violation = float(np.max(np.abs(after - before)[seen] / scale[seen], initial=0.0))
            nudged = factor * kernel(_NUDGE * y, _NUDGE * y)
            noise = max(noise, float(np.max(np.abs(after - nudged)[seen] / scale[seen], initial=0.0)))
            here, there = (here, max(there, violation)) if distant else (max(here, violation), there)
    return Invariance(max(here, there), here, MARGIN * max(ACCURACY, noise))


def _bases(x: Array, length: float) -> tuple[list[Array], list[Array]]:
    """The points, and the points blown up about the origin so that the farthest is at the kernel's own length."""
    radius = float(np.linalg.norm(x, axis=1).max())
    return [x], [x * (length / radius)] if radius > 0 and np.isfinite(length) else []


def _directions(dimension: int) -> Array:
    """Unit vectors (2 directions, dimension), both ways along fixed random axes; +1 and -1 in one dimension."""
    axes = np.random.default_rng(_SEED).standard_normal((1 if dimension == 1 else _DIRECTIONS, dimension))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return np.concatenate([axes, -axes])


def _orthogonal(dimension: int) -> list[Array]:
    """Fixed random orthogonal matrices, of determinant +1 and -1; the reflection alone in one dimension."""
    if dimension == 1:
        return [-np.eye(1)]
    matrix = np.linalg.qr(np.random.default_rng(_SEED).standard_normal((dimension, dimension)))[0]
    reflected = matrix.copy()
    reflected[0] *= -1
    return [matrix, reflected]


def _points(x: ArrayLike) -> Array:
    points = np.asarray(x, dtype=np.float64)
    if points.ndim != 2 or not points.size or not np.isfinite(points).all():
        raise ValueError(f"points must be finite, of shape (n, d), not {points.shape}")
    return points
