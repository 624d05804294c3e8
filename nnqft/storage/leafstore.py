"""The store of one leaf: zarr arrays indexed (cell row, block, ...), filled by many workers, described by one driver.

Layout of a leaf: ``blocks.zarr`` with arrays moments (row, block, sub-batch, statistic), tail (row, block, value) and
count (row, block, sub-batch), one chunk a block; ``index.json`` and its copy, the append-only list of cells;
``devices/``, a file for each kind of device that ever computed here. They are in the leaf's folder, or in an object
store; ``manifest.json``, the receipt, and the lock are always in the folder. A block is
committed by its count chunk, which is written last: count > 0 says that the rest is there. All chunks carry a crc32c,
so a read finds what a listing cannot. Rows are found by content hash: a changed configuration never meets, mixes with
or overwrites what another one left.
"""

import hashlib
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnqft.core.errors import DamageError
from nnqft.storage.leafarrays import ARRAYS, Arrays, as_written, grow_arrays, open_arrays, sound_arrays
from nnqft.storage.leafindex import Row, as_rows, both_whole, mend_index, read_index
from nnqft.storage.place import Folder, Place

log = logging.getLogger("nnqft")


@dataclass(frozen=True)
class LeafStore:
    """Handle of one leaf: the folder of its receipt and lock, and where its data are (there, unless said otherwise).

    Plain data: it can travel to a worker.
    """

    folder: Path
    elsewhere: Place | None = None

    @property
    def data(self) -> Place:
        """Where index, blocks and devices are."""
        return self.elsewhere or Folder(str(self.folder))

    @property
    def _group(self) -> Place:
        return self.data / "blocks.zarr"

    def absolute(self) -> "LeafStore":
        """The same from any working directory."""
        return LeafStore(self.folder.absolute(), self.elsewhere)

    @property
    def manifest(self) -> Path:
        """The leaf's receipt, which the workflow tracks."""
        return self.folder / "manifest.json"

    @property
    def lock(self) -> Path:
        """The file whose lock makes this process the one metadata writer."""
        return self.folder / "lock"

    def rows(self) -> dict[str, Row]:
        """All cells ever stored here, by identity; none where the index and its copy are lost."""
        return as_rows(read_index(self.data) or [])

    def grow(
        self, static: dict[str, Any], new: Sequence[dict[str, Any]], blocks: int, shapes: dict[str, tuple[int, ...]]
    ) -> None:
        """Append cells and make room for `blocks` blocks of every cell (driver only, under the lock).

        Damaged metadata are made again. Blocks that no index names any more are set aside: nobody can tell whose they
        are. new: mappings with identity, varying, centre and scale (lists). shapes: trailing shape of each array.
        """
        if read_index(self.data) is None and self._group.exists():
            aside = _free(self.data, "lost-blocks.zarr")
            self.data.move("blocks.zarr", aside)
            log.warning("%s: index.json and its copy are lost; its blocks are set aside in %s and computed again",
                        self.data, aside)  # fmt: skip
        rows = mend_index(self.data, static, new)
        grow_arrays(self._group, static, rows, blocks, shapes)

    def sound(self, static: dict[str, Any]) -> bool:
        """Whether both copies of the index and all metadata are what :meth:`grow` writes."""
        return both_whole(self.data) and as_written(self._group, static)

    def commit(self, row: int, block: int, moments: NDArray, tail: NDArray, count: NDArray) -> None:
        """Write one block: data first, the count that commits it last."""
        arrays = open_arrays(self._group)
        for name, value in (("moments", moments), ("tail", tail), ("count", count)):
            arrays[name].write(row, block, value)

    def read(self, row: int, blocks: Iterable[int]) -> dict[str, NDArray]:
        """Arrays (blocks, ...) of one cell, every chunk checked.

        Raises:
            CorruptBlockError: naming the first block that is missing, incomplete or fails its checksum.
        """
        arrays = sound_arrays(self._group)
        found: dict[str, list[NDArray]] = {name: [] for name in ARRAYS}
        numbers = list(blocks)
        for block, values in zip(numbers, self._blocks(arrays, row, numbers), strict=True):
            if values is None:
                raise CorruptBlockError(self.data, row, block)
            for name in ARRAYS:
                found[name].append(values[name])
        return {name: np.stack(values) for name, values in found.items()}

    def arrays(self) -> Arrays:
        """The arrays as their metadata describe them now; for who asks about many cells of a leaf at rest."""
        return sound_arrays(self._group)

    def whole(self, row: int, blocks: int, arrays: Arrays | None = None) -> NDArray[np.bool_]:
        """Which of the first `blocks` blocks are committed and intact: all chunks are read."""
        arrays = self.arrays() if arrays is None else arrays
        whole = self.data.many(lambda block: _read_block(arrays, row, block) is not None, range(blocks))
        return np.array(whole, dtype=bool)

    def unchanged(self, row: int, blocks: int, arrays: Arrays | None = None) -> NDArray[np.bool_]:
        """Which of the first `blocks` blocks are what was written, by their checksums: enough where a receipt says that
        they were good then.
        """
        arrays = self.arrays() if arrays is None else arrays
        there = np.zeros(blocks, dtype=bool)
        room = _room(arrays, blocks)
        there[:room] = self.data.many(lambda b: all(arrays[name].unchanged(row, b) for name in ARRAYS), range(room))
        return there

    def good(self, row: int, blocks: int) -> tuple[NDArray[np.bool_], list[str]]:
        """:meth:`whole`, and the digest of each block (empty where it is not)."""
        arrays = sound_arrays(self._group)
        digests = self.data.many(lambda block: _digest(_read_block(arrays, row, block)), range(blocks))
        return np.array([bool(d) for d in digests], dtype=bool), digests

    def checked(self, row: int, blocks: int) -> tuple[NDArray[np.bool_], str]:
        """Which of the first `blocks` blocks are good, and the SHA-256 over the digests of all: what a receipt says."""
        good, digests = self.good(row, blocks)
        return good, hashlib.sha256("".join(digests).encode()).hexdigest()

    def devices(self) -> list[str]:
        """Kinds of devices that ever committed a block to this leaf, sorted."""
        names = [key for key in self.data.names("devices") if not key.endswith(".partial")]
        return sorted((self.data.get(name) or b"").decode().strip() for name in names)

    def mark_device(self, kind: str) -> None:
        """Say that a kind of device computes blocks of this leaf; any process, before its first commit."""
        name = "devices/" + re.sub(r"[^0-9A-Za-z]+", "-", kind)
        if not self.data.size(name):
            self.data.put(name, f"{kind}\n".encode())

    def intact(self, row: int, block: int) -> bool:
        """Whether one block is committed and passes its checks."""
        return _read_block(sound_arrays(self._group), row, block) is not None

    def committed(self, row: int, blocks: int, arrays: Arrays | None = None) -> NDArray[np.bool_]:
        """Which of the first `blocks` blocks carry their commit mark, with files for the rest (reads counts only)."""
        arrays = self.arrays() if arrays is None else arrays
        marks = np.zeros(blocks, dtype=bool)

        def mark(block: int) -> bool:
            there = _checked(arrays, "count", row, block) is not None
            return there and arrays["moments"].exists(row, block) and arrays["tail"].exists(row, block)

        room = _room(arrays, blocks)
        marks[:room] = self.data.many(mark, range(room))
        return marks

    def marked(self, row: int, most: int, arrays: Arrays | None = None) -> NDArray[np.bool_]:
        """Which blocks have a file for their commit mark, sound or not: as many as there is room for, or `most`."""
        arrays = self.arrays() if arrays is None else arrays
        there = self.data.many(lambda block: arrays["count"].exists(row, block), range(_room(arrays, most)))
        return np.array(there, dtype=bool)

    def sweep(self) -> None:
        """Remove what writers that were killed left half-written (driver only, under the lock)."""
        for place in {str(place): place for place in (self.data, Folder(str(self.folder)))}.values():
            place.sweep()

    def _blocks(self, arrays: Arrays, row: int, blocks: Sequence[int]) -> list[dict[str, NDArray] | None]:
        return self.data.many(lambda block: _read_block(arrays, row, block), blocks)


class CorruptBlockError(DamageError):
    """A block that should be there cannot be trusted."""

    def __init__(self, data: Place, row: int, block: int):
        super().__init__(f"{data}: block {block} of row {row} is missing or damaged; `nnqft run` mends it (plain "
                         "snakemake: delete the manifest.json beside it first)")  # fmt: skip


class LostIndexError(DamageError):
    """A leaf whose receipt names cells that its index does not."""

    def __init__(self, data: Place):
        super().__init__(f"{data}: index.json is lost or lacks cells; `nnqft run` mends it (plain snakemake: delete "
                         "the manifest.json beside it first)")  # fmt: skip


def _read_block(arrays: Arrays, row: int, block: int) -> dict[str, NDArray] | None:
    if not arrays or block >= arrays["count"].shape[1]:
        return None
    values: dict[str, NDArray] = {}
    for name in reversed(ARRAYS):
        if (value := _checked(arrays, name, row, block)) is None:
            return None
        values[name] = value
    return values


def _checked(arrays: Arrays, name: str, row: int, block: int) -> NDArray | None:
    """A chunk, or None where it is absent or fails its checks."""
    value = arrays[name].read(row, block)
    if value is None:
        return None
    present = value.sum() > 0 if name == "count" else np.isfinite(value).all()
    return value if present else None


def _digest(values: dict[str, NDArray] | None) -> str:
    if values is None:
        return ""
    sha = hashlib.sha256()
    for name in ARRAYS:
        sha.update(np.ascontiguousarray(values[name]).tobytes())
    return sha.hexdigest()


def _room(arrays: Arrays, most: int) -> int:
    return min(most, arrays["count"].shape[1]) if arrays else 0


def _free(data: Place, name: str) -> str:
    """A key that is not taken: name, name.1, name.2, ..."""
    candidates = [name, *(f"{name}.{i}" for i in range(1, 1000))]
    return next(key for key in candidates if not (data / key).exists())
