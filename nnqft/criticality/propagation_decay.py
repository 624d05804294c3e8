"""Depth scales from decays: y_l = y_inf + A e^{-l / xi}, fitted to layers from 3 xi to 6 xi, or on to the last one.

Where y_inf is known (c = 1) the fit ends at 6 xi, because in deep layers E (1 - c) comes from few networks; otherwise
the deepest layers fix y_inf.

The decay must be exponential by then: at infinite width its local scale -1 / ln [(y_{l+1} - y*) / (y_l - y*)] is within
LOCAL of xi from the first fitted layer on. (nnqft.criticality.fixed_points: tanh at xi = 16 is off by 30% in layers 8
to 14; a pair that starts near c = 1 in the chaotic phase lingers there.) The window is chosen by infinite-width
theory alone, the fit knows nothing of it.
"""

from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar

from nnqft.criticality.averages import Array
from nnqft.estimation.jackknife import stderr

START, LENGTH = 3.0, 3.0
"""The window in units of xi: it starts there at the earliest, and is at least so long."""
LOCAL = 0.03
"""Relative distance of the local scale from xi at infinite width."""
RESOLVED = 1e-8
"""Distances from the limit below which their ratios mean nothing, relative to the first one."""
LAYERS = 6
"""The window holds at least so many layers."""
SIGNAL = 3.0
"""Errors that the change over the window must be worth."""
SPREAD = 5.0
"""xi is looked for within this factor of the infinite-width one."""
NO_SCALE = "no finite depth scale at infinite width"
NO_SIGNAL = "the change over the fitted layers is below 3 errors"
NO_DECAY = "no exponential decay within a factor 5 of the infinite-width scale"


def fit_window(xi: float, distance: Array, limit: float | None) -> range | str:
    """Rows of the layers to fit, or the reason why there are none; distance (depth + 1,): y - y* at infinite width."""
    if not (np.isfinite(xi) and xi > 0):
        return NO_SCALE
    depth, size = len(distance) - 1, np.abs(distance)
    known = size[1:] > RESOLVED * max(float(size.max()), RESOLVED)
    with np.errstate(divide="ignore", invalid="ignore"):
        local = -1 / np.log(np.where(known, distance[1:] / distance[:-1], np.nan))
    curved = np.flatnonzero(known & ~(np.abs(local / xi - 1) < LOCAL))
    first = max(int(np.ceil(START * xi)), int(curved[-1]) + 1 if curved.size else 0)
    last = max(int(np.floor(first + LENGTH * xi)), first + LAYERS - 1)
    if last <= depth:
        return range(first, (depth if limit is None else last) + 1)
    return f"depth {depth} is below the {last} layers that a fit needs"


def decay_scale(values: Array, layers: range, xi: float, limit: float | None) -> tuple[Array, str]:
    """The scale xi of the estimate and of every replicate, (groups + 1,), and a reason if it is NaN.

    values (groups + 1, depth + 1): the estimate, then its replicates; limit: y_inf where it is known. Layers count by
    their jackknife errors, without the correlations between them; the jackknife of the fit knows these.
    """
    y = values[:, layers.start : layers.stop] - (limit or 0.0)
    change = y[:, 0] if limit is not None else y[:, 0] - y[:, -1]
    missing = np.full(len(values), np.nan)
    if not abs(change[0]) > SIGNAL * stderr(change[1:]):
        return missing, NO_SIGNAL
    error = stderr(y[1:])
    weight = 1 / np.maximum(error, 1e-12 * np.max(np.abs(y)) + np.finfo(float).tiny)
    steps = np.arange(len(layers), dtype=np.float64)
    found = np.array([_fit(row, steps, weight, xi, limit is None) for row in y])
    edge = np.abs(np.abs(np.log(found / xi)) - np.log(SPREAD)) < 1e-3
    return (missing, NO_DECAY) if np.any(edge) else (found, "")


def _fit(y: Array, steps: Array, weight: Array, xi: float, free: bool) -> float:
    """The xi of least squares; amplitude and limit are linear and eliminated."""

    def misfit(log_xi: float) -> float:
        decay = np.exp(-steps / np.exp(log_xi))
        design = np.stack([decay, np.ones_like(decay)] if free else [decay], axis=1) * weight[:, None]
        solution = np.linalg.lstsq(design, y * weight, rcond=None)[0]
        return float(np.sum((design @ solution - y * weight) ** 2))

    middle, reach = np.log(xi), np.log(SPREAD)
    grid = np.linspace(middle - reach, middle + reach, 33)
    best = int(np.argmin([misfit(x) for x in grid]))
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found: Any = minimize_scalar(misfit, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    return float(np.exp(found.x))
