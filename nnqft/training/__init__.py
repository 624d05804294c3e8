"""Training of random networks: which depths and weight variances learn, against the depth scales of signal propagation.

The names below are imported when they are first used; all are pure functions that work in a notebook.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "TrainingSpec": "descent",
    "dataset": "datasets",
    "estimates": "trainability",
    "trainable_depth": "trainability",
    "training_block": "descent",
}
__all__ = [*_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
