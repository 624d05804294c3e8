"""Faults of files: what a bad disk, a full one, a careless hand or a wrong clock leave behind."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

Rng = np.random.Generator
Damaged = set[Path]
"""Count chunks of the blocks that may have to be computed again."""
Fault = Callable[[Path, Rng], Damaged]


def truncate(path: Path, rng: Rng) -> None:
    """Cut a file short somewhere."""
    data = path.read_bytes()
    path.write_bytes(data[: rng.integers(1, len(data))])


def flip(path: Path, rng: Rng) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    path.write_bytes(bytes(data))


def empty(path: Path, rng: Rng) -> None:
    """Leave nothing in a file."""
    path.write_bytes(b"")


def delete(path: Path, rng: Rng) -> None:
    """Remove a file."""
    path.unlink()


def edit(path: Path, rng: Rng) -> None:
    """Change one number of a JSON file by hand: the file stays well-formed."""
    content = json.loads(path.read_text(encoding="utf-8"))
    cells = content.get("cells")
    if cells and "blocks" in cells[0]:
        cells[0]["blocks"] //= 2
    elif cells:
        cells[0]["centre"][0] += 0.25
        cells.reverse()
    else:
        content["sha256"] = "0" * 64
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")


WAYS = {"truncated": truncate, "flipped": flip, "emptied": empty, "deleted": delete}


def _one(rng: Rng, root: Path, pattern: str) -> Path:
    found = sorted(root.glob(pattern))
    found = [path for path in found if path.is_file()] or found
    return found[rng.integers(len(found))]


def _file(pattern: str, way: Callable[[Path, Rng], None]) -> Fault:
    def fault(root: Path, rng: Rng) -> Damaged:
        way(_one(rng, root, pattern), rng)
        return set()

    return fault


def _chunk(array: str, way: Callable[[Path, Rng], None]) -> Fault:
    def fault(root: Path, rng: Rng) -> Damaged:
        count = _one(rng, root, "leaves/*/blocks.zarr/count/c/*/*/0")
        row, block = count.parts[-3:-1]
        way(next(p for p in (count.parents[4] / array / "c" / row / block).rglob("0*") if p.is_file()), rng)
        return {count}

    return fault


def _both_indexes(root: Path, rng: Rng) -> Damaged:
    leaf = _one(rng, root, "leaves/*")
    for name in ("index.json", "index.copy.json"):
        (leaf / name).unlink()
    return set(leaf.glob("blocks.zarr/count/c/*/*/0"))


def _half_resized(root: Path, rng: Rng) -> Damaged:
    """As a crash between the resizes of two arrays: one of them has the room of an earlier, smaller budget."""
    path = _one(rng, root, "leaves/*/blocks.zarr/*/zarr.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["shape"][1] //= 2
    content["shape"][0] = 1
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return set()


def _leftovers(root: Path, rng: Rng) -> Damaged:
    """Files half-written by writers that were killed, in a leaf that was not finished."""
    leaf = _one(rng, root, "leaves/*")
    dead = 2**22 + 1  # above the largest number of a process
    for name in ("manifest.json", "index.json"):
        (leaf / f".{name}.{dead}.tmp").write_bytes(b"{")
    (_one(rng, leaf, "blocks.zarr/moments/c/*/*").joinpath("0") / "0.0123456789abcdef.partial").write_bytes(b"x")
    new = root / f".cumulants.zarr.new.{dead}"
    new.mkdir()
    (new / "zarr.json").write_bytes(b"{")
    (leaf / "manifest.json").unlink()
    return set()


def _lost_store(root: Path, rng: Rng) -> Damaged:
    shutil.rmtree(_one(rng, root, "*.zarr"))
    return set()


def _lost_blocks(root: Path, rng: Rng) -> Damaged:
    leaf = _one(rng, root, "leaves/*")
    gone = set(leaf.glob("blocks.zarr/count/c/*/*/0"))
    shutil.rmtree(leaf / "blocks.zarr")
    return gone


def _dates(seconds: float) -> Fault:
    """A clock that was set: the dates of half of all files are off (the clock itself stays as it is)."""

    def fault(root: Path, rng: Rng) -> Damaged:
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            if rng.random() < 0.5:
                date = path.stat().st_mtime + seconds
                os.utime(path, (date, date))
        return set()

    return fault


FAULTS: dict[str, Fault] = {
    **{f"{array} chunk {name}": _chunk(array, way) for array in ("moments", "tail", "count")
       for name, way in WAYS.items()},
    **{f"metadata of {array} {name}": _file(f"leaves/*/blocks.zarr/{array}/zarr.json", way)
       for array in ("moments", "tail", "count") for name, way in WAYS.items()},
    **{f"metadata of group {name}": _file("leaves/*/blocks.zarr/zarr.json", way) for name, way in WAYS.items()},
    **{f"{file} {name}": _file(f"leaves/*/{file}", way) for file in ("index.json", "index.copy.json", "manifest.json")
       for name, way in (WAYS | {"edited": edit}).items()},
    **{f"receipt {name}": _file("receipts/*.json", way) for name, way in (WAYS | {"edited": edit}).items()},
    **{f"product chunk {name}": _file("*.zarr/line/*/c/**/0", way) for name, way in WAYS.items()},
    **{f"product metadata {name}": _file("*.zarr/**/zarr.json", way) for name, way in WAYS.items()},
    "both indexes deleted": _both_indexes,
    "resize interrupted": _half_resized,
    "leftovers of killed writers": _leftovers,
    "product deleted": _lost_store,
    "blocks.zarr deleted": _lost_blocks,
    "dates a day ahead": _dates(86400.0),
    "dates forty years back": _dates(-40 * 3.15e7),
}  # fmt: skip
