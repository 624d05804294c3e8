"""Training of random networks: which depths and weight variances learn, against the depth scales of signal propagation.

The names below are imported when they are first used; all are pure functions that work in a notebook.
"""

from nnqft.core.lazy import lazily

_HOMES = {
    "TrainingSpec": ".descent",
    "dataset": ".datasets",
    "estimates": ".trainability",
    "trainable_depth": ".trainability",
    "training_block": ".descent",
}
__all__ = [*_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]
__getattr__, __dir__ = lazily(__name__, _HOMES)
