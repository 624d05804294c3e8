"""The store of one leaf: zarr arrays indexed (cell row, block, ...), filled by many workers, described by one driver.

Layout of ``<leaf>/``: ``blocks.zarr`` with arrays moments (row, block, sub-batch, statistic), tail (row, block, value)
and count (row, block, sub-batch), one chunk a block; ``index.json``, the append-only list of cells; ``devices/``, a
file for each kind of device that ever computed here; ``manifest.json``, the receipt. A block is committed by its count
chunk, which is written last: count > 0 says that the rest is there. All chunks carry a crc32c, so a read finds what a
listing cannot. Rows are found by content hash: a changed configuration never meets, mixes with or overwrites what
another one left.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec

from nnqft.core.hashing import canonical_json
from nnqft.storage.files import write_atomic, write_json

ARRAYS = ("moments", "tail", "count")


@dataclass(frozen=True)
class Row:
    """A cell's place in the store and the constants its statistics were taken with."""

    index: int
    identity: str
    varying: dict[str, Any]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]


@dataclass(frozen=True)
class LeafStore:
    """Handle of one leaf's folder. Plain data: it can travel to a worker."""

    folder: Path

    @property
    def _group(self) -> Path:
        return self.folder / "blocks.zarr"

    @property
    def manifest(self) -> Path:
        """The leaf's receipt, which the workflow tracks."""
        return self.folder / "manifest.json"

    @property
    def lock(self) -> Path:
        """The file whose lock makes this process the one metadata writer."""
        return self.folder / "lock"

    def rows(self) -> dict[str, Row]:
        """All cells ever stored here, by identity."""
        path = self.folder / "index.json"
        if not path.exists():
            return {}
        entries = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return {
            e["identity"]: Row(i, e["identity"], e["varying"], np.array(e["centre"]), np.array(e["scale"]))
            for i, e in enumerate(entries)
        }

    def grow(
        self, static: dict[str, Any], new: Sequence[dict[str, Any]], blocks: int, shapes: dict[str, tuple[int, ...]]
    ) -> None:
        """Append cells and make room for `blocks` blocks of every cell (driver only, under the lock).

        new: mappings with identity, varying, centre and scale (lists). shapes: trailing shape of each array.
        """
        known = self.rows()
        entries = [
            {"identity": r.identity, "varying": r.varying, "centre": r.centre.tolist(), "scale": r.scale.tolist()}
            for r in known.values()
        ]
        if new or not (self.folder / "index.json").exists():
            write_json(self.folder / "index.json", {"static": static, "cells": [*entries, *new]})
        rows = len(known) + len(new)
        group = zarr.open_group(self._group, mode="a")
        if canonical_json(dict(group.attrs).get("static")) != canonical_json(static):
            group.attrs["static"] = static
        for name in ARRAYS:
            shape = shapes[name]
            if name not in group:
                _create(group, name, (rows, blocks, *shape))
                continue
            array = _array(group, name)
            wanted = (max(rows, array.shape[0]), max(blocks, array.shape[1]), *shape)
            if array.shape != wanted:
                array.resize(wanted)

    def commit(self, row: int, block: int, moments: NDArray, tail: NDArray, count: NDArray) -> None:
        """Write one block: data first, the count that commits it last."""
        arrays = self._arrays("r+")
        for name, value in (("moments", moments), ("tail", tail), ("count", count)):
            arrays[name][row, block] = value

    def read(self, row: int, blocks: Iterable[int]) -> dict[str, NDArray]:
        """Arrays (blocks, ...) of one cell, every chunk checked.

        Raises:
            CorruptBlockError: naming the first block that is missing, incomplete or fails its checksum.
        """
        arrays = self._arrays("r")
        found: dict[str, list[NDArray]] = {name: [] for name in ARRAYS}
        for block in blocks:
            values = _read_block(arrays, row, block)
            if values is None:
                raise CorruptBlockError(self.folder, row, block)
            for name in ARRAYS:
                found[name].append(values[name])
        return {name: np.stack(values) for name, values in found.items()}

    def good(self, row: int, blocks: int) -> tuple[NDArray[np.bool_], list[str]]:
        """Which of the first `blocks` blocks are committed and intact, and the digest of each (empty where not)."""
        arrays = self._arrays("r")
        digests = []
        for block in range(blocks):
            values = _read_block(arrays, row, block)
            digests.append("" if values is None else _digest(values))
        return np.array([bool(d) for d in digests]), digests

    def devices(self) -> list[str]:
        """Kinds of devices that ever committed a block to this leaf, sorted."""
        folder = self.folder / "devices"
        found = (p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else ()
        return sorted(p.read_text(encoding="utf-8").strip() for p in found)

    def mark_device(self, kind: str) -> None:
        """Say that a kind of device computes blocks of this leaf; any process, before its first commit."""
        path = self.folder / "devices" / re.sub(r"[^0-9A-Za-z]+", "-", kind)
        if not path.exists():
            write_atomic(path, kind + "\n")

    def intact(self, row: int, block: int) -> bool:
        """Whether one block is committed and passes its checks."""
        return _read_block(self._arrays("r"), row, block) is not None

    def committed(self, row: int, blocks: int) -> NDArray[np.bool_]:
        """Which of the first `blocks` blocks carry their commit mark (cheap: reads the counts only)."""
        arrays = self._arrays("r")
        marks = np.zeros(blocks, dtype=bool)
        for block in range(min(blocks, arrays["count"].shape[1])):
            marks[block] = _safely(arrays, "count", row, block) is not None
        return marks

    def blocks(self, most: int) -> int:
        """Blocks that there is room for, at most so many."""
        return min(most, self._arrays("r")["count"].shape[1])

    def _arrays(self, mode: Literal["r", "r+"]) -> dict[str, zarr.Array]:
        group = zarr.open_group(self._group, mode=mode)
        return {name: _array(group, name) for name in ARRAYS}


class CorruptBlockError(RuntimeError):
    """A block that should be there cannot be trusted."""

    def __init__(self, folder: Path, row: int, block: int):
        super().__init__(f"{folder}: block {block} of row {row} is missing or damaged; run the scan again to mend it")


def _array(group: zarr.Group, name: str) -> zarr.Array:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is no array")
    return array


def _create(group: zarr.Group, name: str, shape: tuple[int, ...]) -> None:
    group.create_array(
        name,
        shape=shape,
        chunks=(1, 1, *shape[2:]),
        dtype="int64" if name == "count" else "float64",
        fill_value=0 if name == "count" else np.nan,
        serializer=BytesCodec(endian="little"),
        compressors=[ZstdCodec(level=1), Crc32cCodec()],
    )


def _read_block(arrays: dict[str, zarr.Array], row: int, block: int) -> dict[str, NDArray] | None:
    if block >= arrays["count"].shape[1]:
        return None
    values: dict[str, NDArray] = {}
    for name in reversed(ARRAYS):
        if (value := _safely(arrays, name, row, block)) is None:
            return None
        values[name] = value
    return values


def _safely(arrays: dict[str, zarr.Array], name: str, row: int, block: int) -> NDArray | None:
    """A chunk, or None where it is absent or fails its checks (whatever the codec raises)."""
    try:
        value = np.asarray(arrays[name][row, block])
    except Exception:
        return None
    present = value.sum() > 0 if name == "count" else np.isfinite(value).all()
    return value if present else None


def _digest(values: dict[str, NDArray]) -> str:
    sha = hashlib.sha256()
    for name in ARRAYS:
        sha.update(np.ascontiguousarray(values[name]).tobytes())
    return sha.hexdigest()
