"""Theory of one architecture, for notebooks."""

from collections.abc import Sequence

from nnqft.core.packing import Basis
from nnqft.predictions.predict import Prediction, predict
from nnqft.spec.grid import Architecture


def theory(
    architecture: Architecture,
    widths: Sequence[int],
    orders: Sequence[int] = (2, 4, 6),
    components: Basis | None = None,
) -> Prediction:
    """Free, exact and leading-order correlators at every width; see :class:`Prediction`.

    components: only these, as :func:`nnqft.core.selection.select` finds them.
    """
    return predict(architecture, widths, orders, components)
