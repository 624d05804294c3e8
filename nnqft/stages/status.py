"""What is there and what is missing: the state of a scan's files, without computing anything."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnqft.sampling.unit import Unit
from nnqft.spec.model import Scan
from nnqft.stages.layout import STAGES, Layout, measurements
from nnqft.stages.work import Work, all_work
from nnqft.storage.files import SealError, read_sealed
from nnqft.storage.leafarrays import Arrays
from nnqft.storage.leafstore import LeafStore

Read = Callable[[int, int, Arrays], NDArray[np.bool_]]
"""Which of the first blocks of a row are there."""


@dataclass(frozen=True)
class CellStatus:
    """Blocks of one (architecture, width): committed and intact, missing, damaged."""

    architecture: str
    width: int
    done: int
    missing: int
    corrupt: int
    networks: int
    measurement: str = ""
    leaf: str = ""


def generated(scan: Scan, layout: Layout) -> bool:
    """Whether every leaf has a receipt for just what the scan asks."""
    return all(receipted(work, layout) for work in all_work(scan))


def receipted(work: Work, layout: Layout) -> dict[str, int]:
    """Blocks of each unit, by identity, that a finished leaf has; empty without a receipt for this very budget."""
    path = layout.leaf(work.leaf.name).manifest
    try:
        receipt = read_sealed(path)
    except (OSError, SealError):
        return {}
    there = {str(c["identity"]): int(c["blocks"]) for c in receipt["cells"]}
    same = receipt["budget"] == work.budget.specification()
    return there if same and there.keys() == {unit.identity for unit in work.leaf.cells} else {}


def cell_status(scan: Scan, layout: Layout, thorough: bool = False) -> list[CellStatus]:
    """The state of every scan point; `thorough` reads all data against its checksums instead of the commit marks only
    (then `corrupt` counts bad marks, and marks of blocks whose data have no file).

    With a target, a leaf that is not finished wants its pilot, and whatever has been asked for since.
    """
    return [one for work in all_work(scan) for one in _leaf_status(work, layout, thorough)]


def stage_status(scan: Scan, layout: Layout) -> dict[str, str]:
    """For each stage: `up to date`, `stale` (older than what it is made from) or `missing`."""
    found: dict[str, str] = {}
    for measurement in measurements(scan):
        work = [w for w in all_work(scan) if w.measurement == measurement]
        newest = max((_age(layout.leaf(w.leaf.name).manifest) for w in work), default=0.0)
        complete = all(receipted(w, layout) for w in work)
        for stage, sources in STAGES[measurement].items():
            receipt = layout.receipt(stage)
            if not receipt.exists() or not layout.store(stage).exists():
                found[stage] = "missing"
                continue
            from_leaves = not sources and stage != "theory"
            older = max([_age(layout.receipt(source)) for source in sources] + [newest if from_leaves else 0.0])
            stale = older > _age(receipt) or "stale" in {found[source] for source in sources}
            found[stage] = "stale" if stale or (from_leaves and not complete) else "up to date"
    last = max((_age(layout.receipt(stage)) for stage in found), default=0.0)
    state = "up to date" if _age(layout.report) >= last else "stale"
    return found | {"report": state if layout.report.exists() else "missing"}


def _leaf_status(work: Work, layout: Layout, thorough: bool) -> list[CellStatus]:
    finished, budget = receipted(work, layout), work.budget
    store = layout.leaf(work.leaf.name)
    rows, arrays = store.rows(), store.arrays()

    read = store.committed if not thorough else store.unchanged if finished else store.whole

    def state(unit: Unit) -> CellStatus:
        least, most = (finished.get(unit.identity, blocks) for blocks in (budget.pilot, budget.most))
        one = _cell_status(unit, store, rows, arrays, least, most, read)
        return replace(one, measurement=work.measurement, leaf=work.leaf.name)

    return store.data.many(state, work.leaf.cells)


def _cell_status(
    cell: Unit, store: LeafStore, rows: dict[str, Any], arrays: Arrays, wanted: int, most: int, read: Read
) -> CellStatus:
    done = corrupt = 0
    if cell.identity in rows:
        row = rows[cell.identity].index
        marks = store.marked(row, most, arrays)
        wanted = max(wanted, int(np.flatnonzero(marks)[-1]) + 1 if marks.any() else 0)
        done = int(read(row, wanted, arrays).sum())
        corrupt = int(marks.sum()) - done
    return CellStatus(cell.label, cell.width, done, wanted - done - corrupt, corrupt, done * cell.block)


def _age(path: Any) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
