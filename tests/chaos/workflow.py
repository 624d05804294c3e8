"""Damage met by the real Snakemake: plain `snakemake` uses nothing that is damaged, `nnqft run` mends it."""

import shutil
import sys
from pathlib import Path

import numpy as np

from chaos import runs
from chaos.damage import FAULTS
from chaos.small import Contents, commits, contents, rewritten
from chaos.table import Row

CLASSES = {
    "chunk": ("moments chunk flipped", "tail chunk truncated", "count chunk deleted", "moments chunk emptied"),
    "manifest": ("manifest.json edited", "manifest.json truncated", "manifest.json deleted"),
    "index": ("index.json edited", "both indexes deleted", "metadata of moments emptied", "blocks.zarr deleted"),
    "product": ("product chunk flipped", "product chunk deleted", "product metadata emptied", "receipt edited"),
}
STAGES = ("assemble", "cumulants")
"""Stages that plain Snakemake is made to repeat, one a turn: what each of them reads may be damaged."""
PLAIN = [sys.executable, "-m", "snakemake", "--snakefile", str(Path(__file__).parents[2] / "Snakefile"), "--configfile",
         "scan.yaml", "--cores", "2"]  # fmt: skip


def targets_of(wanted: Contents) -> list[str]:
    """Everything that is tracked: Snakemake does not make again what is missing behind a target that is there."""
    tracked = [name for name in wanted if name.startswith("receipts/") or name.endswith("/manifest.json")]
    return [f"results/chaos/{name}" for name in sorted(tracked)]


def damaged_often(finished: Path, folder: Path, wanted: Contents, kind: str, seed: int, turns: int) -> Row:
    """Random faults of a kind, each in a copy of a whole finished run."""
    rng = np.random.default_rng([seed, len(kind)])
    total = Row(f"{kind} damaged, snakemake, then nnqft run")
    for name in rng.permutation(CLASSES[kind])[:turns]:
        total.add(damaged(finished, folder, wanted, str(name), rng))
    return total


def damaged(finished: Path, folder: Path, wanted: Contents, name: str, rng: np.random.Generator) -> Row:
    """One fault: what plain Snakemake makes of it, and whether `nnqft run` mends it."""
    row = Row(name)
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    root = folder / "results" / "chaos"
    gone = FAULTS[name](root, rng)
    intact = {path: times for path, times in commits(root).items() if path not in gone}
    before = contents(root)
    targets = targets_of(wanted)
    stage = STAGES[int(name in CLASSES["product"])]
    code = runs.end(runs.start(folder, [*PLAIN, *targets, "--forcerun", stage], NNQFT_CLUSTER="inline"))
    said = (folder / "run.log").read_text(errors="replace")
    there = contents(root)
    made = [f for f in there if there[f] != before.get(f) and there[f] != wanted.get(f) and ".zarr/" in f]
    row.recomputed += rewritten(root, intact)
    runs.finish(folder, row, wanted, intact, [*runs.NNQFT, *targets])
    row.changed += len(made)
    row.notes += [f"{name}: plain snakemake made {f} of damaged files" for f in made[:2]]
    if code is None or (code and "Error" not in said):
        row.survived -= 1
        row.notes.append(f"{name}: plain snakemake left with {code} and no message")
    shutil.rmtree(folder)
    return row
