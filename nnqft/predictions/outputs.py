"""Theory of one architecture, for notebooks."""

from collections.abc import Sequence

from nnqft.predictions.predict import Prediction, predict
from nnqft.spec.grid import Architecture


def theory(architecture: Architecture, widths: Sequence[int]) -> Prediction:
    """Free, exact and leading-order correlators at every width; see :class:`Prediction`."""
    a = architecture
    return predict(a.activation, a.depth, a.sigma_w, a.sigma_b, a.x, widths)
