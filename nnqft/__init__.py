"""nnqft: random neural networks as statistical field theories.

The names below are imported when they are first used; all are pure functions that work in a notebook.
"""

from nnqft.core.lazy import lazily

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
    "criticality": "",
    "fieldtheory": "",
    "training": "",
}
__all__ = ["__version__", *_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(__name__, _HOMES)
