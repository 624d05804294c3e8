"""Theory of one architecture, for notebooks."""

from collections.abc import Sequence

from nnqft.predictions.predict import Prediction, predict
from nnqft.spec.grid import Architecture


def theory(architecture: Architecture, widths: Sequence[int], orders: Sequence[int] = (2, 4, 6)) -> Prediction:
    """Free, exact and leading-order correlators at every width; see :class:`Prediction`."""
    return predict(architecture, widths, orders)
