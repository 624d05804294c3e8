"""`make chaos` itself: a broken promise does not come out clean."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from chaos import kills, runs
from chaos.kills import random_kills
from chaos.mending import try_fault
from chaos.small import contents, resume
from chaos.table import Row, total
from nnqft.storage import chunks
from nnqft.storage.leafarrays import open_arrays
from nnqft.storage.leafstore import LeafStore
from nnqft.storage.product import read_tree

pytestmark = pytest.mark.slow


def count_first(self, row, block, moments, tail, count):
    """A block is marked as committed before its sums are there."""
    arrays = open_arrays(self._group)
    for name, value in (("count", count), ("moments", moments), ("tail", tail)):
        arrays[name].write(row, block, value)


def torn(self, row, block, values):
    """A chunk that is written where it will be read, piece by piece."""
    whole = chunks.ChunkedArray.path(self, row, block)
    written(self, row, block, values)
    content = Path(whole).read_bytes()
    Path(whole).write_bytes(content[:9])
    Path(whole).write_bytes(content)


written = chunks.ChunkedArray.write


def forgets(self, row, blocks):
    """No block is known to be committed."""
    return np.zeros(blocks, dtype=bool)


def _never(self, row, block):
    return False


def _victim_count_first(*arguments):
    LeafStore.commit = count_first
    victim(*arguments)


def _victim_torn(*arguments):
    chunks.ChunkedArray.write = torn
    victim(*arguments)


def _victim_that_forgets(*arguments):
    LeafStore.committed, LeafStore.intact = forgets, _never
    victim(*arguments)


victim = kills._victim


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("chaos") / "undisturbed"
    resume(root)
    return root, contents(root)


@pytest.mark.parametrize("broken", [_victim_count_first, _victim_torn, _victim_that_forgets])
def test_kills_find_a_broken_commit(finished, tmp_path, monkeypatch, broken):
    monkeypatch.setattr(kills, "_victim", broken)
    leaves = {name: data for name, data in finished[1].items() if name.startswith("leaves/")}
    found = total(random_kills(tmp_path, leaves, 12, 1))
    assert found.changed or found.recomputed, found


@dataclass(frozen=True)
class Nothing:
    """A checksum that is always right."""

    def __eq__(self, other):
        return True

    def to_bytes(self, length, order):
        return b"\0" * length


@pytest.mark.parametrize(
    ("fault", "where", "broken"),
    [
        ("moments chunk flipped", "nnqft.storage.chunks.google_crc32c.value", lambda body: Nothing()),
        ("moments chunk deleted", "chaos.small.withdraw_damaged", lambda scan, layout: []),
        ("product chunk deleted", "nnqft.stages.mend._products", lambda scan, layout: []),
        ("product chunk deleted", "nnqft.stages.cumulants.read_whole", lambda store, receipt: read_tree(store)),
    ],
)
def test_damage_finds_a_missing_check(finished, tmp_path, monkeypatch, fault, where, broken):
    monkeypatch.setattr(where, broken)
    row = Row(fault)
    for turn in range(1, 7):
        row.add(try_fault(*finished, tmp_path, fault, turn))
    assert not row.clean


def test_a_row_is_clean_only_if_all_survived_and_nothing_changed():
    assert Row("", tried=2, survived=2).clean
    assert not any(Row("", **wrong).clean for wrong in ({"tried": 1}, {"changed": 1}, {"recomputed": 1}))


def test_a_run_that_does_not_end_is_ended(tmp_path):
    assert runs.end(runs.start(tmp_path, ["sleep", "60"]), 0.5) is None
