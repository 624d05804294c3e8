"""Chunks written directly are zarr's byte for byte; nothing that is stored can run code when it is read."""

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import zarr

from nnqft.sampling.budget import budget
from nnqft.sampling.cells import leaves
from nnqft.spec.load import parse_scan
from nnqft.stages.assemble import assemble
from nnqft.stages.ensemble import LEAST_NEURONS, SMALL_TASKS, TASK_NEURONS, generate, joined
from nnqft.stages.layout import Layout
from nnqft.storage.chunks import FormatError
from nnqft.storage.leafarrays import open_arrays
from nnqft.storage.leafstore import ARRAYS, LeafStore
from nnqft.storage.place import Folder
from nnqft.storage.product import read_tree

SHAPES = {"moments": (4, 6), "tail": (5,), "count": (4,)}
ENTRY = {"identity": "x", "varying": {}, "centre": [0.0], "scale": [1.0]}
ROOT = Path(__file__).parents[2]


def stores(tmp_path, values):
    """The same block by us and by zarr."""
    found = []
    for name in ("ours", "zarr"):
        store = LeafStore(tmp_path / name)
        store.grow({"a": 1}, [ENTRY], 2, SHAPES)
        if name == "ours":
            store.commit(0, 1, *(values[name] for name in ARRAYS))
        else:
            group = zarr.open_group(store.folder / "blocks.zarr", mode="r+")
            for array in ARRAYS:
                group[array][0, 1] = values[array]
        found.append(store.folder)
    return found


def test_chunks_are_those_of_zarr_byte_for_byte(tmp_path):
    rng = np.random.default_rng(3)
    values = {"moments": rng.normal(size=(4, 6)), "tail": rng.exponential(size=5), "count": np.arange(1, 5)}
    ours, theirs = stores(tmp_path, values)
    files = [sorted(str(p.relative_to(f)) for p in f.rglob("*") if p.is_file()) for f in (ours, theirs)]
    assert files[0] == files[1]
    assert all((ours / name).read_bytes() == (theirs / name).read_bytes() for name in files[0])
    group = zarr.open_group(ours / "blocks.zarr", mode="r")
    read = LeafStore(theirs).read(0, [1])
    for name in ARRAYS:
        np.testing.assert_array_equal(group[name][0, 1], values[name])
        np.testing.assert_array_equal(read[name][0], values[name])


def test_what_a_chunk_says_of_its_size_is_not_believed(tmp_path):
    import google_crc32c
    from numcodecs import Zstd

    folder, _ = stores(tmp_path, {"moments": np.ones((4, 6)), "tail": np.ones(5), "count": np.ones(4, dtype=np.int64)})
    array = open_arrays(Folder(str(folder / "blocks.zarr")))["tail"]
    assert array.read(0, 1) is not None
    for size in (0, 4, 6, 10**7):
        body = bytes(Zstd(level=1).encode(np.zeros(size)))
        array.place.put(array.key(0, 1), body + google_crc32c.value(body).to_bytes(4, "little"))
        assert array.read(0, 1) is None


def test_blocks_go_where_there_is_room_and_other_formats_are_refused(tmp_path):
    store = LeafStore(tmp_path / "leaf")
    store.grow({"a": 1}, [ENTRY], 1, SHAPES)
    with pytest.raises(ValueError, match="no place"):
        store.commit(1, 0, np.ones((4, 6)), np.ones(5), np.ones(4, dtype=np.int64))
    store.grow({"a": 1}, [ENTRY | {"identity": "y"}], 1, SHAPES)  # a handle sees that the array has grown
    store.commit(1, 0, np.ones((4, 6)), np.ones(5), np.ones(4, dtype=np.int64))
    path = tmp_path / "leaf" / "blocks.zarr" / "tail" / "zarr.json"
    path.write_text(path.read_text().replace('"zstd"', '"gzip"'))
    assert not store.whole(1, 1).any()
    with pytest.raises(FormatError, match="not written by this version"):
        store.commit(1, 0, np.ones((4, 6)), np.ones(5), np.ones(4, dtype=np.int64))


def test_small_cells_share_tasks_and_large_ones_do_not():
    class Small:
        def __init__(self, width, neurons):
            self.width, self.neurons = width, neurons

    small = joined([(Small(w, 1e3), None, [0]) for w in range(1000)])
    assert [part[0].width for task in small for part in task] == list(range(999, -1, -1))
    assert SMALL_TASKS <= len(small) < 2 * SMALL_TASKS
    assert all(len(task) * LEAST_NEURONS <= TASK_NEURONS for task in small)
    assert len(joined([(Small(w, 1e3), None, [0]) for w in range(10)])) == 10
    assert len(joined([(Small(9, TASK_NEURONS), None, [b]) for b in range(100)])) == 100


def test_nothing_stored_is_pickled(tmp_path):
    scan = parse_scan({
        "name": "t", "seed": 5, "points": {"line": [[-1.0], [0.2]]}, "widths": [2],
        "architectures": {"relu": {"activation": "relu", "points": "line"}},
        "ensemble": {"networks": 64, "block": 64, "replicates": 16}, "cumulants": {"orders": [2, 4]},
    })  # fmt: skip
    layout = Layout(tmp_path)
    for leaf in leaves(scan):
        generate(leaf, budget(scan), layout.leaf(leaf.name), "inline")
    assemble(scan, layout)
    described = [json.loads(p.read_text()) for p in tmp_path.rglob("zarr.json")]
    arrays = [d for d in described if d["node_type"] == "array"]
    assert len(arrays) > 10
    assert {d["zarr_format"] for d in described} == {3}
    assert {str(d["data_type"]) for d in arrays} <= {"int64", "float64", "bool", "string"}
    codecs = {c["name"] for d in arrays for c in d["codecs"]}
    assert codecs <= {"bytes", "zstd", "crc32c", "vlen-utf8"}


@pytest.mark.parametrize("dtype", ["|O", "<f8"])
def test_a_store_whose_filters_unpickle_is_not_opened(tmp_path, dtype):
    class Boom:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    folder = tmp_path / "cumulants.zarr"
    array = folder / "ray" / "x"
    array.mkdir(parents=True)
    for group in (folder, folder / "ray"):
        (group / ".zgroup").write_text('{"zarr_format": 2}')
    filters = [{"id": "pickle", "protocol": 5}]
    meta = {"chunks": [1], "compressor": None, "dtype": dtype, "fill_value": None, "filters": filters, "order": "C"}
    (array / ".zarray").write_text(json.dumps(meta | {"shape": [1], "zarr_format": 2}))
    (array / ".zattrs").write_text('{"_ARRAY_DIMENSIONS": ["a"]}')
    (array / "0").write_bytes(pickle.dumps(Boom()))
    with pytest.raises(FileNotFoundError):
        read_tree(Folder(str(folder)))["ray"].to_dataset().load()
    assert not (tmp_path / "ran").exists()


def test_no_module_reads_what_could_run_code():
    forbidden = re.compile(
        r"\bimport pickle|pickle\.load|allow_pickle=True|yaml\.(unsafe_|full_)?load\((?!text, Loader=_Loader)"
        r"|\beval\(|\bexec\(|shell=True|os\.system"
    )
    for path in (*ROOT.glob("nnqft/**/*.py"), *ROOT.glob("workflow/scripts/*.py")):
        assert not forbidden.search(path.read_text(encoding="utf-8")), path
