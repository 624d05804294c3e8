"""The store of one leaf: zarr arrays indexed (cell row, block, ...), filled by many workers, described by one driver.

Layout of ``<leaf>/``: ``blocks.zarr`` with arrays moments (row, block, sub-batch, statistic), tail (row, block, value)
and count (row, block, sub-batch), one chunk a block; ``index.json``, the append-only list of cells; ``manifest.json``,
the receipt. A block is committed by its count chunk, which is written last: count > 0 says that the rest is there. All
chunks carry a crc32c, so a read finds what a listing cannot. Rows are found by content hash: a changed configuration
never meets, mixes with or overwrites what another one left.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec

from nnqft.core.hashing import canonical_json
from nnqft.storage.chunks import LEVEL, ChunkedArray, chunked
from nnqft.storage.files import write_json

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
        arrays = self._arrays()
        for name, value in (("moments", moments), ("tail", tail), ("count", count)):
            arrays[name].write(row, block, value)

    def read(self, row: int, blocks: Iterable[int]) -> dict[str, NDArray]:
        """Arrays (blocks, ...) of one cell, every chunk checked.

        Raises:
            CorruptBlockError: naming the first block that is missing, incomplete or fails its checksum.
        """
        arrays = self._arrays()
        found: dict[str, list[NDArray]] = {name: [] for name in ARRAYS}
        for block in blocks:
            values = _read_block(arrays, row, block)
            if values is None:
                raise CorruptBlockError(self.folder, row, block)
            for name in ARRAYS:
                found[name].append(values[name])
        return {name: np.stack(values) for name, values in found.items()}

    def sound(self, row: int, blocks: int) -> NDArray[np.bool_]:
        """Which of the first `blocks` blocks are committed and intact: all chunks are read."""
        arrays = self._arrays()
        return np.array([_read_block(arrays, row, block) is not None for block in range(blocks)], dtype=bool)

    def good(self, row: int, blocks: int) -> tuple[NDArray[np.bool_], list[str]]:
        """:meth:`sound`, and the digest of each block (empty where it is not)."""
        arrays = self._arrays()
        digests = []
        for block in range(blocks):
            values = _read_block(arrays, row, block)
            digests.append("" if values is None else _digest(values))
        return np.array([bool(d) for d in digests], dtype=bool), digests

    def intact(self, row: int, block: int) -> bool:
        """Whether one block is committed and passes its checks."""
        return _read_block(self._arrays(), row, block) is not None

    def committed(self, row: int, blocks: int) -> NDArray[np.bool_]:
        """Which of the first `blocks` blocks carry their commit mark, with files for the rest (reads counts only)."""
        arrays = self._arrays()
        marks = np.zeros(blocks, dtype=bool)
        for block in range(min(blocks, arrays["count"].shape[1])):
            there = arrays["moments"].exists(row, block) and arrays["tail"].exists(row, block)
            marks[block] = there and _checked(arrays, "count", row, block) is not None
        return marks

    def marked(self, row: int, blocks: int) -> NDArray[np.bool_]:
        """Which of the first `blocks` blocks have a file for their commit mark, sound or not."""
        count = self._arrays()["count"]
        return np.array([block < count.shape[1] and count.exists(row, block) for block in range(blocks)], dtype=bool)

    def blocks(self, most: int) -> int:
        """Blocks that there is room for, at most so many."""
        return min(most, self._arrays()["count"].shape[1])

    def _arrays(self) -> dict[str, ChunkedArray]:
        folder = str(self.folder)
        return {name: chunked(f"{folder}/blocks.zarr/{name}") for name in ARRAYS}


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
        compressors=[ZstdCodec(level=LEVEL), Crc32cCodec()],
    )


def _read_block(arrays: dict[str, ChunkedArray], row: int, block: int) -> dict[str, NDArray] | None:
    if block >= arrays["count"].shape[1]:
        return None
    values: dict[str, NDArray] = {}
    for name in reversed(ARRAYS):
        if (value := _checked(arrays, name, row, block)) is None:
            return None
        values[name] = value
    return values


def _checked(arrays: dict[str, ChunkedArray], name: str, row: int, block: int) -> NDArray | None:
    """A chunk, or None where it is absent or fails its checks."""
    value = arrays[name].read(row, block)
    if value is None:
        return None
    present = value.sum() > 0 if name == "count" else np.isfinite(value).all()
    return value if present else None


def _digest(values: dict[str, NDArray]) -> str:
    sha = hashlib.sha256()
    for name in ARRAYS:
        sha.update(np.ascontiguousarray(values[name]).tobytes())
    return sha.hexdigest()
