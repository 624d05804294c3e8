"""The zarr arrays of a leaf and their metadata, which follow from the shapes alone: what is damaged is made again.

A chunk is one block: (1, 1, ...) of (row, block, ...), zstd and crc32c. Chunks are found by their path, so the metadata
can be written anew beside them; its shape covers all rows and blocks there are.
"""

import json
import logging
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from nnqft.core.hashing import canonical_json
from nnqft.storage.chunks import LEVEL, ChunkedArray, FormatError, chunked

ARRAYS = ("moments", "tail", "count")
METADATA = "zarr.json"
FIXED = ("zarr_format", "node_type", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs")
GROUP_KEYS = {"attributes", "zarr_format", "node_type", "consolidated_metadata"}

Arrays = dict[str, ChunkedArray]
"""By name."""

log = logging.getLogger("nnqft")


def grow_arrays(path: Path, static: dict[str, Any], rows: int, blocks: int, shapes: dict[str, tuple[int, ...]]) -> None:
    """Make or enlarge the arrays of a group; metadata that cannot be trusted are made again, no chunk is touched."""
    if not _is_group(_json(path / METADATA)):
        _discard(path / METADATA)
    group = zarr.open_group(path, mode="a")
    if canonical_json(dict(group.attrs).get("static")) != canonical_json(static):
        group.attrs["static"] = static
    for name in ARRAYS:
        shape = sound_shape(path, name)
        if shape is None or shape[2:] != shapes[name] or not _as_written(path, name, shape):
            _discard(path / name / METADATA)
            there = _extent(path / name)
            _create(group, name, (max(rows, there[0]), max(blocks, there[1]), *shapes[name]))
            continue
        wanted = (max(rows, shape[0]), max(blocks, shape[1]), *shapes[name])
        if shape != wanted:
            open_array(group, name).resize(wanted)


def open_arrays(path: Path) -> Arrays:
    """The arrays of a group by name.

    Raises:
        FormatError: when the metadata of one are not such as are written here; OSError when there are none.
    """
    return {name: chunked(str(path / name), partial(sound_shape, path, name)) for name in ARRAYS}


def sound_arrays(path: Path) -> Arrays:
    """The same to read; empty unless the metadata of every array are what they should be."""
    try:
        return open_arrays(path)
    except (OSError, FormatError):
        return {}


def open_array(group: zarr.Group, name: str) -> zarr.Array:
    """An array of a group."""
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is no array")
    return array


def sound_shape(path: Path, name: str) -> tuple[int, ...] | None:
    """Shape of an array by its metadata; None when these are missing, damaged or not such as are written here."""
    found = _json(path / name / METADATA)
    try:
        shape = tuple(int(n) for n in found["shape"])
    except (KeyError, TypeError, ValueError):
        return None
    if len(shape) < 3 or min(shape) < 1:
        return None
    expected = _expected(name, shape[2:])
    return shape if all(found.get(key) == expected[key] for key in FIXED) else None


def as_written(path: Path, static: dict[str, Any]) -> bool:
    """Whether all metadata are what :func:`grow_arrays` writes."""
    group = _json(path / METADATA)
    if not _is_group(group) or canonical_json(group.get("attributes", {}).get("static")) != canonical_json(static):
        return False
    shapes = {name: sound_shape(path, name) for name in ARRAYS}
    return all(shape is not None and _as_written(path, name, shape) for name, shape in shapes.items())


def _as_written(path: Path, name: str, shape: tuple[int, ...]) -> bool:
    """Whether the metadata are, to the last key, what this version of zarr writes."""
    return _json(path / name / METADATA) | {"shape": None} == _expected(name, shape[2:]) | {"shape": None}


def _is_group(found: dict[str, Any]) -> bool:
    same = found.get("zarr_format") == 3 and found.get("node_type") == "group"
    return same and set(found.get("attributes", {})) <= {"static"} and set(found) <= GROUP_KEYS


@cache
def _expected(name: str, trailing: tuple[int, ...]) -> dict[str, Any]:
    store = MemoryStore()
    array = _create(zarr.open_group(store, mode="w"), name, (1, 1, *trailing))
    return json.loads(json.dumps(array.metadata.to_dict()))


def _create(group: zarr.Group, name: str, shape: tuple[int, ...]) -> zarr.Array:
    return group.create_array(
        name,
        shape=shape,
        chunks=(1, 1, *shape[2:]),
        dtype="int64" if name == "count" else "float64",
        fill_value=0 if name == "count" else np.nan,
        serializer=BytesCodec(endian="little"),
        compressors=[ZstdCodec(level=LEVEL), Crc32cCodec()],
    )


def _extent(path: Path) -> tuple[int, int]:
    """Rows and blocks that the chunks there reach to."""
    rows = [int(p.name) for p in path.glob("c/*") if p.name.isdigit()]
    blocks = [int(p.name) for p in path.glob("c/*/*") if p.name.isdigit()]
    return max(rows, default=-1) + 1, max(blocks, default=-1) + 1


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _discard(path: Path) -> None:
    if path.exists():
        log.warning("%s: is damaged and made again", path)
        path.unlink()
