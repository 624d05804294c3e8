"""Blocks: sums that are what they say, bits that depend on nothing but the content, memory that stays flat."""

import os
import subprocess
import sys
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnqft.core.packing import multisets, pack, pairing_legs
from nnqft.core.versions import KERNEL_VERSION
from nnqft.nets.registry import network
from nnqft.sampling import sums
from nnqft.sampling.block import BlockSpec, block_statistics, canonical
from nnqft.sampling.kinds import memory
from nnqft.spec.grid import architecture

KEY = np.array([11, 22], dtype=np.uint32)
LINE = np.array([[-1.0], [0.3], [1.0]])
SIGMA = 1.2, 0.5


def spec(kind="marginal", activation="erf", depth=1, width=8, x=LINE, networks=1024, order=6, precision="float64", **o):
    net = network(architecture(x, activation, depth, *SIGMA), width, o.get("sampler", "conditional"), precision)
    return BlockSpec(net, kind, len(x), networks, order)


def run(s, x=LINE, key=KEY, **more):
    pairs = len(x) * (len(x) + 1) // 2
    return block_statistics(s, key, x, *SIGMA, np.zeros(pairs), np.ones(pairs), **more)


def named(s, found):
    """Sums over the whole block by name."""
    starts = np.cumsum([0, *s.layout.values()])
    return dict(zip(s.layout, np.split(found.moments.sum(axis=0), starts[1:-1]), strict=True))


def features(s, x=LINE):
    numbers = jnp.arange(s.networks, dtype=jnp.uint32)
    return jax.jit(s.net.features)(jnp.asarray(KEY), numbers, jnp.asarray(x), *map(jnp.float64, SIGMA))


def wick(X, order):
    return X[:, pairing_legs(3, order)].prod(axis=-1).sum(axis=-1)


@pytest.mark.parametrize("networks", [1000, 50])
@pytest.mark.parametrize("width", [1, 8, pytest.param(3000, marks=pytest.mark.slow)])
def test_sums_of_kernels_are_those_of_the_networks_one_by_one(networks, width):
    s = spec(width=width, networks=networks, order=8)
    found = run(s)
    K = np.asarray(jax.jit(s.net.kernel)(features(s).units, *SIGMA))
    X, left, right = pack(K), *np.triu_indices(6)
    expected = {"first": X.sum(0), "second": (X[:, left] * X[:, right]).sum(0), "third": wick(X, 6).sum(0)}
    expected["fourth"] = wick(X, 8).sum(0)
    for name, value in named(s, found).items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-5 * np.abs(expected[name]).max())
    size = np.sqrt((X**2).mean(axis=1))
    assert found.count.sum() == networks
    assert len(found.count) == s.subbatches >= min(networks, 64)
    assert found.tail[: s.slots].max() == pytest.approx(size.max(), rel=1e-5)
    np.testing.assert_allclose(found.tail[s.slots :], [(size**k).sum() for k in (1, 2, 3, 4)], rtol=1e-5)


def test_slots_hold_the_largest_of_equal_classes():
    s = spec(networks=64 * 48)
    found = run(s)
    X = pack(np.asarray(jax.jit(s.net.kernel)(features(s).units, *SIGMA)))
    size = np.sqrt((X**2).mean(axis=1)).reshape(64, 3, 16)
    np.testing.assert_allclose(found.tail[: s.slots].reshape(64, 16), size.max(axis=1), rtol=1e-5)


def test_products_of_outputs_are_summed_around_zero():
    s = spec("product")
    numbers, scales = jnp.arange(1024, dtype=jnp.uint32), map(jnp.float64, SIGMA)
    f = jax.jit(s.net.output)(jnp.asarray(KEY), numbers, features(s).units, *scales)[:, 0]
    found = named(s, run(s))
    third = np.asarray(f)[:, multisets(3, 6)].prod(axis=-1).sum(axis=0)
    np.testing.assert_allclose(found["third"], 15 * third, rtol=1e-5)


def test_conditional_cumulants_within_a_network_are_polykays():
    """k4 and k6 of one network's neurons, against the estimator for pooled neurons, which is tested on its own."""
    from nnqft.estimation.kstatistics import Amplitude, PowerSums, connected

    s = np.random.default_rng(3).normal(size=(5, 7, 3))
    weight, moments = 1.7, (2.2, 9.0, 60.0)
    k4, c4, k6 = sums.within(jnp.asarray(s), jnp.ones(5), weight, moments, 6, s.shape[-1])
    total4, total6, outputs = 0, 0, 0
    for neurons in s:
        X = weight * neurons[:, multisets(3, 2)].prod(axis=-1)
        left, right = np.triu_indices(6)
        power = PowerSums(np.array(7), X.sum(0), (X[:, left] * X[:, right]).sum(0), wick(X, 6).sum(0))
        found = connected(power, np.zeros(6), 3, Amplitude(moments[0] / 3, moments[1] / 15, pooled=7))
        total4, total6, outputs = total4 + found["G4c"], total6 + found["G6c"], outputs + found["G4c_outputs"]
    np.testing.assert_allclose(k4.sum(axis=0), total4, rtol=1e-10)
    np.testing.assert_allclose(k6, total6, rtol=1e-9)
    np.testing.assert_allclose(c4, outputs, rtol=1e-10)


def test_pooled_neurons_have_the_law_of_the_network_at_every_width():
    """The kernel that serves all widths, against features drawn network by network, one point: moments of s^2."""
    x = np.array([[0.7]])
    for width in (2, 33):
        s = spec("neurons", width=width, x=x, networks=4096)
        pooled = block_statistics(canonical(s), KEY, x, *SIGMA, np.zeros(1), np.ones(1), units=width)
        assert pooled.count.sum() == 4096 * width
        phi = np.asarray(features(s, x).units).ravel() ** 2 * SIGMA[0] ** 2
        for value, power in ((named(s, pooled)["first"][0], 1), (named(s, pooled)["second"][0], 2)):
            error = (phi**power).std() * np.sqrt(2 / phi.size)
            assert abs(value / pooled.count.sum() - (phi**power).mean()) < 4 * error


@pytest.mark.parametrize("kind", ["neurons", "total", "marginal", "product"])
@pytest.mark.parametrize("order", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_lower_orders_store_the_same_sums(kind, order):
    depth = 1 if kind == "neurons" else 2
    whole, part = (spec(kind, depth=depth, order=o) for o in (6, order))
    a, b = named(whole, run(whole)), named(part, run(part))
    for name, value in b.items():
        np.testing.assert_allclose(value, a[name], rtol=1e-5)


def test_memory_does_not_grow_with_the_block():
    """The estimate that refuses scans, for blocks a thousand times as large; measured by the benchmarks."""
    small, large = (memory(spec("total", depth=2, networks=n, precision="float32", width=64)) for n in (2**14, 2**24))
    assert large < 1.5 * small


GOLDEN = {
    ("marginal", "float64", "conditional", 2): -929.2372958130245,
    ("marginal", "float32", "conditional", 1): -719.0930561487205,
    ("product", "float64", "weights", 2): -7317.837941692376,
    ("total", "float32", "conditional", 3): -454.5409905004675,
    ("neurons", "float32", "conditional", 1): 11319.842766505562,
    ("neurons", "float64", "tilted", 1): 4806.278587789639,
}


def summary(kind, precision, sampler, depth):
    s = spec(kind, depth=depth, networks=100, width=5, precision=precision, sampler=sampler)
    found = run(canonical(s), units=5)
    return float(np.sum(np.cos(np.arange(found.moments.shape[1])) * found.moments.sum(0)) + found.tail.sum())


@pytest.mark.parametrize("case", GOLDEN, ids=lambda c: "-".join(map(str, c)))
def test_golden_numbers_guard_the_kernel_version(case):
    """If this fails, the numbers a block produces have changed: raise KERNEL_VERSION and renew the numbers."""
    assert KERNEL_VERSION == 3
    assert summary(*case) == pytest.approx(GOLDEN[case], rel=1e-5)


CORES = """
import hashlib
import numpy as np
from nnqft.nets.registry import network
from nnqft.sampling.block import BlockSpec, block_statistics
from nnqft.spec.grid import architecture
x = np.array([[-1.0], [-0.6], [-0.2], [0.2], [0.6], [1.0]])
for kind, depth, networks in (("neurons", 1, 262144), ("total", 2, 65536), ("marginal", 2, 131072)):
    net = network(architecture(x, "erf", depth, 1.0, 1.0), 4, "conditional", "float32")
    s = block_statistics(BlockSpec(net, kind, 6, networks, 6), np.array([1, 2], np.uint32), x, 1.0, 1.0,
                         np.zeros(21), np.ones(21))
    print(hashlib.sha256(s.moments.tobytes() + s.tail.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_the_number_of_cores_never_changes_a_bit():
    """XLA splits long sums over its threads: large blocks, in processes that see one core and several."""
    found = set()
    for prefix, environment in ((["taskset", "-c", "0"], {}), ([], {}), ([], {"NPROC": "8"})):
        command = [*prefix, sys.executable, "-c", CORES]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
        found.add(done.stdout)
    assert len(found) == 1


@pytest.mark.parametrize(("depth", "widths"), [(1, (4, 7)), (2, (4,))])
def test_one_compilation_serves_a_sweep(depth, widths):
    """sigma_w and sigma_b, the points and the key are traced; so is the width of pooled features."""
    counted = []
    name = "/jax/core/compile/backend_compile_duration"
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: counted.append(event == name))

    def draw(width, sigma_w, sigma_b, order=4):
        x = sigma_w * LINE
        net = network(architecture(x, "erf", depth, sigma_w, sigma_b), width, "conditional", "float32")
        s = canonical(BlockSpec(net, "neurons" if depth == 1 else "total", 3, 130, order))
        block_statistics(s, KEY + width, x, sigma_w, sigma_b, np.zeros(6), np.ones(6), net.units)

    draw(widths[0], 0.9, 0.2)
    counted.clear()
    for width, sigma_w, sigma_b in product(widths, (0.5, 1.5), (0.1, 0.7)):
        draw(width, sigma_w, sigma_b)
    assert sum(counted) == 0
    draw(widths[0], 0.9, 0.2, order=2)
    assert sum(counted) > 0  # it does count
