"""`make chaos` itself: a broken promise does not come out clean."""

from dataclasses import dataclass

import pytest

from chaos import broken, kills, runs
from chaos.kills import random_kills
from chaos.mending import try_fault
from chaos.small import contents, resume
from chaos.table import Row, total
from nnqft.storage.product import read_tree

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("chaos") / "undisturbed"
    resume(root)
    return root, contents(root)


@pytest.mark.parametrize("victim", [broken.count_first, broken.forgetful])
def test_kills_find_a_broken_commit(finished, tmp_path, monkeypatch, victim):
    monkeypatch.setattr(kills, "_victim", victim)
    leaves = {name: data for name, data in finished[1].items() if name.startswith("leaves/")}
    found = total(random_kills(tmp_path, leaves, 6, 1))
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
