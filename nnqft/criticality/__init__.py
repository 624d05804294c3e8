"""Criticality of random networks: mean-field theory, its boundary, and corrections in depth over width.

The names below are imported when they are first used; all are pure functions.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "boundary": "nnqft.criticality.boundaries",
    "branches": "nnqft.criticality.boundaries",
    "corrected": "nnqft.criticality.depth_scales",
    "finite_width": "nnqft.criticality.layers",
    "mean_field": "nnqft.criticality.fixed_points",
    "stationary": "nnqft.criticality.layers",
    "universality": "nnqft.criticality.boundaries",
}
__all__ = [*_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'nnqft.criticality' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
