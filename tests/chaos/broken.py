"""Drivers with a broken commit, for the test that this suite finds what is broken."""

import numpy as np
from numpy.typing import NDArray

from chaos import kills
from nnqft.storage.leafarrays import open_arrays
from nnqft.storage.leafstore import LeafStore

_intended = kills._victim


def count_first(root: str, operation: int, seconds: float) -> None:
    """A block is marked as committed before its sums are there."""
    LeafStore.commit = _commit_count_first  # type: ignore[method-assign]
    _intended(root, operation, seconds)


def forgetful(root: str, operation: int, seconds: float) -> None:
    """No block is known to be committed."""
    LeafStore.committed = lambda self, row, blocks: np.zeros(blocks, dtype=bool)  # type: ignore[method-assign]
    LeafStore.intact = lambda self, row, block: False  # type: ignore[method-assign]
    _intended(root, operation, seconds)


def _commit_count_first(self: LeafStore, row: int, block: int, moments: NDArray, tail: NDArray, count: NDArray) -> None:
    arrays = open_arrays(self._group)
    for name, value in (("count", count), ("moments", moments), ("tail", tail)):
        arrays[name].write(row, block, value)
