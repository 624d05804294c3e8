"""Faults of files, tried on copies of a finished scan: nothing wrong is used, and a run mends it."""

import shutil
import zlib
from pathlib import Path

import numpy as np

from chaos.damage import FAULTS
from chaos.small import Contents, commits, contents, differences, resume, rewritten, small_scan
from chaos.table import Row
from nnqft.core.errors import DamageError
from nnqft.stages.layout import Layout
from nnqft.stages.pipeline import PRODUCTS


def try_fault(finished: Path, wanted: Contents, folder: Path, name: str, turn: int) -> Row:
    """Damage a copy; let a stage read it as plain Snakemake would; mend it as `nnqft run` would; compare."""
    row = Row(name, tried=1)
    rng = np.random.default_rng([turn, zlib.crc32(name.encode())])
    plain, root = folder / "plain", folder / "mended"
    shutil.copytree(finished, plain, copy_function=shutil.copy2)
    damaged = {path.relative_to(plain) for path in FAULTS[name](plain, rng)}
    shutil.copytree(plain, root, copy_function=shutil.copy2)
    used = [f for stage in ("cumulants", "ensemble") for f in _used(stage, plain, wanted)]
    intact = {path: times for path, times in commits(root).items() if path.relative_to(root) not in damaged}
    try:
        resume(root)
        row.survived = 1
    except Exception as error:
        row.notes.append(f"{type(error).__name__}: {error}")
    changed = differences(root, wanted)
    row.changed = len(changed) + len(used)
    row.recomputed = rewritten(root, intact)
    row.notes += [*changed[:3], *(f"used though damaged: {f}" for f in used[:3])]
    shutil.rmtree(plain)
    shutil.rmtree(root)
    return row


def _used(stage: str, plain: Path, wanted: Contents) -> list[str]:
    """Files of a product that come out otherwise when it is made of damaged files; none when these are refused."""
    try:
        PRODUCTS[stage](small_scan(), Layout(plain))
    except (DamageError, FileNotFoundError):
        return []
    except Exception as error:  # no message of ours
        return [f"{stage}: {type(error).__name__}: {error}"]
    return [f for f, data in contents(plain).items() if f.startswith(f"{stage}.zarr/") and data != wanted.get(f)]


def try_often(finished: Path, wanted: Contents, folder: Path, name: str, turns: int, seed: int) -> Row:
    """One fault some times, each at another place."""
    total = Row(name)
    for turn in range(seed, seed + turns):
        total.add(try_fault(finished, wanted, folder, name, turn))
    return total
