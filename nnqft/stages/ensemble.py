"""Generation: fill the blocks of some leaves, check every one of them, write their receipts."""

import hashlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from socket import gethostname
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnqft.cluster.contexts import Runner, runner
from nnqft.cluster.gpu import device_kind
from nnqft.core.normals import GENERATOR
from nnqft.core.versions import KERNEL_VERSION
from nnqft.sampling.budget import Budget
from nnqft.sampling.cells import Cell
from nnqft.sampling.groups import merged, target_errors
from nnqft.sampling.unit import Leaf, Unit
from nnqft.stages.progress import Progress
from nnqft.storage.files import locked, write_sealed
from nnqft.storage.leafindex import INDEX, Row
from nnqft.storage.leafstore import LeafStore

log = logging.getLogger("nnqft")

PASSES = 3
AT_ONCE = 4
"""Leaves under way at once."""
TASK_NEURONS = 2e7
"""Most work in one task: a second or two."""
SHARES = 8
"""Tasks that a cell of some seconds is cut into, so that workers end together; no task is shorter than such a part."""

LEAST_NEURONS = 4e4
"""A block costs at least as much as so many neurons: reading, writing and calling take some milliseconds."""
SMALL_TASKS = 64
"""Tasks that a leaf of many small cells is made into at least, each of several cells."""

Part = tuple[Unit, Row, list[int]]
"""Blocks to compute of one cell."""
Blocks = dict[str, int]
"""Blocks wanted of each cell, by identity."""


class GenerationError(RuntimeError):
    """Blocks that cannot be made good however often they are computed."""


@dataclass(frozen=True)
class Generation:
    """One leaf being generated: its store, its cells' rows, the budget; what its job shares."""

    leaf: Leaf
    store: LeafStore
    rows: dict[str, Row]
    budget: Budget
    run: Runner
    progress: Progress


def generate(leaf: Leaf, budget: Budget, store: LeafStore, cluster: str) -> None:
    """One leaf of :func:`generate_all`."""
    generate_all([(leaf, budget, store)], cluster)


def generate_all(leaves: Sequence[tuple[Leaf, Budget, LeafStore]], cluster: str) -> None:
    """Compute what is missing of the blocks of some leaves, and write the manifest of each into its store.

    As many blocks of each unit as its leaf's budget says. Committed blocks are never recomputed, unless their checksum
    fails. A crash at any moment loses at most the blocks in flight. On a cluster a few leaves are under way at once, so
    that workers stay busy while one of them is checked.

    Raises:
        GenerationError: when blocks stay bad (a full disk, or statistics that are not finite).
        TimeoutError: when another process keeps writing a leaf.
    """
    progress = Progress()
    for leaf, budget, _ in leaves:
        progress.leaf(leaf.name, 0, budget.pilot * len(leaf.cells), planned_neurons(leaf, budget))
    with runner(cluster) as run, ThreadPoolExecutor(1 if cluster == "inline" else AT_ONCE) as pool:
        jobs = [pool.submit(_generate, *leaf, run, progress) for leaf in leaves]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def planned_neurons(leaf: Leaf, budget: Budget) -> float:
    """Neurons that the first blocks of a leaf take, roughly: how long a job it is."""
    return sum(budget.pilot * cell.neurons for cell in leaf.cells)


def _generate(leaf: Leaf, budget: Budget, store: LeafStore, run: Runner, progress: Progress) -> None:
    store = store.absolute()
    with locked(store.lock, patience=3600):
        wanted: Blocks = {cell.identity: budget.pilot for cell in leaf.cells}
        rows = _prepare(store, leaf, wanted)
        job = Generation(leaf, store, rows, budget, run, progress)
        while True:
            digests = _fill(job, wanted)
            errors = {cell.identity: _errors(job, cell, wanted[cell.identity]) for cell in leaf.cells}
            more = {i: budget.more(wanted[i], *errors[i]) for i in wanted}
            if more == wanted:
                break
            short = sum(more[i] > wanted[i] for i in wanted)
            wanted = more
            log.info("%s: %d cells want more blocks to reach their target", leaf.name, short)
            store.grow(leaf.static, [], max(wanted.values()), leaf.cells[0].shapes)
        store.sweep()
        write_sealed(store.manifest, _manifest(job, wanted, digests, errors))


def compute_parts(store: LeafStore, parts: Sequence[Part]) -> int:
    """What one task does; returns how many blocks it was."""
    return sum(compute_blocks(store, *part) for part in parts)


def compute_blocks(store: LeafStore, cell: Unit, row: Row, blocks: Sequence[int]) -> int:
    """Draw, reduce and commit some blocks of one cell; returns how many.

    Raises:
        GenerationError: on a worker that does not see the store, or runs another version of the package.
    """
    if not (store.data.size(INDEX) or store.data.exists()):
        raise GenerationError(
            f"{store.data}: not seen by the worker on {gethostname()}; results must be on a shared disk, or in an "
            "object store that workers reach"
        )
    if cell.identity != row.identity or getattr(cell, "kernel_version", KERNEL_VERSION) != KERNEL_VERSION:
        raise GenerationError(f"the worker on {gethostname()} runs another nnqft; install the same everywhere")
    for block in blocks:
        if store.intact(row.index, block):  # by an earlier try of this task, whose worker died
            continue
        s = cell.draw(block, row.centre, row.scale)
        store.mark_device(device_kind())
        store.commit(row.index, block, s.moments, s.tail, s.count)
    return len(blocks)


def _prepare(store: LeafStore, leaf: Leaf, wanted: Blocks) -> dict[str, Row]:
    known = store.rows()
    new = []
    for cell in leaf.cells:
        if cell.identity in known:
            continue
        centre, scale = cell.reference()
        entry = {"centre": centre.tolist(), "scale": scale.tolist()}
        new.append({"identity": cell.identity, "varying": cell.varying} | entry)
    store.grow(leaf.static, new, max(wanted.values()), leaf.cells[0].shapes)
    return store.rows()


def _fill(job: Generation, wanted: Blocks) -> dict[str, list[str]]:
    """Compute until the first `wanted` blocks of every cell are good; their digests by identity."""
    leaf, store = job.leaf, job.store
    index = {cell.identity: job.rows[cell.identity].index for cell in leaf.cells}
    marks = store.data.many(lambda i: store.committed(index[i], wanted[i]), list(wanted))
    done = dict(zip(wanted, marks, strict=True))
    there, total = sum(int(d.sum()) for d in done.values()), sum(wanted.values())
    log.info("%s: %d cells, %d blocks, %d committed, %d to compute", leaf.name, len(index), total, there, total - there)
    if there and not store.devices():
        store.mark_device("unrecorded")  # blocks of a version that did not say
    for _ in range(PASSES):
        parts = [part for cell in leaf.cells for part in _parts(job, cell, done[cell.identity])]
        missing = sum(len(numbers) for _, _, numbers in parts)
        neurons = sum(len(numbers) * cell.neurons for cell, _, numbers in parts)
        job.progress.leaf(leaf.name, total - missing, total, neurons)
        if parts:
            _run(joined(parts), job)
        found = store.data.many(lambda i: store.good(index[i], wanted[i]), list(wanted))
        checked = dict(zip(wanted, found, strict=True))
        done = {identity: good for identity, (good, _) in checked.items()}
        if all(good.all() for good in done.values()):
            return {identity: digests for identity, (_, digests) in checked.items()}
        log.warning("%s: some blocks failed their check and are computed again", leaf.name)
    bad = [c.varying for c in leaf.cells if not done[c.identity].all()]
    raise GenerationError(
        f"{leaf.name}: blocks of {bad[0]} are bad after {PASSES} passes; is the disk full, or are its "
        "statistics infinite (too large a sigma_w or depth)?"
    )


def _errors(job: Generation, cell: Unit, blocks: int) -> tuple[dict[str, float], bool]:
    """Relative errors of the targeted correlators after some blocks, and whether they can be trusted."""
    if not (job.budget.target and isinstance(cell, Cell)):
        return {}, True
    row = job.rows[cell.identity]
    sums = merged(cell, row.centre, job.store.read(row.index, range(blocks)), job.budget.replicates)
    return target_errors(cell, sums, row.scale, [name for name, _ in job.budget.target])


def _parts(job: Generation, cell: Unit, done: NDArray[np.bool_]) -> list[Part]:
    missing = np.flatnonzero(~done)
    share = len(missing) * cell.neurons / SHARES
    size = max(1, int(min(TASK_NEURONS, max(share, TASK_NEURONS / SHARES)) / cell.neurons))
    row = job.rows[cell.identity]
    return [(cell, row, [int(b) for b in missing[i : i + size]]) for i in range(0, len(missing), size)]


def joined(parts: list[Part]) -> list[list[Part]]:
    """Tasks, the widest networks first: small parts of neighbouring widths together, so that no task is shorter than
    what handing it out costs, and there are still tasks for every worker.
    """
    parts = sorted(parts, key=lambda part: -part[0].width)
    costs = [len(blocks) * max(cell.neurons, LEAST_NEURONS) for cell, _, blocks in parts]
    most = min(TASK_NEURONS / SHARES, sum(costs) / SMALL_TASKS)
    tasks: list[list[Part]] = []
    there = 0.0
    for part, cost in zip(parts, costs, strict=True):
        if not tasks or there + cost > most:
            tasks.append([])
            there = 0.0
        tasks[-1].append(part)
        there += cost
    return tasks


def _run(tasks: list[list[Part]], job: Generation) -> None:
    job.progress.begin()
    for position, computed in job.run(compute_parts, [(job.store, parts) for parts in tasks]):
        sizes = [(len(numbers), cell) for cell, _, numbers in tasks[position]]
        networks, neurons = sum(n * cell.block for n, cell in sizes), sum(n * cell.neurons for n, cell in sizes)
        job.progress.add(job.leaf.name, computed, networks, neurons, job.run.dashboard)


def _manifest(
    job: Generation, wanted: Blocks, digests: dict[str, list[str]], errors: dict[str, tuple[dict[str, float], bool]]
) -> dict[str, Any]:
    """The receipt: a function of the specification and the data alone."""
    cells = [
        {
            **cell.varying,
            "identity": cell.identity,
            "blocks": wanted[cell.identity],
            "networks": wanted[cell.identity] * cell.block,
            "budget": job.budget.outcome(*errors[cell.identity]),
            "sha256": hashlib.sha256("".join(digests[cell.identity]).encode()).hexdigest(),
        }
        for cell in job.leaf.cells
    ]
    for cell in cells:
        if cell["budget"] == "ceiling":
            log.warning("%s, width %d: stopped at ensemble.networks, above its target", job.leaf.name, cell["width"])
    devices = job.store.devices()
    if len(devices) > 1:
        log.warning("%s: its blocks are of several kinds of devices: %s", job.leaf.name, ", ".join(devices))
    receipt = {"leaf": job.leaf.name, "static": job.leaf.static, "generator": GENERATOR, "devices": devices}
    return receipt | {"budget": job.budget.specification(), "cells": cells}
