"""Criticality of random networks: fixed points, boundaries, depth scales, Lyapunov exponents, with corrections.

The names below are imported when they are first used; all are pure functions that work in a notebook.
"""

from nnqft.core.lazy import lazily

_HOMES = {
    "boundary": ".boundaries",
    "branches": ".boundaries",
    "corrected": ".depth_scales",
    "finite_width": ".layers",
    "lyapunov_theory": ".lyapunov",
    "mean_field": ".fixed_points",
    "stationary": ".layers",
    "tied_linear": ".ginibre",
    "universality": ".boundaries",
}
__all__ = [*_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(__name__, _HOMES)
