"""Faults of files and processes, `make chaos` in short: damage is refused or mended, and the bits return."""

import errno
import json
import os
import signal
from pathlib import Path

import pytest

from chaos.kills import run_driver
from chaos.memory import starvation
from chaos.mending import try_fault
from chaos.small import commits, contents, differences, resume, rewritten, small_scan
from nnqft.core.errors import DamageError
from nnqft.stages.cumulants import estimate_cumulants
from nnqft.stages.layout import Layout
from nnqft.stages.mend import ReplacedDataError, withdraw_damaged
from nnqft.stages.source import Source
from nnqft.stages.verify import verify
from nnqft.storage.files import SealError, alive, read_sealed, write_json, write_sealed

DEAD = 2**22 + 1


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("faults") / "chaos"
    assert resume(root) == []
    return root, contents(root)


@pytest.mark.parametrize(
    "fault",
    [
        "moments chunk deleted", "metadata of moments emptied", "metadata of group truncated", "index.json edited",
        "both indexes deleted", "manifest.json edited", "receipt edited", "product chunk deleted", "resize interrupted",
        "leftovers of killed writers",
    ],
)  # fmt: skip
def test_a_fault_is_mended_bit_for_bit_and_nothing_intact_is_computed_again(finished, tmp_path, fault):
    row = try_fault(*finished, tmp_path, fault, 1)
    assert row.clean, row.notes


def test_a_kill_at_any_file_operation_loses_nothing(finished, tmp_path):
    leaves = {name: data for name, data in finished[1].items() if name.startswith("leaves/")}
    before = {}
    for operation in (9, 300):
        assert run_driver(tmp_path, operation) == -signal.SIGKILL
        assert rewritten(tmp_path, before) == 0
        before = commits(tmp_path)
    assert before
    resume(tmp_path, products=False)
    assert rewritten(tmp_path, before) == 0
    assert differences(tmp_path, leaves) == []


@pytest.mark.slow
def test_memory_that_runs_out_loses_nothing(finished, tmp_path):
    row = starvation(tmp_path, {name: data for name, data in finished[1].items() if name.startswith("leaves/")})
    assert row.clean, row.notes


@pytest.fixture
def copy(finished, tmp_path):
    for name, data in finished[1].items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Layout(tmp_path)


def test_blocks_that_were_exchanged_are_refused_and_not_blessed(copy):
    leaf = next(copy.root.glob("leaves/*"))
    for name, tail in (("moments", "0/0"), ("tail", "0"), ("count", "0")):
        chunks = leaf / "blocks.zarr" / name / "c" / "0"
        (chunks / "0" / tail).write_bytes((chunks / "1" / tail).read_bytes())
    with pytest.raises(ReplacedDataError, match="somebody replaced them"):
        withdraw_damaged(small_scan(), copy)


def test_an_edited_manifest_is_not_used(copy):
    manifest = next(copy.root.glob("leaves/*/manifest.json"))
    content = json.loads(manifest.read_text())
    content["cells"][0]["blocks"] = 1  # seven blocks fewer, and every one of them whole
    write_json(manifest, content)
    with pytest.raises(SealError, match="damaged or edited"):
        Source(small_scan(), copy, "cumulants")


def test_a_leaf_without_its_index_is_not_used(copy):
    for name in ("index.json", "index.copy.json"):
        next(copy.root.glob("leaves/*")).joinpath(name).unlink()
    with pytest.raises(DamageError, match="nnqft run"):
        Source(small_scan(), copy, "cumulants")


def test_nothing_is_computed_from_a_damaged_product(copy):
    chunk = next(p for p in copy.root.glob("ensemble.zarr/line/*/c/**/0") if p.is_file())
    chunk.unlink()  # zarr would read missing values
    with pytest.raises(DamageError, match=r"ensemble\.zarr has contents that differ .* `nnqft run` mends it"):
        estimate_cumulants(small_scan(), copy)


def test_verify_names_a_truncated_product(copy):
    chunk = next(p for p in copy.root.glob("cumulants.zarr/line/G4c/c/**/0") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-3])
    failures = verify(small_scan(), copy).failures
    assert "cumulants.zarr has contents that differ from the receipt; nnqft run mends it" in failures


def test_an_empty_figure_is_made_again(copy):
    copy.figures.mkdir()
    (copy.figures / "a.png").write_bytes(b"")
    assert withdraw_damaged(small_scan(), copy) == ["a.png is empty and is made again"]
    assert list(copy.figures.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("nnqft.storage.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"a": 2})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert json.loads(path.read_text()) == {"a": 1}


def test_leftovers_of_dead_writers_go_and_those_of_the_living_stay(tmp_path):
    (tmp_path / f".a.json.{DEAD}.tmp").touch()
    (tmp_path / f".a.json.{os.getppid()}.tmp").touch()
    write_json(tmp_path / "a.json", {})
    assert {p.name for p in tmp_path.iterdir()} == {"a.json", f".a.json.{os.getppid()}.tmp"}
    assert not alive(str(DEAD))


def test_a_seal_tells_any_change(tmp_path):
    path = tmp_path / "a.json"
    write_sealed(path, {"a": [1.5, "b"]})
    assert read_sealed(path) == {"a": [1.5, "b"]}
    data = path.read_bytes()
    for changed in (b"", b"{}", b"[]", data[:-1], data.replace(b"1.5", b"1.25"), data + b" ", b"\xff" + data):
        Path(path).write_bytes(changed)
        with pytest.raises(SealError, match="run the scan again"):
            read_sealed(path)
