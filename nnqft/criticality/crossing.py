"""Where a measured exponent changes sign along a sweep."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEAR = 4
"""Points around the change of sign that enter the fit."""


def crossing(x: Array, y: Array, stderr: Array) -> tuple[float, float]:
    """The x > 0 where y, measured with independent errors at rising x, goes from negative to positive, and its error.

    A parabola in ln x (a line through two or three points) is fitted to the `NEAR` points around the last change of
    sign, weighted by their errors, which are propagated to its root: var ln x = g^T C g / y'^2, g = (1, ln x, ...), C
    the covariance of the coefficients, enlarged by chi^2 / dof where that is above 1. NaN where the sign never changes,
    or the fit has no root within a step of where it does.
    """
    good = np.isfinite(y) & np.isfinite(stderr) & (stderr > 0)
    x, y, stderr = x[good], y[good], stderr[good]
    change = np.flatnonzero((y[:-1] < 0) & (y[1:] >= 0))
    if not change.size:
        return np.nan, np.nan
    last = int(change[-1])
    start = int(np.clip(last + 1 - NEAR // 2, 0, max(len(x) - NEAR, 0)))
    near = slice(start, start + NEAR)
    middle = 0.5 * (np.log(x[last]) + np.log(x[last + 1]))
    u, v, error = np.log(x[near]) - middle, y[near], stderr[near]
    degree = 2 if len(u) >= NEAR else 1
    design = np.vander(u, degree + 1, increasing=True) / error[:, None]
    inverse = np.linalg.inv(design.T @ design)
    fit = inverse @ design.T @ (v / error)
    excess, dof = float(np.sum((v / error - design @ fit) ** 2)), len(u) - degree - 1
    roots = np.roots(fit[::-1])
    roots = roots.real[np.abs(roots.imag) < 1e-12]
    step = max(np.diff(u))
    inside = roots[np.abs(roots) <= step]
    if not inside.size:
        return np.nan, np.nan
    at = float(inside[np.argmin(np.abs(inside))])
    powers = at ** np.arange(degree + 1)
    slope = float(np.sum(fit[1:] * np.arange(1, degree + 1) * powers[:-1]))
    variance = float(powers @ inverse @ powers) * max(1.0, excess / dof if dof > 0 else 1.0)
    root = float(np.exp(at + middle))
    return root, root * np.sqrt(variance) / abs(slope)
