"""Data in an object store: the same bits, the same protocol, and one owner."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from nnqft import open_results
from nnqft.core.errors import InputError
from nnqft.sampling.budget import budget
from nnqft.sampling.check import check
from nnqft.spec.load import parse_scan
from nnqft.stages import ensemble
from nnqft.stages.ensemble import GenerationError, compute_blocks, generate_all
from nnqft.stages.layout import Layout
from nnqft.stages.mend import withdraw_damaged
from nnqft.stages.pipeline import PRODUCTS
from nnqft.stages.status import cell_status
from nnqft.stages.work import all_work
from nnqft.storage.location import claim, located
from nnqft.storage.objects import Objects, objects
from nnqft.storage.place import Folder
from nnqft.storage.product import read_tree, save
from nnqft.storage.receipts import fault

SCAN = check(
    parse_scan(
        {
            "name": "small",
            "seed": 5,
            "points": {"line": [[-0.5], [0.7]]},
            "architectures": {"erf": {"activation": "erf", "points": "line"}},
            "widths": [2, 3],
            "ensemble": {"networks": 256, "block": 32, "replicates": 8},
            "cumulants": {"orders": [2, 4]},
        }
    ),
    "small",
)
MADE = ("ensemble", "cumulants", "theory")


def make(layout):
    """What `nnqft run` does, in this process."""
    claim(layout.root, layout.url)
    found = withdraw_damaged(SCAN, layout)
    work = [(w.leaf, w.budget, layout.leaf(w.leaf.name)) for w in all_work(SCAN)]
    generate_all([one for one in work if not one[2].manifest.exists()], "inline")
    for stage in MADE:
        if found or not layout.receipt(stage).exists():
            PRODUCTS[stage](SCAN, layout)
    return found


def texts(layout):
    """Receipts and manifests."""
    return {p.relative_to(layout.root): p.read_bytes() for p in layout.root.rglob("*.json") if
            p.name == "manifest.json" or p.parent.name == "receipts"}  # fmt: skip


def stored(layout):
    """Every object of the leaves, and when it was written."""
    place = layout.data
    return {name: (place.get(name), place.state(name)) for name in place.names("leaves")}


def test_a_place_of_objects_does_what_a_folder_does(url, tmp_path):
    for place in (objects(url) / "a", Folder(str(tmp_path / "a"))):
        assert place.get("x/y") is None
        assert place.state("x/y") is None
        assert place.size("x/y") == 0
        assert not place.exists()
        place.remove("x/y")
        place.put("x/y", b"one")
        place.put_safely("x/z", b"")
        before = place.state("x/y")
        place.put("x/y", b"three")
        assert place.state("x/y") != before
        assert (place.get("x/y"), place.get("x/z"), place.size("x/y")) == (b"three", b"", 5)
        assert place.exists()
        assert (place / "x").get("y") == b"three"
        place.move("x", "w")
        place.put("wide", b"")
        assert sorted(place.names()) == ["w/y", "w/z", "wide"]
        assert sorted(place.names("w")) == ["w/y", "w/z"]
        place.remove("w/y")
        place.sweep()
        assert sorted(place.names()) == ["w/z", "wide"]


def test_results_are_those_of_a_folder_bit_for_bit(url, tmp_path):
    here, there = Layout(tmp_path / "here" / "small"), Layout(tmp_path / "there" / "small", url)
    make(here)
    make(there)
    assert texts(here) == texts(there)
    assert len(texts(here)) == 4
    found = {
        p.relative_to(here.root).as_posix(): p.read_bytes() for p in (here.root / "leaves").rglob("*") if p.is_file()
    }
    local = {"lock", "manifest.json"}
    wanted = {name: content for name, content in found.items() if name.rpartition("/")[2] not in local}
    assert {name: content for name, (content, _) in stored(there).items()} == wanted
    assert not {p.name for p in there.root.rglob("*") if p.is_file()} & {"zarr.json", "index.json"}
    for opened in (open_results(there.root), open_results(f"{url}/small")):
        xr.testing.assert_identical(opened.cumulants, open_results(here.root).cumulants)
    again = Layout(there.root)  # no URL: the folder knows
    assert {(c.done, c.missing, c.corrupt) for c in cell_status(SCAN, again, thorough=True)} == {(8, 0, 0)}


@pytest.mark.parametrize(
    ("way", "array"), [("cut", "moments"), ("flipped", "tail"), ("emptied", "count"), ("deleted", "moments")]
)
def test_damaged_objects_are_found_and_only_they_are_made_again(tmp_path, way, array):
    layout = Layout(tmp_path / "small", f"file://{tmp_path}/objects")
    make(layout)
    receipts, before = texts(layout), stored(layout)
    name = next(n for n in sorted(before) if f"/{array}/c/1/5/" in n)
    content = before[name][0]
    damaged = {"cut": content[:-3], "flipped": content[:-1] + bytes([content[-1] ^ 1]), "emptied": b""}
    layout.data.remove(name) if way == "deleted" else layout.data.put(name, damaged[way])
    assert sum(c.done for c in cell_status(SCAN, layout, thorough=True)) == 15
    assert make(layout) == [f"{all_work(SCAN)[0].leaf.name}: damaged blocks are computed again"]
    assert texts(layout) == receipts
    after = stored(layout)
    changed = {n for n in before if before[n] != after.get(n)}
    assert {n: c for n, (c, _) in after.items()} == {n: c for n, (c, _) in before.items()}
    assert changed
    assert all("/c/1/5/" in n for n in changed)


def test_an_interrupted_upload_leaves_the_old_store_or_none(url, tmp_path, monkeypatch):
    place, receipt = objects(url) / "a.zarr", tmp_path / "receipts" / "a.json"
    old, new = ({"g": xr.Dataset({"v": ("x", np.full(50, float(n)))})} for n in range(2))
    save(place, receipt, old, {})
    assert fault(place, receipt) == ""
    put, written = Objects.put, []
    for allowed in range(6):
        save(place, receipt, old, {})
        written.clear()

        def failing(self, key, content, allowed=allowed):
            written.append(key)
            if len(written) > allowed:
                raise OSError("the network is away")
            put(self, key, content)

        with monkeypatch.context() as patch:
            patch.setattr(Objects, "put", failing)
            try:
                save(place, receipt, new, {})
            except OSError:
                assert fault(place, receipt) != ""
                with pytest.raises((FileNotFoundError, OSError)):
                    read_tree(place)
            else:
                assert (read_tree(place)["g"]["v"] == 1).all()
                assert fault(place, receipt) == ""
                return
    raise AssertionError("never finished")


def test_a_lost_folder_costs_no_block(url, tmp_path):
    first, second = (Layout(tmp_path / name / "small", url) for name in ("first", "second"))
    make(first)
    before = stored(first)
    claim(second.root, url, take=True)
    make(second)
    assert texts(first) == texts(second)
    assert stored(second) == before


def test_a_worker_needs_the_objects_only(url, tmp_path):
    """Its host does not see the results folder, nor does it read `store.json`."""
    layout = Layout(tmp_path / "small", url)
    make(layout)
    leaf = all_work(SCAN)[0].leaf
    store = layout.leaf(leaf.name)
    unit = leaf.cells[0]
    row = store.rows()[unit.identity]
    name = f"blocks.zarr/count/c/{row.index}/3/0"
    store.data.remove(name)
    elsewhere = replace(store, folder=tmp_path / "not" / "here")
    assert compute_blocks(elsewhere, unit, row, [2, 3]) == 2
    assert store.good(row.index, 8)[0].all()
    assert not elsewhere.folder.exists()
    with pytest.raises(GenerationError, match="object store that workers reach"):
        compute_blocks(replace(store, elsewhere=objects(url) / "nothing"), unit, row, [0])


def test_a_folder_keeps_to_where_its_data_are(tmp_path):
    url = f"file://{tmp_path}/objects"
    there, here = Layout(tmp_path / "a" / "small", url), Layout(tmp_path / "b" / "small")
    make(there)
    make(here)
    with pytest.raises(InputError, match="holds its data itself; unset it"):
        located(here.root, url)
    with pytest.raises(InputError, match="unset it, or set it to"):
        located(there.root, f"file://{tmp_path}/others")
    content = json.loads((there.root / "store.json").read_text())
    assert content["store"] == url


@pytest.mark.slow
def test_workers_compute_into_objects(tmp_path, monkeypatch):
    monkeypatch.setattr(ensemble, "TASK_NEURONS", 100.0)
    layout = Layout(tmp_path / "small", f"file://{tmp_path}/objects")
    claim(layout.root, layout.url)
    work = all_work(SCAN)[0]
    generate_all([(work.leaf, budget(SCAN), layout.leaf(work.leaf.name))], "local:2")
    plain = Layout(tmp_path / "plain")
    make(plain)
    name = work.leaf.name
    assert layout.leaf(name).manifest.read_bytes() == plain.leaf(name).manifest.read_bytes()
