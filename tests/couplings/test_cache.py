"""Vertex integrals on disk: found again, keyed by everything they depend on, never trusted when damaged."""

import logging

import numpy as np
import pytest

from nnqft.core.packing import number
from nnqft.core.selection import select
from nnqft.nets.activations import ACTIVATIONS, Activation
from nnqft.spec.grid import architectures
from nnqft.spec.load import parse_scan
from nnqft.stages import vertices as stage
from nnqft.stages.vertices import vertices
from nnqft.storage.integrals import IntegralCache


def scan(**changes):
    relu = {"activation": "relu", "points": "ray"} | changes
    return parse_scan({
        "name": "cached", "seed": 1, "points": {"ray": [[0.2], [0.7], [1.1]]}, "architectures": {"relu": relu},
        "widths": [3], "ensemble": {"networks": 8192, "block": 4096, "estimator": "marginal"},
    })  # fmt: skip


@pytest.fixture
def count(monkeypatch):
    """How often integrals were computed."""
    calls, compute = [], stage.vertex_integrals

    def counted(*arguments, **options):
        calls.append(arguments)
        return compute(*arguments, **options)

    monkeypatch.setattr(stage, "vertex_integrals", counted)
    return calls


def test_the_same_integrals_are_computed_once(tmp_path, count):
    cache, (architecture,) = IntegralCache(tmp_path / "integrals"), architectures(scan())
    first, second = (vertices(architecture, [1.0, 7.0], 3, cache).integrals for _ in range(2))
    assert len(count) == 1
    assert first.keys() == second.keys() == vertices(architecture, [1.0, 7.0], 3).integrals.keys()
    for name, values in first.items():
        np.testing.assert_array_equal(second[name], values, strict=True)
    assert [path.suffix for path in cache.folder.iterdir()] == [".npz"]


def test_selected_components_are_kept_apart(tmp_path):
    cache, (architecture,) = IntegralCache(tmp_path), architectures(scan())
    for basis in (3, select(3, (2, 4), ("aabb",)), select(3, (2, 4), ("aaab",))):
        for _ in range(2):
            found = vertices(architecture, [1.0], basis, cache)
            assert found.integrals["I4"].shape == (1, number(basis, 4))
            np.testing.assert_array_equal(found.integrals["I4"], vertices(architecture, [1.0], basis).integrals["I4"])
    assert len(list(tmp_path.iterdir())) == 3


def test_whatever_they_depend_on_is_in_the_key(tmp_path, monkeypatch, count):
    cache, (architecture,) = IntegralCache(tmp_path), architectures(scan())
    cases = [(architecture, [1.0]), (architecture, [2.0]), (architecture, [1.0, 2.0])]
    changes = ({"sigma_w": 1.5}, {"sigma_b": 0.5}, {"activation": "erf"})
    cases += [(architectures(scan(**change))[0], [1.0]) for change in changes]
    for case in cases:
        vertices(*case, 3, cache)
    monkeypatch.setattr(stage, "VERSION", -1)
    vertices(*cases[0], 3, cache)
    monkeypatch.setitem(ACTIVATIONS, "erf", Activation("erf", lambda z, v: 2 * ACTIVATIONS["tanh"].function(z, v)))
    vertices(*cases[-1], 3, cache)
    assert len(count) == len(list(tmp_path.iterdir())) == len(cases) + 2


@pytest.mark.parametrize("damage", [
    lambda content: b"", lambda content: content[:-7], lambda content: b"0" * 64 + content[64:],
    lambda content: content[:300] + bytes([content[300] ^ 1]) + content[301:],
])  # fmt: skip
def test_a_damaged_file_is_computed_again(tmp_path, count, caplog, damage):
    cache, (architecture,) = IntegralCache(tmp_path), architectures(scan())
    first = vertices(architecture, [1.0], 3, cache).integrals
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with caplog.at_level(logging.WARNING, logger="nnqft"):
        again = vertices(architecture, [1.0], 3, cache).integrals
    assert "computed again" in caplog.text
    assert len(count) == 2
    np.testing.assert_array_equal(again["I4"], first["I4"])
    assert path.read_bytes() == whole


def test_a_refusal_is_not_kept(tmp_path):
    (deep,) = architectures(scan(depth=2))
    assert "one hidden layer only" in vertices(deep, [1.0], 3, IntegralCache(tmp_path / "integrals")).reason
    assert not (tmp_path / "integrals").exists()
