"""What a scan will cost, before anything is written: points, blocks, networks, time, memory, disk."""

import math
from typing import Any

from nnqft.sampling.cells import Cell
from nnqft.sampling.kinds import product_bytes
from nnqft.sampling.unit import Unit
from nnqft.spec.model import Scan
from nnqft.stages.work import all_work

NEURONS_PER_SECOND = {"float32": 5e7, "float64": 3e7}
"""Neurons times points / 6 a core-second, rough: measured on one server core, for this estimate only."""
NEURON_SECONDS = 2e-8
"""Of whatever else is measured."""
NETWORK_SECONDS = 1.0e-6
BLOCK_SECONDS = 1e-3
"""Calling the kernel, writing a block and reading it back, however small it is."""
ORDER_SECONDS = {2: 3e-8, 4: 5e-8, 6: 1.5e-7, 8: 4e-7}
"""Sums over neurons: seconds a neuron, equally rough."""
COMPONENT_SECONDS = 3e-10
"""Of one selected component of one neuron, or of one network where these are summed."""
WORKER_MIB = 400
"""What a worker needs before it does anything."""
MIB = 2**20


def plan(scan: Scan) -> dict[str, Any]:
    """Every scan point with its budget and cost, and the sums; plain data (docs/commands.md has the keys).

    Raises:
        InputError: for a unit that cannot be measured.
    """
    work = all_work(scan)
    cells = [_cell(w.measurement, w.leaf.name, w.budget, unit) for w in work for unit in w.leaf.cells]
    units = [(w.budget, unit) for w in work for unit in w.leaf.cells]
    blocks = {key: sum(c["blocks"][key] for c in cells) for key in ("least", "most")}
    disk = sum(8 * b.most * sum(math.prod(s) for s in unit.shapes.values()) for b, unit in units)
    dense = sum(product_bytes(unit.spec, scan.ensemble.replicates) for _, unit in units if isinstance(unit, Cell))
    return {
        "scan": scan.name,
        "leaves": len(work),
        "scan_points": len(cells),
        "blocks": blocks,
        "target": dict(work[0].budget.target) if work else {},
        "core_seconds": sum(c["core_seconds"] for c in cells),
        "worker_MiB": max((unit.memory for _, unit in units), default=0) / MIB + WORKER_MIB,
        "disk_MiB": disk / MIB,
        "disk_files": 3 * blocks["most"],
        "dense_MiB": dense / MIB,
        "cells": cells,
    }


def _cell(measurement: str, leaf: str, budget: Any, unit: Unit) -> dict[str, Any]:
    """One scan point; time is that of all blocks it may get."""
    blocks = {"least": budget.pilot, "most": budget.most}
    return {
        "measurement": measurement,
        "leaf": leaf,
        "architecture": unit.label,
        "width": unit.width,
        "estimator": unit.method,
        "blocks": blocks,
        "networks": {key: number * unit.block for key, number in blocks.items()},
        "core_seconds": budget.most * _seconds(unit),
    }


def _seconds(unit: Unit) -> float:
    """Of one block."""
    if not isinstance(unit, Cell):
        return BLOCK_SECONDS + unit.neurons * NEURON_SECONDS
    spec = unit.spec
    work = spec.net.units * unit.architecture.depth * spec.points / 6
    if unit.sampler == "weights":
        work *= max(1, unit.width / 6)
    extra = ORDER_SECONDS[spec.max_order] * spec.net.units if spec.kind in ("neurons", "total") else 0.0
    if spec.components:
        samples = spec.net.units if spec.kind in ("neurons", "total") else 1
        extra = COMPONENT_SECONDS * sum(spec.layout.values()) * samples
    return BLOCK_SECONDS + unit.block * (NETWORK_SECONDS + work / NEURONS_PER_SECOND[unit.precision] + extra)
