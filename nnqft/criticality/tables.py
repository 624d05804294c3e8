"""Averages of an activation on one grid of variances: where all searches start, whatever sigma_w and sigma_b."""

from functools import lru_cache

import numpy as np

from nnqft.criticality.averages import Array, length_averages
from nnqft.nets.activations import Activation

GRID: Array = np.concatenate([[0.0], np.geomspace(1e-12, 1e5, 409)])
"""Variances q: zero and 24 a decade. Fixed points beyond the last are not found."""


@lru_cache(maxsize=16)
def squares(activation: Activation) -> tuple[Array, Array, Array]:
    """<phi^2>, <phi'^2> and d<phi^2>/dq on GRID."""
    return length_averages(activation, GRID)
