"""nnqft: random neural networks as statistical field theories.

The names below are imported when they are first used; all are pure functions that work in a notebook.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "architecture": "nnqft.spec.grid",
    "cumulants": "nnqft.estimation.outputs",
    "fit_couplings": "nnqft.couplings.fit",
    "load_config": "nnqft.stages.check",
    "measure": "nnqft.sampling.groups",
    "open_results": "nnqft.storage.results",
    "sample": "nnqft.sampling.outputs",
    "theory": "nnqft.predictions.outputs",
    "vertex_integrals": "nnqft.couplings.vertices",
}
_MODULES = ("criticality", "fieldtheory")
__all__ = ["__version__", *_HOMES, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"nnqft.{name}")
    raise AttributeError(f"module 'nnqft' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})
