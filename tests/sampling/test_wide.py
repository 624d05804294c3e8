"""Several sub-batches at once, as on a GPU: the same sums up to rounding, in the memory there is."""

import jax
import numpy as np
import pytest

from nnqft.nets.registry import network
from nnqft.sampling import block, wide
from nnqft.sampling.block import BlockSpec, block_statistics, canonical, tile_lanes
from nnqft.spec.grid import architecture

KEY = np.array([11, 22], dtype=np.uint32)
LINE = np.array([[-1.0], [0.3], [1.0]])


def spec(kind, precision="float64", networks=1000, width=40, order=6):
    depth, sampler = (2 if kind == "total" else 1), ("weights" if kind == "product" else "conditional")
    net = network(architecture(LINE, "erf", depth, 1.2, 0.5), width, sampler, precision)
    return canonical(BlockSpec(net, kind, 3, networks, order))


def drawn(s, together, monkeypatch):
    monkeypatch.setattr(block, "_at_once", lambda *_: together)
    return block_statistics(s, KEY, LINE, 1.2, 0.5, np.full(6, 0.3), np.full(6, 0.7), units=40)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("kind", "precision", "tolerance"),
    [
        ("marginal", "float64", 1e-12),
        slow("neurons", "float64", 1e-12),
        slow("neurons", "float32", 1e-4),
        slow("total", "float64", 1e-12),
        slow("product", "float64", 1e-12),
    ],
)
def test_the_same_sums_whatever_is_done_together(kind, precision, tolerance, monkeypatch):
    s = spec(kind, precision, order=4)
    one = drawn(s, 1, monkeypatch)
    scale = np.abs(one.moments).max(axis=0)
    for together in (5,) if kind == "marginal" else (5, s.subbatches):  # 5 does not divide their number
        some = drawn(s, together, monkeypatch)
        assert (some.count == one.count).all()
        assert (np.abs(some.moments - one.moments) <= tolerance * scale).all()
        np.testing.assert_allclose(some.tail, one.tail, rtol=10 * tolerance, atol=tolerance)


def test_as_many_as_fit():
    assert wide.fitting(1000, 10, 64) == 32
    assert wide.fitting(1280, 10, 64) == 64
    assert wide.fitting(10**9, 10, 63) == 63
    assert wide.fitting(0, 10, 64) == 1
    assert wide.fitting(5, 10, 64) == 1


def test_memory_grows_with_what_is_done_together_and_no_faster():
    s = spec("marginal", networks=4096, order=4)
    lanes = tile_lanes(s)
    one, many = (wide.temporaries(s, lanes, 1, n) for n in (1, 16))
    assert one > 8 * lanes  # at least a number a lane
    assert 4 * one < many < 20 * one


@pytest.mark.slow
def test_a_device_with_memory_takes_more(monkeypatch):
    s = spec("marginal", networks=4096, order=4)
    lanes = tile_lanes(s)
    needed = wide.temporaries(s, lanes, 1, 1)
    for free, expected in ((0, 1), (9 * needed, 4), (10**12, s.subbatches)):
        wide.at_once.cache_clear()
        monkeypatch.setattr(wide, "free_memory", lambda free=free: free)
        assert wide.at_once(s, lanes, 1) == expected
    wide.at_once.cache_clear()


def test_a_cpu_takes_one_after_the_other():
    assert jax.default_backend() == "cpu"
    assert block._at_once(spec("marginal"), 64, 1) == 1
