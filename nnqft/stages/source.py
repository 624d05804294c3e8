"""The finished leaves of one measurement, opened once, to be read unit by unit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnqft.estimation.jackknife import merge
from nnqft.sampling.unit import Unit
from nnqft.spec.model import Scan
from nnqft.stages.layout import Layout
from nnqft.stages.work import all_work
from nnqft.storage.files import read_sealed
from nnqft.storage.leafindex import Row
from nnqft.storage.leafstore import LeafStore, LostIndexError


class Source:
    """The leaves of one measurement of a scan; FileNotFoundError for a leaf without its receipt.

    Raises:
        SealError: for a receipt that is damaged or edited.
        LostIndexError: when the list of its cells is lost.
    """

    def __init__(self, scan: Scan, layout: Layout, measurement: str):
        self.replicates = scan.ensemble.replicates
        self._where: dict[str, tuple[LeafStore, Row, dict[str, Any]]] = {}
        for work in all_work(scan):
            if work.measurement != measurement:
                continue
            store = layout.leaf(work.leaf.name)
            rows = store.rows()
            for receipt in read_sealed(store.manifest)["cells"]:
                if receipt["identity"] not in rows:
                    raise LostIndexError(store.data)
                self._where[receipt["identity"]] = store, rows[receipt["identity"]], receipt

    def row(self, unit: Unit) -> Row:
        """A unit's place, and the constants that its statistics were taken with."""
        return self._where[unit.identity][1]

    def budget(self, unit: Unit) -> str:
        """How a unit's budget ended."""
        return self._where[unit.identity][2]["budget"]

    def data(self, unit: Unit) -> dict[str, NDArray]:
        """Arrays moments, tail and count (blocks, ...) of all blocks, every chunk checked."""
        store, row, receipt = self._where[unit.identity]
        return store.read(row.index, range(receipt["blocks"]))

    def grouped(self, unit: Unit) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Moments (groups, statistics) and counts (groups,): jackknife groups, as many as asked for if there are."""
        data = self.data(unit)
        moments, count = (data[key].reshape(-1, *data[key].shape[2:]) for key in ("moments", "count"))
        groups = min(self.replicates, len(count))
        return merge(moments, groups), merge(count, groups)
