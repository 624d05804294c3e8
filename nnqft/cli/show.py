"""What `plan`, `status`, `verify` and `compare` print: text for people, or one JSON object (docs/commands.md)."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from nnqft.spec.model import Scan
from nnqft.stages.check import load_config
from nnqft.stages.layout import Layout, layout
from nnqft.stages.plan import plan
from nnqft.stages.status import cell_status, generated, stage_status

NOTES = 20
"""Differences that `compare` prints at most."""


def show_plan(config: Path, as_json: bool) -> None:
    """Print points, blocks, networks and what they cost."""
    scan, _ = _read(config)
    found = plan(scan)
    if as_json:
        _json("plan", found)
        return
    columns = "architecture", "width", "estimator", "blocks", "networks", "core-s"
    rows = (
        (c["architecture"], str(c["width"]), c["estimator"], _range(c["blocks"]), _range(c["networks"]),
         f"{c['core_seconds']:.1f}")
        for c in found["cells"]
    )  # fmt: skip
    _table(columns, rows)
    if found["target"]:
        goals = ", ".join(f"{name} to {100 * goal:g}%" for name, goal in found["target"].items())
        pilot = found["cells"][0]["blocks"]["least"]
        typer.echo(f"target: {goals}; each cell starts with {pilot} blocks and stops there or at the ceiling")
    typer.echo(f"{found['leaves']} leaves, {found['scan_points']} scan points, {_range(found['blocks'])} blocks")
    upper = "at most " if found["target"] else ""
    typer.echo(
        f"about {upper}{found['core_seconds']:.0f} core-seconds of sampling, {found['worker_MiB']:.0f} MiB a worker, "
        f"{upper}{found['disk_MiB']:.0f} MiB on disk in {found['disk_files']:,} files; "
        f"{found['dense_MiB']:.0f} MiB in the dense stores"
    )


def show_status(config: Path, quick: bool, as_json: bool) -> None:
    """Print the state of every scan point and stage."""
    scan, layout = _read(config)
    cells, stages = cell_status(scan, layout, thorough=not quick), stage_status(scan, layout)
    if as_json:
        keys = ("done", "missing", "corrupt", "networks")
        totals = {key: sum(getattr(c, key) for c in cells) for key in keys}
        content = {"totals": totals, "stages": stages, "cells": list(map(asdict, cells))}
        _json("status", {"scan": scan.name, "read_all": not quick} | content)
        return
    columns = "architecture", "width", "done", "missing", "corrupt", "networks"
    _table(columns, ((s.architecture, *map(str, (s.width, s.done, s.missing, s.corrupt)), f"{s.networks:,}")
                     for s in cells))  # fmt: skip
    for stage, state in stages.items():
        typer.echo(f"{stage}: {state}")


def show_verification(config: Path, as_json: bool) -> int:
    """Print what `verify` found; 0 when nothing failed."""
    from nnqft.stages.verify import verify

    scan, layout = _read(config)
    if not generated(scan, layout):
        why = "not finished for this scan file, or a manifest is damaged"
        message = f"{layout.root}: {why}; see nnqft status {config}"
        if as_json:
            _json("verify", {"scan": scan.name, "verified": False, "failures": [message], "summary": []})
        else:
            typer.echo(message)
        return 1
    found = verify(scan, layout)
    if as_json:
        _json("verify", {"scan": scan.name, "verified": not found.failures} | asdict(found))
        return 1 if found.failures else 0
    for line in found.summary:
        typer.echo(line)
    for line in found.failures:
        typer.echo(f"FAILED  {line}")
    if not found.failures:
        typer.echo("verified: all chunks match their checksums; estimates agree with theory")
    return 1 if found.failures else 0


def show_comparison(a: Path, b: Path, as_json: bool) -> int:
    """Print how two result folders compare; 1 when they are different."""
    from nnqft.stages.compare import VERDICTS, compare

    verdict, notes = compare(a, b)
    different = verdict == VERDICTS[-1]
    if as_json:
        _json("compare", {"a": str(a), "b": str(b), "verdict": verdict, "different": different, "notes": notes})
        return 1 if different else 0
    for note in notes[:NOTES]:
        typer.echo(note)
    if len(notes) > NOTES:
        typer.echo(f"... and {len(notes) - NOTES} more")
    typer.echo(verdict)
    return 1 if different else 0


def _read(config: Path) -> tuple[Scan, Layout]:
    scan = load_config(config)
    return scan, layout(scan.name)


def _json(command: str, content: dict[str, Any]) -> None:
    typer.echo(json.dumps({"command": command} | content, allow_nan=False))


def _range(numbers: dict[str, int]) -> str:
    least, most = numbers["least"], numbers["most"]
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns two blanks apart, all but the first flush right."""
    lines = [columns, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        padded = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        typer.echo("  ".join([first.ljust(widths[0]), *padded]))
