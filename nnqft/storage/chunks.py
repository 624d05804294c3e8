"""The chunks of a leaf's arrays, one file each, read and written without zarr's machinery.

The files are zarr's, byte for byte: little-endian numbers, zstd, then a crc32c of the compressed bytes in the last four
(zarr specification v3 with its codecs bytes, zstd, crc32c). zarr itself takes half a millisecond a chunk and more for
opening an array; scans of thousands of small blocks would spend their time there.
"""

import errno
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import google_crc32c
import numpy as np
from numcodecs import Zstd
from numpy.typing import NDArray

from nnqft.storage.place import Place

LEVEL = 1
_ZSTD = Zstd(level=LEVEL)
_known: dict[tuple[Place, str], tuple[Hashable, "ChunkedArray"]] = {}


class FormatError(RuntimeError):
    """An array that this version did not write."""


@dataclass(frozen=True)
class ChunkedArray:
    """An array (row, block, ...) with one chunk for each (row, block)."""

    place: Place
    shape: tuple[int, ...]
    dtype: "np.dtype[np.float64] | np.dtype[np.int64]"

    def key(self, row: int, block: int) -> str:
        """File of one chunk."""
        return f"c/{row}/{block}{'/0' * (len(self.shape) - 2)}"

    def exists(self, row: int, block: int) -> bool:
        """Whether the file of a chunk is there and holds anything."""
        return self.place.size(self.key(row, block)) > 0

    def read(self, row: int, block: int) -> NDArray | None:
        """Values of one chunk, or None where it is absent or damaged. Never more memory than the array's shape says."""
        if (body := self._body(row, block)) is None:
            return None
        values = np.empty(self.shape[2:], dtype=self.dtype)
        try:
            _ZSTD.decode(body, out=values)
        except (RuntimeError, ValueError):
            return None
        return values

    def unchanged(self, row: int, block: int) -> bool:
        """Whether a chunk is there and what was written, by checksum and size: a third of the work of reading it."""
        return self._body(row, block) is not None

    def _body(self, row: int, block: int) -> bytes | None:
        """The compressed values of a chunk, if they are what was written and as many as there should be."""
        try:
            content = self.place.get(self.key(row, block))
        except OSError as error:
            if error.errno != errno.EIO:  # a bad sector is damage; no permission, or no answer, is not
                raise
            return None
        if content is None:
            return None
        body = content[:-4]
        if len(content) < 5 or google_crc32c.value(body) != int.from_bytes(content[-4:], "little"):
            return None
        return body if _content_size(body) == math.prod(self.shape[2:]) * self.dtype.itemsize else None

    def write(self, row: int, block: int, values: NDArray) -> None:
        """Replace one chunk in one step.

        Raises:
            ValueError: for values of another shape, or a place outside the array.
        """
        if values.shape != self.shape[2:] or row >= self.shape[0] or block >= self.shape[1]:
            raise ValueError(f"{self.place}: no place {row}, {block} for shape {values.shape} in {self.shape}")
        body = bytes(_ZSTD.encode(np.ascontiguousarray(values, dtype=self.dtype)))
        self.place.put(self.key(row, block), body + google_crc32c.value(body).to_bytes(4, "little"))


def _content_size(frame: bytes) -> int:
    """Bytes that a zstd frame says it holds (RFC 8878, section 3.1.1.1); -1 where it does not say."""
    if len(frame) < 6:
        return -1
    single, field = frame[4] >> 5 & 1, frame[4] >> 6
    start = 6 - single + (0, 1, 2, 4)[frame[4] & 3]
    length = (single, 2, 4, 8)[field]
    return int.from_bytes(frame[start : start + length], "little") + (256 if field == 1 else 0) if length else -1


def chunked(place: Place, name: str, sound_shape: Callable[[], tuple[int, ...] | None]) -> ChunkedArray:
    """An array of a group as its ``zarr.json`` describes it now: read again whenever that file has changed.

    sound_shape: its shape by that file, None where this is not such as is written here.

    Raises:
        FormatError: when there is none, or it is not laid out as this version writes it.
    """
    state = place.state(f"{name}/zarr.json")
    if state and (known := _known.get((place, name))) and known[0] == state:
        return known[1]
    if state is None or (shape := sound_shape()) is None:
        raise FormatError(f"{place}/{name}: not written by this version of nnqft, or damaged")
    found = ChunkedArray(place / name, shape, np.dtype("<i8" if name == "count" else "<f8"))
    _known[place, name] = state, found
    return found
