"""`python -m chaos [--kills N] [--seed N] [--turns N] [--only GROUPS]`: a table; exit 1 if a row is not clean.

Two lanes go side by side: in one every fault is a second or less (functions, or a driver forked from an interpreter
that has imported everything), in the other each is a whole `nnqft run`.
"""

import argparse
import json
import logging
import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path

from chaos import clock, clusters, damage, kills, memory, mending, runs, small, workflow
from chaos.table import HEADER, Row, total

OUTPUT = Path("results/bench/chaos.json")
SMALL = ("kills", "memory", "damage", "clusters")
WHOLE = ("runs", "clock", "workflow")


def main() -> int:
    """Print rows as they come and write them to results/bench/chaos.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="kills of the driver alone, at least (200)")
    parser.add_argument("--turns", type=int, default=2, help="times that every other fault is tried (2)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and places of faults (1)")
    parser.add_argument("--only", default="", help=f"groups of faults: {', '.join(SMALL + WHOLE)} (all)")
    options = parser.parse_args()
    options.groups = set(options.only.split(",") if options.only else SMALL + WHOLE)
    if unknown := options.groups - set(SMALL + WHOLE):
        parser.error(f"--only: {', '.join(sorted(unknown))}: no such group")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it, and so would runs
    logging.getLogger("nnqft").setLevel(logging.ERROR)
    begun, rows = time.monotonic(), []
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory(prefix="nnqft-chaos-") as name, ThreadPoolExecutor(2) as pool:
        lanes = [pool.submit(shown, lane(Path(name), options), rows) for lane in (small_faults, whole_runs)]
        for lane in as_completed(lanes):
            lane.result()
    seconds = time.monotonic() - begun
    clean = bool(rows) and all(row.clean for row in rows)
    context = {"seed": options.seed, "seconds": round(seconds), "cores": os.cpu_count()}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps({"context": context, "found": [asdict(row) for row in rows]}, indent=1) + "\n")
    print(total(rows).line())
    print(f"{seconds / 60:.0f} minutes: {'clean' if clean else 'NOT clean'}")
    return 0 if clean else 1


def shown(lane: Iterator[Row], rows: list[Row]) -> None:
    """Print the rows of one lane and keep them."""
    begun = time.monotonic()
    for row in lane:
        row.seconds, begun = round(time.monotonic() - begun, 1), time.monotonic()
        rows.append(row)
        print(row.line(), flush=True)


def small_faults(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Faults of functions and of a driver in a process of its own."""
    if {"kills", "memory", "damage"} & options.groups:
        finished = folder / "undisturbed"
        small.resume(finished)
        everything = small.contents(finished)
        leaves = {name: data for name, data in everything.items() if name.startswith("leaves/")}
        if "kills" in options.groups:
            yield from kills.random_kills(folder, leaves, options.kills, options.seed)
        if "memory" in options.groups:
            yield memory.starvation(folder, leaves)
        if "damage" in options.groups:
            for name in damage.FAULTS:
                yield mending.try_often(finished, everything, folder / "damage", name, options.turns, options.seed)
    if "clusters" in options.groups:
        small.generate(str(folder / "larger"), **small.LARGER)
        leaves = small.contents(folder / "larger")
        yield from clusters.killed(folder, leaves, options.seed, options.turns)
        yield from clusters.starved(folder, leaves, options.seed, options.turns)


def whole_runs(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Faults of whole runs with Snakemake, workers and all."""
    if not options.groups & (set(WHOLE) | {"clusters"}):
        return
    finished = folder / "whole"
    root = runs.prepare(finished)
    if runs.end(runs.start(finished)) != 0:
        raise SystemExit(f"the undisturbed run failed: {runs.tail(finished)}")
    wanted = small.contents(root)
    if "runs" in options.groups:
        for fault in (*runs.others(folder, wanted), *runs.kills(folder, wanted, options.seed, options.turns)):
            yield fault()
    if "clusters" in options.groups:
        after = random.Random(options.seed).randint(1, 400)
        yield clusters.whole_run(folder / "scheduler", wanted, after)
    if "clock" in options.groups:
        for fault in clock.rows(folder, wanted, options.seed):
            yield fault()
    if "workflow" in options.groups:
        for kind in workflow.CLASSES:
            yield workflow.damaged_often(finished, folder / "workflow", wanted, kind, options.seed, options.turns)
    shutil.rmtree(finished)


if __name__ == "__main__":
    raise SystemExit(main())
