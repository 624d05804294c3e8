"""What `plan`, `status` and `verify` print."""

from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from nnqft.nets.registry import load_config, statistics_bytes
from nnqft.spec.grid import architectures, blocks, cells, leaves
from nnqft.spec.model import Scan
from nnqft.stages.layout import Layout
from nnqft.stages.status import cell_status, generated, stage_status

NEURONS_PER_SECOND = {"float32": 5e7, "float64": 3e7}
"""Neurons times points / 6 a core-second, rough: measured on one server core, for the estimate of `plan` only."""
NETWORK_SECONDS = 1.0e-6


def show_plan(config: Path) -> None:
    """Print points, blocks, networks and what they cost."""
    scan, _ = _read(config)
    table = _table("architecture", "width", "blocks", "networks", "core-s")
    total = 0.0
    for cell in cells(scan):
        seconds = _seconds(scan, cell)
        total += seconds
        table.add_row(cell.architecture.name, str(cell.width), str(blocks(scan)),
                      f"{blocks(scan) * cell.block:,}", f"{seconds:.1f}")  # fmt: skip
    console = _console()
    console.print(table)
    sizes = [statistics_bytes(len(a.coordinates), max(scan.cumulants.orders)) for a in architectures(scan)]
    disk = sum(sizes) * len(scan.widths) * blocks(scan)
    points = max(len(a.coordinates) for a in architectures(scan))
    memory = max(sizes) * 4 + scan.ensemble.block * 8 * points * (points + 1)
    points_of_scan = len(cells(scan))
    console.print(f"{len(leaves(scan))} leaves, {points_of_scan} scan points, {points_of_scan * blocks(scan)} blocks")
    console.print(f"about {total:.0f} core-seconds of sampling, {memory / 2**20 + 400:.0f} MiB a worker, "
                  f"{disk / 2**20:.0f} MiB on disk")  # fmt: skip


def show_status(config: Path) -> None:
    """Print the state of every scan point and stage."""
    scan, layout = _read(config)
    table = _table("architecture", "width", "done", "missing", "corrupt", "networks")
    for s in cell_status(scan, layout, thorough=True):
        numbers = (s.width, s.done, s.missing, s.corrupt)
        table.add_row(s.architecture, *map(str, numbers), f"{s.networks:,}")
    console = _console()
    console.print(table)
    for stage, state in stage_status(scan, layout).items():
        console.print(f"{stage}: {state}")


def show_verification(config: Path) -> int:
    """Print what `verify` found; 0 when nothing failed."""
    from nnqft.stages.verify import verify

    scan, layout = _read(config)
    if not generated(scan, layout):
        typer.echo(f"{layout.root}: not finished for this scan file; see nnqft status {config}")
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


def _seconds(scan: Scan, cell) -> float:
    networks = blocks(scan) * cell.block
    work = cell.width * cell.architecture.depth * len(cell.architecture.coordinates) / 6
    if cell.sampler == "weights":
        work *= max(1, cell.width / 6)
    return networks * (NETWORK_SECONDS + work / NEURONS_PER_SECOND[cell.precision])


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="")
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    return table


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)
