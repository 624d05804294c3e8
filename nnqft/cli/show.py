"""What `plan`, `status` and `verify` print."""

import math
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nnqft.sampling.cells import Cell
from nnqft.sampling.kinds import product_bytes
from nnqft.sampling.unit import Unit
from nnqft.spec.model import Scan
from nnqft.stages.check import load_config
from nnqft.stages.layout import Layout
from nnqft.stages.status import cell_status, generated, stage_status
from nnqft.stages.work import all_work

NEURONS_PER_SECOND = {"float32": 5e7, "float64": 3e7}
"""Neurons times points / 6 a core-second, rough: measured on one server core, for the estimate of `plan` only."""
NEURON_SECONDS = 2e-8
"""Of whatever else is measured."""
NETWORK_SECONDS = 1.0e-6
ORDER_SECONDS = {2: 3e-8, 4: 5e-8, 6: 1.5e-7, 8: 4e-7}
"""Sums over neurons: seconds a neuron, equally rough."""
COMPONENT_SECONDS = 3e-10
"""Of one selected component of one neuron, or of one network where these are summed."""
WORKER_MIB = 400
"""What a worker needs before it does anything."""


def show_plan(config: Path) -> None:
    """Print points, blocks, networks and what they cost."""
    scan, _ = _read(config)
    plan = all_work(scan)
    table = _table("architecture", "width", "estimator", "blocks", "networks", "core-s")
    for work in plan:
        least, most = work.budget.pilot, work.budget.most
        for unit in work.leaf.cells:
            row = str(unit.width), unit.method, _range(least, most)
            networks = _range(least * unit.block, most * unit.block)
            table.add_row(escape(unit.label), *row, networks, f"{most * _seconds(unit):.1f}")
    console = _console()
    console.print(table)
    for work in plan[:1]:
        if work.budget.target:
            goals = ", ".join(f"{name} to {100 * goal:g}%" for name, goal in work.budget.target)
            console.print(f"target: {goals}; each cell starts with {work.budget.pilot} blocks and stops there or at "
                          "the ceiling")  # fmt: skip
    units = [(work.budget, unit) for work in plan for unit in work.leaf.cells]
    total = sum(b.most * _seconds(unit) for b, unit in units)
    disk = sum(8 * b.most * math.prod(shape) for b, unit in units for shape in unit.shapes.values())
    dense = sum(product_bytes(unit.spec, scan.ensemble.replicates) for _, unit in units if isinstance(unit, Cell))
    needed = max(unit.memory for _, unit in units) / 2**20 + WORKER_MIB
    console.print(f"{len(plan)} leaves, {len(units)} scan points, "
                  f"{_range(sum(b.pilot for b, _ in units), sum(b.most for b, _ in units))} blocks")  # fmt: skip
    upper = "at most " if any(b.target for b, _ in units) else ""
    console.print(f"about {upper}{total:.0f} core-seconds of sampling, {needed:.0f} MiB a worker, "
                  f"{upper}{disk / 2**20:.0f} MiB on disk; {dense / 2**20:.0f} MiB in the dense stores")  # fmt: skip


def show_status(config: Path) -> None:
    """Print the state of every scan point and stage."""
    scan, layout = _read(config)
    table = _table("architecture", "width", "done", "missing", "corrupt", "networks")
    for s in cell_status(scan, layout, thorough=True):
        numbers = (s.width, s.done, s.missing, s.corrupt)
        table.add_row(escape(s.architecture), *map(str, numbers), f"{s.networks:,}")
    console = _console()
    console.print(table)
    for stage, state in stage_status(scan, layout).items():
        console.print(f"{stage}: {state}")


def show_verification(config: Path) -> int:
    """Print what `verify` found; 0 when nothing failed."""
    from nnqft.stages.verify import verify

    scan, layout = _read(config)
    if not generated(scan, layout):
        typer.echo(
            f"{layout.root}: not finished for this scan file, or a manifest is damaged; see nnqft status {config}"
        )
        return 1
    found = verify(scan, layout)
    for line in found.summary:
        typer.echo(line)
    for line in found.failures:
        typer.echo(f"FAILED  {line}")
    if not found.failures:
        typer.echo("verified: all chunks match their checksums; estimates agree with theory")
    return 1 if found.failures else 0


def _read(config: Path) -> tuple[Scan, Layout]:
    scan = load_config(config)
    return scan, Layout(Path("results") / scan.name)


def _seconds(unit: Unit) -> float:
    """Of one block."""
    if not isinstance(unit, Cell):
        return unit.neurons * NEURON_SECONDS
    spec = unit.spec
    work = spec.net.units * unit.architecture.depth * spec.points / 6
    if unit.sampler == "weights":
        work *= max(1, unit.width / 6)
    extra = ORDER_SECONDS[spec.max_order] * spec.net.units if spec.kind in ("neurons", "total") else 0.0
    if spec.components:
        samples = spec.net.units if spec.kind in ("neurons", "total") else 1
        extra = COMPONENT_SECONDS * sum(spec.layout.values()) * samples
    return unit.block * (NETWORK_SECONDS + work / NEURONS_PER_SECOND[unit.precision] + extra)


def _range(least: int, most: int) -> str:
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    return table


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)
