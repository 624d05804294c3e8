"""Roots of many scalar functions at once."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Which = NDArray[np.int64]
STEPS = 200


def bracketed_roots(function: Callable[[Which, Array], Array], low: Array, high: Array) -> Array:
    """Roots in brackets [low, high], shape (points,), to rounding.

    function(which, x) is the value for the points numbered `which` (k,) at x (k,); its signs at the two ends differ,
    or it vanishes at one. The rule of Anderson and Bjorck (BIT 13 (1973) 253), with bisection where it stalls.
    """
    a, b = low.astype(np.float64).copy(), high.astype(np.float64).copy()
    every = np.arange(len(a))
    fa, fb = function(every, a), function(every, b)
    root = np.where(np.abs(fa) < np.abs(fb), a, b)
    active = every[(fa != 0) & (fb != 0)]
    for step in range(STEPS):
        if active.size == 0:
            break
        left, right, fl, fr = a[active], b[active], fa[active], fb[active]
        x = (left * fr - right * fl) / (fr - fl)
        inside = (x > np.minimum(left, right)) & (x < np.maximum(left, right))
        x = np.where(inside & (step % 4 < 3), x, (left + right) / 2)
        fx = function(active, x)
        crossed = fx * fr < 0
        with np.errstate(invalid="ignore", divide="ignore"):
            shrink = 1 - fx / fr
        shrink = np.where(shrink > 0, shrink, 0.5)
        a[active] = np.where(crossed, right, left)
        fa[active] = np.where(crossed, fr, fl * shrink)
        b[active], fb[active], root[active] = x, fx, x
        width = np.abs(b[active] - a[active])
        active = active[(fx != 0) & (width > 4 * np.finfo(float).eps * np.abs(x)) & (width > 1e-300)]
    return root
