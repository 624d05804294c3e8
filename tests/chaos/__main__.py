"""`python -m chaos [--kills N] [--seed N] [--turns N] [--only TEXT]`: a table; exit 1 if a row is not clean."""

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from chaos import damage, kills, memory, mending, runs, small
from chaos.table import HEADER, Row

OUTPUT = Path("results/bench/chaos.json")


def main() -> int:
    """Print rows as they come and write them to results/bench/chaos.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="kills of the driver alone, at least (200)")
    parser.add_argument("--turns", type=int, default=2, help="times that every other fault is tried (2)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and places of faults (1)")
    parser.add_argument("--only", default="", help="groups of faults: kills, memory, damage, runs (all)")
    options = parser.parse_args()
    begun, rows = time.monotonic(), []
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory(prefix="nnqft-chaos-") as folder:
        for row in faults(Path(folder), options):
            print(row.line(), flush=True)
            rows.append(row)
    clean = all(row.clean for row in rows)
    seconds = time.monotonic() - begun
    context = {"seed": options.seed, "seconds": round(seconds), "cores": os.cpu_count()}
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps({"context": context, "found": [asdict(row) for row in rows]}, indent=1) + "\n")
    print(f"{sum(row.tried for row in rows)} faults in {seconds / 60:.0f} minutes: {'clean' if clean else 'NOT clean'}")
    return 0 if clean else 1


def faults(folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """The rows of all groups that were asked for."""
    wanted = {"kills", "memory", "damage", "runs"} & set(options.only.split(",")) or ({
        "kills", "memory", "damage", "runs"} if not options.only else set())  # fmt: skip
    if not wanted:
        raise SystemExit(f"--only {options.only}: is no group; use kills, memory, damage or runs")
    finished = folder / "undisturbed"
    small.resume(finished)
    everything = small.contents(finished)
    leaves = {name: data for name, data in everything.items() if name.startswith("leaves/")}
    if "kills" in wanted:
        yield from kills.random_kills(folder, leaves, options.kills, options.seed)
    if "memory" in wanted:
        yield memory.starvation(folder, leaves)
    if "damage" in wanted:
        for name in damage.FAULTS:
            yield mending.try_often(finished, everything, folder / "damage", name, options.turns, options.seed)
    if "runs" in wanted:
        root = runs.prepare(folder / "whole")
        if runs.start(folder / "whole").wait(runs.PATIENCE):
            raise SystemExit(f"the undisturbed run failed: {runs.tail(folder / 'whole')}")
        whole = small.contents(root)
        shutil.rmtree(folder / "whole")
        for fault in runs.others(folder, whole).values():
            yield fault()
        yield from runs.kills(folder, whole, options.seed, options.turns)


if __name__ == "__main__":
    raise SystemExit(main())
