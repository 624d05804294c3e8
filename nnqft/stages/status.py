"""What is there and what is missing: the state of a scan's files, without computing anything."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnqft.sampling.budget import Budget, budget
from nnqft.sampling.cells import Cell, Leaf, cells, leaves
from nnqft.spec.model import Scan
from nnqft.stages.layout import STAGES, Layout
from nnqft.storage.leafstore import LeafStore


@dataclass(frozen=True)
class CellStatus:
    """Blocks of one (architecture, width): committed and intact, missing, damaged."""

    architecture: str
    width: int
    done: int
    missing: int
    corrupt: int
    networks: int


def generated(scan: Scan, layout: Layout) -> bool:
    """Whether every leaf has a receipt for just what the scan asks."""
    return all(_receipted(leaf, budget(scan), layout) for leaf in leaves(scan))


def withdraw_damaged(scan: Scan, layout: Layout) -> list[str]:
    """Read every finished leaf back; take the receipt of a damaged one away, so that the workflow mends it.

    Returns the names of the damaged leaves.
    """
    damaged = []
    for leaf in leaves(scan):
        store = LeafStore(layout.leaf(leaf.name))
        wanted = _receipted(leaf, budget(scan), layout)
        if not wanted:
            continue
        rows = store.rows()
        if not all(i in rows and store.good(rows[i].index, blocks)[0].all() for i, blocks in wanted.items()):
            store.manifest.unlink()
            damaged.append(leaf.name)
    return damaged


def cell_status(scan: Scan, layout: Layout, thorough: bool = False) -> list[CellStatus]:
    """The state of every cell; `thorough` reads all data against its checksums instead of the commit marks only.

    With a target, a leaf that is not finished wants its pilot, and whatever has been asked for since.
    """
    wanted: dict[str, tuple[int, int]] = {}
    for leaf in leaves(scan):
        finished, b = _receipted(leaf, budget(scan), layout), budget(scan)
        wanted |= {
            c.identity: (finished.get(c.identity, b.pilot), finished.get(c.identity, b.most)) for c in leaf.cells
        }
    where = {cell.identity: leaf.name for leaf in leaves(scan) for cell in leaf.cells}
    stores = {name: LeafStore(layout.leaf(name)) for name in set(where.values())}
    rows = {name: store.rows() for name, store in stores.items()}
    return [
        _cell_status(cell, stores[where[cell.identity]], rows[where[cell.identity]], *wanted[cell.identity], thorough)
        for cell in cells(scan)
    ]


def stage_status(scan: Scan, layout: Layout) -> dict[str, str]:
    """For each stage: `up to date`, `stale` (older than what it is made from) or `missing`."""
    newest = max((layout.leaf(leaf.name) / "manifest.json" for leaf in leaves(scan)), key=_age, default=None)
    inputs = {"ensemble": [newest] if newest else [], "cumulants": ["ensemble"], "theory": [],
              "couplings": ["cumulants", "theory"], "flow": ["couplings", "theory"],
              "sixpoints": ["couplings", "cumulants", "theory"], "action": ["couplings", "cumulants"]}  # fmt: skip
    found = {}
    for stage in STAGES:
        receipt = layout.receipt(stage)
        paths = [layout.receipt(i) if isinstance(i, str) else i for i in inputs[stage]]
        if not receipt.exists() or not layout.store(stage).exists():
            found[stage] = "missing"
        else:
            stale = any(_age(p) > _age(receipt) for p in paths) or any(
                found.get(str(i)) == "stale" for i in inputs[stage]
            )
            found[stage] = "stale" if stale or (stage == "ensemble" and not generated(scan, layout)) else "up to date"
    found["report"] = (
        "up to date"
        if layout.report.exists() and _age(layout.report) >= max((_age(layout.receipt(s)) for s in STAGES), default=0.0)
        else ("stale" if layout.report.exists() else "missing")
    )
    return found


def _cell_status(
    cell: Cell, store: LeafStore, rows: dict[str, Any], wanted: int, most: int, thorough: bool
) -> CellStatus:
    done = corrupt = 0
    if cell.identity in rows:
        row = rows[cell.identity].index
        marks = store.committed(row, store.blocks(most))
        wanted = max(wanted, int(np.flatnonzero(marks)[-1]) + 1 if marks.any() else 0)
        done = int(marks[:wanted].sum())
        if thorough:
            intact = int(store.good(row, wanted)[0].sum())
            done, corrupt = intact, done - intact
    name = cell.architecture.name
    return CellStatus(name, cell.width, done, wanted - done - corrupt, corrupt, done * cell.block)


def _receipted(leaf: Leaf, wanted: Budget, layout: Layout) -> dict[str, int]:
    """Blocks of each cell, by identity, that a finished leaf has; empty without a receipt for this very budget."""
    path = LeafStore(layout.leaf(leaf.name)).manifest
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
        there = {str(c["identity"]): int(c["blocks"]) for c in receipt["cells"]}
        budget_there = receipt["budget"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    same = budget_there == wanted.specification()
    return there if same and there.keys() == {cell.identity for cell in leaf.cells} else {}


def _age(path: Any) -> float:
    return path.stat().st_mtime if path.exists() else 0.0
