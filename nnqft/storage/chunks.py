"""The chunks of a leaf's arrays, one file each, read and written without zarr's machinery.

The files are zarr's, byte for byte: little-endian numbers, zstd, then a crc32c of the compressed bytes in the last four
(zarr specification v3 with its codecs bytes, zstd, crc32c). zarr itself takes half a millisecond a chunk and more for
opening an array; scans of thousands of small blocks would spend their time there.
"""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
from numcodecs import Zstd
from numpy.typing import NDArray

LEVEL = 1
_ZSTD = Zstd(level=LEVEL)
_known: dict[str, tuple[tuple[int, ...], "ChunkedArray"]] = {}


class FormatError(RuntimeError):
    """An array that this version did not write."""


@dataclass(frozen=True)
class ChunkedArray:
    """An array (row, block, ...) with one chunk for each (row, block)."""

    folder: str
    shape: tuple[int, ...]
    dtype: "np.dtype[np.float64] | np.dtype[np.int64]"

    def path(self, row: int, block: int) -> str:
        """File of one chunk."""
        return f"{self.folder}/c/{row}/{block}{'/0' * (len(self.shape) - 2)}"

    def exists(self, row: int, block: int) -> bool:
        """Whether the file of a chunk is there and holds anything."""
        try:
            return os.stat(self.path(row, block)).st_size > 0  # noqa: PTH116 - a Path costs more than the call
        except OSError:
            return False

    def read(self, row: int, block: int) -> NDArray | None:
        """Values of one chunk, or None where it is absent or damaged. Never more memory than the array's shape says."""
        try:
            with open(self.path(row, block), "rb") as stream:  # noqa: PTH123
                content = stream.read()
        except OSError:
            return None
        body = content[:-4]
        if len(content) < 5 or google_crc32c.value(body) != int.from_bytes(content[-4:], "little"):
            return None
        values = np.empty(self.shape[2:], dtype=self.dtype)
        if _content_size(body) != values.nbytes:
            return None
        try:
            _ZSTD.decode(body, out=values)
        except (RuntimeError, ValueError):
            return None
        return values

    def write(self, row: int, block: int, values: NDArray) -> None:
        """Replace one chunk in one step.

        Raises:
            ValueError: for values of another shape, or a place outside the array.
        """
        if values.shape != self.shape[2:] or row >= self.shape[0] or block >= self.shape[1]:
            raise ValueError(f"{self.folder}: no place {row}, {block} for shape {values.shape} in {self.shape}")
        body = bytes(_ZSTD.encode(np.ascontiguousarray(values, dtype=self.dtype)))
        path = self.path(row, block)
        temporary = f"{path}.{secrets.token_hex(8)}.partial"
        content = body + google_crc32c.value(body).to_bytes(4, "little")
        try:
            try:
                stream = open(temporary, "wb")  # noqa: PTH123, SIM115
            except FileNotFoundError:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                stream = open(temporary, "wb")  # noqa: PTH123, SIM115
            with stream:
                stream.write(content)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _content_size(frame: bytes) -> int:
    """Bytes that a zstd frame says it holds (RFC 8878, section 3.1.1.1); -1 where it does not say."""
    if len(frame) < 6:
        return -1
    single, field = frame[4] >> 5 & 1, frame[4] >> 6
    start = 6 - single + (0, 1, 2, 4)[frame[4] & 3]
    length = (single, 2, 4, 8)[field]
    return int.from_bytes(frame[start : start + length], "little") + (256 if field == 1 else 0) if length else -1


def chunked(folder: str, sound_shape: Callable[[], tuple[int, ...] | None]) -> ChunkedArray:
    """An array as its ``zarr.json`` describes it now: read again whenever that file has changed.

    sound_shape: its shape by that file, None where this is not such as is written here.

    Raises:
        FormatError: when it is not laid out as this version writes it; OSError when there is none.
    """
    path = f"{folder}/zarr.json"
    state = os.stat(path)  # noqa: PTH116
    signature = state.st_mtime_ns, state.st_size, state.st_ino
    if (known := _known.get(folder)) and known[0] == signature:
        return known[1]
    if (shape := sound_shape()) is None:
        raise FormatError(f"{folder}: not written by this version of nnqft, or damaged")
    found = ChunkedArray(folder, shape, np.dtype("<i8" if Path(folder).name == "count" else "<f8"))
    _known[folder] = signature, found
    return found
