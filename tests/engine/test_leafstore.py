"""One leaf's store: commits, damage, growth."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from nnqft.storage.files import locked, write_json
from nnqft.storage.leafstore import CorruptBlockError, LeafStore
from nnqft.storage.place import Folder

SHAPES = {"moments": (4, 6), "tail": (5,), "count": (4,)}
COUNT = np.full(4, 8, dtype=np.int64)


def entry(name):
    return {"identity": name, "varying": {"width": 2}, "centre": [0.0], "scale": [1.0]}


def block(value):
    return np.full((4, 6), float(value)), np.full(5, float(value)), COUNT


@pytest.fixture
def store(tmp_path):
    store = LeafStore(tmp_path / "leaf")
    store.grow({"a": 1}, [entry("x"), entry("y")], 3, SHAPES)
    for row in range(2):
        for number in range(3):
            store.commit(row, number, *block(10 * row + number))
    return store


def chunk(store, name, row, number):
    depth = len(SHAPES[name])
    return store.folder / "blocks.zarr" / name / "c" / str(row) / str(number) / Path(*["0"] * depth)


def test_what_is_committed_is_read_back(store):
    data = store.read(1, range(3))
    assert data["moments"][:, 0, 0].tolist() == [10, 11, 12]
    assert data["count"].sum() == 3 * 32
    good, digests = store.good(1, 3)
    assert good.all()
    assert len(set(digests)) == 3


@pytest.mark.parametrize("name", ["moments", "tail", "count"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "empty", "delete"])
def test_every_damage_to_any_chunk_is_found(store, name, damage):
    path = chunk(store, name, 0, 1)
    data = path.read_bytes()
    if damage == "delete":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncate":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.write_bytes(data[:10] + bytes([data[10] ^ 1]) + data[11:])
    assert store.good(0, 3)[0].tolist() == [True, False, True]
    assert store.unchanged(0, 3).tolist() == [True, False, True]
    with pytest.raises(CorruptBlockError, match="block 1 of row 0"):
        store.read(0, range(3))


def test_a_block_without_its_count_is_not_committed(store):
    store.grow({"a": 1}, [], 4, SHAPES)
    assert store.committed(0, 4).tolist() == [True, True, True, False]
    assert store.committed(0, 9).tolist() == [True] * 3 + [False] * 6


def test_growing_keeps_every_byte(store):
    before = {p: p.read_bytes() for p in (store.folder / "blocks.zarr").rglob("c/**/*") if p.is_file()}
    store.grow({"a": 1}, [entry("z")], 5, SHAPES)
    assert all(p.read_bytes() == data for p, data in before.items())
    assert [r.index for r in store.rows().values()] == [0, 1, 2]
    store.commit(2, 4, *block(7))
    assert store.good(2, 5)[0].tolist() == [False] * 4 + [True]


def test_json_files_are_deterministic_and_never_half(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"b": 1, "a": [1.5]})
    first = path.read_bytes()
    write_json(path, {"a": [1.5], "b": 1})
    assert path.read_bytes() == first
    assert json.loads(first) == {"a": [1.5], "b": 1}
    assert list(path.parent.iterdir()) == [path]


def test_a_lock_admits_one(tmp_path):
    with locked(tmp_path / "lock", 0), pytest.raises(TimeoutError, match="another run"), locked(tmp_path / "lock", 0.1):
        pass
    with locked(tmp_path / "lock", 0):
        assert (tmp_path / "lock").exists()


def test_blocks_without_their_index_are_set_aside_and_never_taken_for_those_of_another_cell(store):
    """The same cells in another order: without the list row 0 would pass for y's."""
    for name in ("index.json", "index.copy.json"):
        (store.folder / name).write_text("")
    assert store.rows() == {}
    store.grow({"a": 1}, [entry("y"), entry("x")], 3, SHAPES)
    assert not any(store.good(row, 3)[0].any() for row in range(2))
    assert len(list((store.folder / "lost-blocks.zarr").glob("count/c/*/*/0"))) == 6


@pytest.mark.parametrize("damaged", ["index.json", "index.copy.json"])
def test_either_copy_of_the_index_mends_the_other(store, damaged):
    before = {p.name: p.read_bytes() for p in store.folder.glob("index*")}
    assert len(before) == 2
    text = before[damaged].decode().replace('"x"', '"z"')
    (store.folder / damaged).write_text(text)
    assert list(store.rows()) == ["x", "y"]
    assert not store.sound({"a": 1})
    store.grow({"a": 1}, [], 3, SHAPES)
    assert {p.name: p.read_bytes() for p in store.folder.glob("index*")} == before
    assert store.sound({"a": 1})


@pytest.mark.parametrize("array", ["", "moments", "tail", "count"])
@pytest.mark.parametrize(
    "content", ["", "{", "{}", '{"zarr_format": 3, "node_type": "array", "shape": [9, 9, 9]}', None]
)
def test_metadata_are_made_again_around_the_chunks(store, array, content):
    path = store.folder / "blocks.zarr" / array / "zarr.json"
    before = {p: p.read_bytes() for p in store.folder.rglob("*") if p.is_file()}
    path.unlink() if content is None else path.write_text(content)
    assert not store.sound({"a": 1})
    if array:  # chunks are read by the metadata of their array alone
        with pytest.raises(CorruptBlockError, match="nnqft run"):
            store.read(0, [0])
        assert store.committed(0, 3).tolist() == [False] * 3
    store.grow({"a": 1}, [], 1, SHAPES)
    assert {p: p.read_bytes() for p in store.folder.rglob("*") if p.is_file()} == before
    assert store.good(1, 3)[0].all()


def test_what_killed_writers_left_is_swept(store):
    (chunk(store, "tail", 0, 0).parent / "0.abc.partial").touch()
    (store.folder / ".manifest.json.77.tmp").touch()
    store.sweep()
    assert not [p for p in store.folder.rglob("*") if p.suffix in (".partial", ".tmp")]
    assert store.good(0, 3)[0].all()


def test_a_disk_that_cannot_be_read_is_damage_to_a_chunk_and_never_a_lost_index(store, monkeypatch):
    """Blocks are set aside when the index is lost: not for an error that may pass."""
    get = Folder.get

    def failing(number, match):
        def read(place, key):
            if match in f"{place}/{key}":
                raise OSError(number, "no")
            return get(place, key)

        return read

    monkeypatch.setattr(Folder, "get", failing(errno.EIO, "/moments/c/0/1"))
    assert store.good(0, 3)[0].tolist() == [True, False, True]
    for number, match in ((errno.EACCES, "/moments/c/0/1"), (errno.EIO, "/index"), (errno.ESTALE, "/index")):
        monkeypatch.setattr(Folder, "get", failing(number, match))
        with pytest.raises(OSError, match="no"):
            store.rows() if "index" in match else store.good(0, 3)
    with pytest.raises(OSError, match="no"):
        store.grow({"a": 1}, [entry("z")], 3, SHAPES)
    assert not (store.folder / "lost-blocks.zarr").exists()
