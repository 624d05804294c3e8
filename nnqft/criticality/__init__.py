"""Criticality of random networks: fixed points, boundaries, depth scales, Lyapunov exponents, with corrections.

The names below are imported when they are first used; all are pure functions that work in a notebook.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "boundary": "boundaries",
    "branches": "boundaries",
    "corrected": "depth_scales",
    "finite_width": "layers",
    "lyapunov_theory": "lyapunov",
    "mean_field": "fixed_points",
    "stationary": "layers",
    "tied_linear": "ginibre",
    "universality": "boundaries",
}
__all__ = [*_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
