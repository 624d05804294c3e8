"""The zarr arrays of a leaf and their metadata, which follow from the shapes alone: what is damaged is made again.

A chunk is one block: (1, 1, ...) of (row, block, ...), zstd and crc32c. Chunks are found by their path, so the metadata
can be written anew beside them; its shape covers all rows and blocks there are.
"""

import json
import logging
from functools import cache, partial
from typing import Any

import numpy as np
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, ZstdCodec
from zarr.storage import MemoryStore

from nnqft.core.hashing import canonical_json
from nnqft.storage.chunks import LEVEL, ChunkedArray, FormatError, chunked
from nnqft.storage.place import Place

ARRAYS = ("moments", "tail", "count")
METADATA = "zarr.json"
FIXED = ("zarr_format", "node_type", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs")
GROUP_KEYS = {"attributes", "zarr_format", "node_type", "consolidated_metadata"}

Arrays = dict[str, ChunkedArray]
"""By name."""

log = logging.getLogger("nnqft")


def grow_arrays(
    place: Place, static: dict[str, Any], rows: int, blocks: int, shapes: dict[str, tuple[int, ...]]
) -> None:
    """Make or enlarge the arrays of a group; metadata that cannot be trusted are made again, no chunk is touched."""
    if not _is_group(_json(place, METADATA)):
        _discard(place, METADATA)
    group = zarr.open_group(place.zarr(writable=True), mode="a")
    if canonical_json(dict(group.attrs).get("static")) != canonical_json(static):
        group.attrs["static"] = static
    known = {name: sound_shape(place, name) for name in ARRAYS}
    rows, blocks = (max([least, *(s[i] for s in known.values() if s)]) for i, least in enumerate((rows, blocks)))
    for name, shape in known.items():
        if shape is None or shape[2:] != shapes[name] or not _as_written(place, name, shape):
            _discard(place, f"{name}/{METADATA}")
            there = _extent(place / name)
            _create(group, name, (max(rows, there[0]), max(blocks, there[1]), *shapes[name]))
            continue
        wanted = (max(rows, shape[0]), max(blocks, shape[1]), *shapes[name])
        if shape != wanted:
            open_array(group, name).resize(wanted)


def open_arrays(place: Place) -> Arrays:
    """The arrays of a group by name.

    Raises:
        FormatError: when there are none, or the metadata of one are not such as are written here.
    """
    found = place.many(lambda name: chunked(place, name, partial(sound_shape, place, name)), ARRAYS)
    return dict(zip(ARRAYS, found, strict=True))


def sound_arrays(place: Place) -> Arrays:
    """The same to read; empty unless the metadata of every array are what they should be."""
    try:
        return open_arrays(place)
    except FormatError:
        return {}


def open_array(group: zarr.Group, name: str) -> zarr.Array:
    """An array of a group."""
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise TypeError(f"{name} is no array")
    return array


def sound_shape(place: Place, name: str) -> tuple[int, ...] | None:
    """Shape of an array by its metadata; None when these are missing, damaged or not such as are written here."""
    found = _json(place, f"{name}/{METADATA}")
    try:
        shape = tuple(int(n) for n in found["shape"])
    except (KeyError, TypeError, ValueError):
        return None
    if len(shape) < 3 or min(shape) < 1:
        return None
    expected = _expected(name, shape[2:])
    return shape if all(found.get(key) == expected[key] for key in FIXED) else None


def as_written(place: Place, static: dict[str, Any]) -> bool:
    """Whether all metadata are what :func:`grow_arrays` writes."""
    group = _json(place, METADATA)
    if not _is_group(group) or canonical_json(group.get("attributes", {}).get("static")) != canonical_json(static):
        return False
    shapes = {name: sound_shape(place, name) for name in ARRAYS}
    same = len({shape and shape[:2] for shape in shapes.values()}) == 1  # a crash between two resizes leaves them apart
    return same and all(shape is not None and _as_written(place, name, shape) for name, shape in shapes.items())


def _as_written(place: Place, name: str, shape: tuple[int, ...]) -> bool:
    """Whether the metadata are, to the last key, what this version of zarr writes."""
    return _json(place, f"{name}/{METADATA}") | {"shape": None} == _expected(name, shape[2:]) | {"shape": None}


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


def _extent(place: Place) -> tuple[int, int]:
    """Rows and blocks that the chunks there reach to."""
    found = [key.split("/") for key in place.names("c")]
    places = [(int(k[1]), int(k[2])) for k in found if len(k) > 3 and k[1].isdigit() and k[2].isdigit()]
    return max((row for row, _ in places), default=-1) + 1, max((block for _, block in places), default=-1) + 1


def _json(place: Place, key: str) -> dict[str, Any]:
    try:
        content = json.loads(place.get(key) or b"")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _discard(place: Place, key: str) -> None:
    if place.state(key) is not None:
        log.warning("%s/%s: is damaged and made again", place, key)
        place.remove(key)
