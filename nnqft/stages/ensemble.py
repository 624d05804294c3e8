"""Generation: fill the blocks of one leaf, check every one of them, write its receipt."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnqft.cluster.contexts import runner
from nnqft.core.hashing import block_key
from nnqft.core.normals import GENERATOR
from nnqft.estimation.reference import centre_and_scale
from nnqft.sampling.block import BlockSpec, block_statistics
from nnqft.spec.grid import Cell, Leaf
from nnqft.storage.files import locked, write_json
from nnqft.storage.leafstore import LeafStore, Row

log = logging.getLogger("nnqft")

PASSES = 3
TASK_NEURONS = 6e7
"""Work in one task: about a second, so that a kernel is not compiled on every worker for a blink of work."""


class GenerationError(RuntimeError):
    """Blocks that cannot be made good however often they are computed."""


def generate(leaf: Leaf, blocks: int, folder: Path, cluster: str, batch: int | None = None) -> None:
    """Compute what is missing of a leaf's first `blocks` blocks and write its manifest.

    Committed blocks are never recomputed, unless their checksum fails. A crash at any moment loses at most the blocks
    in flight.

    Raises:
        GenerationError: when blocks stay bad (a full disk, or statistics that are not finite).
        TimeoutError: when another process keeps writing this leaf.
    """
    store = LeafStore(folder)
    with locked(store.lock, patience=3600):
        rows = _prepare(store, leaf, blocks)
        done = {cell.identity: store.committed(rows[cell.identity].index, blocks) for cell in leaf.cells}
        _tell(leaf, blocks, sum(int(d.sum()) for d in done.values()))
        for _ in range(PASSES):
            tasks = [task for cell in leaf.cells for task in _tasks(store, cell, rows, done, batch)]
            if tasks:
                _run(tasks, cluster, leaf.name)
            checked = {cell.identity: store.good(rows[cell.identity].index, blocks) for cell in leaf.cells}
            done = {identity: good for identity, (good, _) in checked.items()}
            if all(good.all() for good in done.values()):
                break
            log.warning("%s: some blocks failed their check and are computed again", leaf.name)
        else:
            bad = [c.varying for c in leaf.cells if not done[c.identity].all()]
            raise GenerationError(
                f"{leaf.name}: blocks of {bad[0]} are bad after {PASSES} passes; is the disk full, or are its "
                "statistics infinite (too large a sigma_w or depth)?"
            )
        write_json(store.manifest, _manifest(leaf, blocks, {i: digests for i, (_, digests) in checked.items()}))


def compute_blocks(folder: str, cell: Cell, row: Row, blocks: Sequence[int], batch: int | None = None) -> int:
    """What one task does: draw, reduce and commit some blocks of one cell; returns how many."""
    store, spec = LeafStore(Path(folder)), block_spec(cell)
    a = cell.architecture
    for block in blocks:
        if store.intact(row.index, block):  # by an earlier try of this task, whose worker died
            continue
        key = block_key(cell.draws(), block)
        s = block_statistics(spec, key, a.x, a.sigma_w, a.sigma_b, row.centre, row.scale, batch)
        store.commit(row.index, block, s.power, np.concatenate([s.tail, s.tail_sums]), spec.counts)
    return len(blocks)


def block_spec(cell: Cell) -> BlockSpec:
    """The kernel's static specification of a cell."""
    a = cell.architecture
    points, dimension = a.x.shape
    return BlockSpec(
        a.activation, a.depth, cell.width, points, dimension,
        cell.sampler, cell.estimator, cell.precision, cell.block, cell.max_order,
    )  # fmt: skip


def _prepare(store: LeafStore, leaf: Leaf, blocks: int) -> dict[str, Row]:
    known = store.rows()
    spec = block_spec(leaf.cells[0])
    new = []
    for cell in leaf.cells:
        if cell.identity in known:
            continue
        a = cell.architecture
        centre, scale = centre_and_scale(a.activation, a.depth, a.sigma_w, a.sigma_b, a.x, cell.estimator)
        entry = {"centre": centre.tolist(), "scale": scale.tolist()}
        new.append({"identity": cell.identity, "varying": cell.varying} | entry)
    shapes = {
        "moments": (spec.subbatches, sum(spec.sizes)),
        "tail": (spec.tail + 3,),
        "count": (spec.subbatches,),
    }
    store.grow(leaf.static, new, blocks, shapes)
    return store.rows()


def _tasks(
    store: LeafStore, cell: Cell, rows: dict[str, Row], done: dict[str, Any], batch: int | None
) -> list[tuple[Any, ...]]:
    missing = np.flatnonzero(~done[cell.identity])
    cost = cell.block * (cell.width * cell.architecture.depth + 50)
    size = max(1, int(TASK_NEURONS / cost))
    return [
        (str(store.folder), cell, rows[cell.identity], [int(b) for b in missing[i : i + size]], batch)
        for i in range(0, len(missing), size)
    ]


def _run(tasks: list[tuple[Any, ...]], cluster: str, name: str) -> None:
    tasks.sort(key=lambda task: -task[1].width)
    total = sum(len(task[3]) for task in tasks)
    finished, shown = 0, 0
    with runner(cluster) as run:
        for _, computed in run(compute_blocks, tasks):
            finished += computed
            if finished == total or finished >= shown + total / 20:
                log.info("%s: %d of %d blocks", name, finished, total)
                shown = finished


def _tell(leaf: Leaf, blocks: int, done: int) -> None:
    total = blocks * len(leaf.cells)
    log.info(
        "%s: %d cells x %d blocks, %d committed, %d to compute", leaf.name, len(leaf.cells), blocks, done, total - done
    )


def _manifest(leaf: Leaf, blocks: int, digests: dict[str, list[str]]) -> dict[str, Any]:
    """The receipt: a function of the specification and the data alone."""
    cells = [
        {
            **cell.varying,
            "identity": cell.identity,
            "blocks": blocks,
            "networks": blocks * cell.block,
            "sha256": hashlib.sha256("".join(digests[cell.identity]).encode()).hexdigest(),
        }
        for cell in leaf.cells
    ]
    return {"leaf": leaf.name, "static": leaf.static, "generator": GENERATOR, "cells": cells}
