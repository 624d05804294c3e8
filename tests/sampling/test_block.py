"""The sampling kernel: exact law, both samplers, no jitter, and bits that depend on nothing but the content."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnqft.core.packing import multisets, pack, pairing_legs
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.mlp import MLP
from nnqft.sampling.block import BlockSpec, block_statistics, sample_matrices

KEY = np.array([11, 22], dtype=np.uint32)
LINE = np.array([[-1.0], [-0.4], [0.3], [1.0]])
GAUSS_LINE = np.array([[-0.01], [-0.006], [-0.002], [0.002], [0.006], [0.01]])


def spec(activation="erf", depth=1, width=8, x=LINE, sampler="conditional", estimator="marginal", **more):
    settings = {"precision": "float64", "networks": 1024, "max_order": 6} | more
    return BlockSpec(activation, depth, width, *x.shape, sampler, estimator, **settings)


def run(s, x=LINE, key=KEY, sigma_w=1.2, sigma_b=0.5, **more):
    pairs = len(x) * (len(x) + 1) // 2
    return block_statistics(s, key, x, sigma_w, sigma_b, np.zeros(pairs), np.ones(pairs), **more)


def matrices(s, x, networks, sigma_w=1.0, sigma_b=1.0, key=KEY):
    draw = jax.jit(lambda n: sample_matrices(s, jnp.asarray(key), n, jnp.asarray(x), sigma_w, sigma_b))
    return np.asarray(draw(jnp.arange(networks, dtype=jnp.uint32)))


@pytest.mark.parametrize("width", [1, 300, 2000])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_batch_in_memory_never_changes_a_bit(width, depth, precision):
    s = spec(width=width, depth=depth, precision=precision, networks=1000)
    reference = run(s)
    for batch in (1, 64, 150):
        other = run(s, batch=batch)
        assert np.array_equal(reference.power, other.power)
        assert np.array_equal(reference.tail, other.tail)


def test_block_sizes_that_do_not_divide_are_exact():
    small, whole = run(spec(networks=1000)), run(spec(networks=1024))
    s = spec(networks=1000)
    assert s.counts.sum() == 1000
    assert small.power.shape[0] == s.subbatches >= 64
    assert s.subbatch * 60 == 900
    np.testing.assert_allclose(small.power[:60].sum(0), matrix_sums(900), rtol=1e-12)
    np.testing.assert_allclose(whole.power.sum(0), matrix_sums(1024), rtol=1e-12)


def matrix_sums(networks):
    X = matrices(spec(), LINE, networks, 1.2, 0.5)
    left, right = multisets(X.shape[1], 2).T
    legs = pairing_legs(len(LINE), 6)
    third = X[:, legs].prod(axis=-1).sum(axis=-1)
    return np.concatenate([X.sum(0), (X[:, left] * X[:, right]).sum(0), third.sum(0)])


@pytest.mark.parametrize("order", [2, 4])
def test_lower_orders_store_the_same_sums(order):
    full, part = run(spec()), run(spec(max_order=order))
    np.testing.assert_allclose(part.power, full.power[:, : part.power.shape[1]], rtol=1e-12)


def test_tails_are_the_largest_deviations():
    s = spec(networks=4096)
    found = run(s)
    size = np.sqrt((matrices(spec(), LINE, 4096, 1.2, 0.5) ** 2).mean(axis=1))
    np.testing.assert_allclose(found.tail, np.sort(size)[::-1][: s.tail], rtol=1e-12)
    np.testing.assert_allclose(found.tail_sums, [(size**k).sum() for k in (1, 2, 3)], rtol=1e-12)


@pytest.mark.parametrize(
    ("activation", "depth"),
    [(name, depth) for name, a in ACTIVATIONS.items() for depth in (1, 2, 3) if a.kind != "lognormal" or depth == 1],
)
def test_conditional_sampler_has_the_law_of_explicit_weights(activation, depth):
    means = []
    for sampler, key in (("conditional", KEY), ("weights", KEY + 7)):
        X = matrices(spec(activation, depth, 5, sampler=sampler), LINE, 40_000, 0.8, 0.4, key)
        statistics = np.concatenate([X, X**2], axis=1)
        means.append((statistics.mean(0), statistics.var(0) / len(X)))
    z = (means[0][0] - means[1][0]) / np.sqrt(means[0][1] + means[1][1])
    # 20 strongly correlated statistics; the square of a log-normal entry has no usable error bar
    kept = z[:10] if activation == "gauss" else z
    assert np.abs(kept).max() < 4.5


@pytest.mark.parametrize(("estimator", "dtype"), [("product", "float32"), ("product", "float64")])
def test_outputs_have_the_conditional_kernel_as_covariance(estimator, dtype):
    X = matrices(spec(width=6, precision=dtype), LINE, 60_000)
    ff = matrices(spec(width=6, precision=dtype, estimator=estimator), LINE, 60_000)
    difference = ff - X  # same hidden layer, so only the readout's noise is left
    z = difference.mean(0) / (difference.std(0) / np.sqrt(len(X)))
    assert np.abs(z).max() < 4


def finite_difference(order):
    """Coefficients of the order-th difference along the first points."""
    row = np.array([1.0])
    for _ in range(order):
        row = np.convolve(row, [1.0, -1.0])
    return row


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_difference_correlators_on_the_gauss_points_are_exact_without_jitter(order):
    """A second hidden layer on HMS's Gauss-net points, 0.004 apart, where a Gram matrix has condition 1e27.

    The variance of the order-th finite difference of z^(2) given the first layer is |A v|^2; the factor R of the QR
    reproduces it. An eigenvalue or Cholesky factor of the Gram matrix is wrong from the third difference on.
    """
    net = MLP(ACTIVATIONS["erf"], 1, 20, "conditional", "float64")
    hidden = net.hidden(jnp.asarray(KEY), jnp.arange(200, dtype=jnp.uint32), jnp.asarray(GAUSS_LINE), 1.0, 1.0)
    A = np.concatenate([np.asarray(hidden) / np.sqrt(20), np.ones((200, 1, 6))], axis=1)
    v = np.zeros(6)
    v[: order + 1] = finite_difference(order)
    exact = ((A @ v) ** 2).sum(axis=1)
    R = np.asarray(jnp.linalg.qr(jnp.asarray(A), mode="r"))
    tolerance = {1: 1e-8, 2: 1e-6, 3: 1e-5, 4: 1e-3}[order]
    np.testing.assert_allclose(np.median(((R @ v) ** 2).sum(axis=1) / exact), 1, rtol=tolerance)
    gram = np.einsum("mka,mkb->mab", A, A)
    values, vectors = np.linalg.eigh(gram)
    factor = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
    if order >= 3:  # negative control: the Gram matrix does fail
        wrong = ((factor.transpose(0, 2, 1) @ v) ** 2).sum(axis=1)
        assert np.median(np.abs(wrong / exact - 1)) > 0.05


def test_differences_of_sampled_outputs_on_the_gauss_points():
    """E (f0 - f1)^2 and the second difference of a depth-2 net from its own statistics, against explicit weights."""
    found = []
    for sampler, key in (("conditional", KEY), ("weights", KEY + 1)):
        X = matrices(spec("erf", 2, 12, GAUSS_LINE, sampler), GAUSS_LINE, 20_000, key=key)
        K = np.zeros((len(X), 6, 6))
        rows, columns = multisets(6, 2).T
        K[:, rows, columns] = K[:, columns, rows] = X
        for order in (1, 2):
            v = np.zeros(6)
            v[: order + 1] = finite_difference(order)
            values = np.einsum("a,mab,b->m", v, K, v)
            found.append((values.mean(), values.std() / np.sqrt(len(values))))
    for a, b in ((0, 2), (1, 3)):
        assert found[a][0] > 0
        assert abs(found[a][0] - found[b][0]) < 4 * np.hypot(found[a][1], found[b][1])


def test_duplicate_points_give_equal_outputs_and_no_nan():
    x = np.array([[0.3], [0.3], [-0.7], [-0.7]])
    for depth, width in ((1, 8), (3, 8), (2, 2)):
        X = matrices(spec("tanh", depth, width, x, estimator="product"), x, 200)
        assert np.isfinite(X).all()
        np.testing.assert_allclose(X[:, 0], X[:, 1], rtol=1e-10)


def test_more_inputs_than_points_use_the_factor_and_agree():
    x = np.random.default_rng(5).normal(size=(2, 6))
    X = matrices(spec("linear", 1, 4, x), x, 60_000, 1.3, 0.2)
    exact = pack(0.2**2 + 1.3**2 * (0.2**2 + 1.3**2 * x @ x.T / 6))
    assert np.abs((X.mean(0) - exact) / (X.std(0) / np.sqrt(len(X)))).max() < 4


def test_golden_numbers_guard_the_kernel_version():
    """If this fails, the numbers a block produces have changed: raise KERNEL_VERSION and renew the numbers."""
    from nnqft.core.versions import KERNEL_VERSION

    found = run(spec("tanh", 2, 5, networks=64), sigma_w=1.1, sigma_b=0.3).power.sum(axis=0)
    pairs = spec().sizes[0]
    assert KERNEL_VERSION == 1
    np.testing.assert_allclose(found[[0, 1, pairs, -1]], GOLDEN, rtol=1e-5)


GOLDEN = [28.640866121817393, 22.598915459504592, 14.373091932358129, 110.1610460841238]


CORES = """
import hashlib
import numpy as np
from nnqft.sampling.block import BlockSpec, block_statistics
x = np.array([[-1.0], [-0.6], [-0.2], [0.2], [0.6], [1.0]])
for order, networks in ((4, 131072), (6, 262144)):
    spec = BlockSpec("erf", 1, 3, 6, 1, "conditional", "marginal", "float32", networks, order)
    s = block_statistics(spec, np.array([1, 2], np.uint32), x, 1.0, 1.0, np.zeros(21), np.ones(21))
    print(hashlib.sha256(s.power.tobytes() + s.tail.tobytes() + s.tail_sums.tobytes()).hexdigest())
"""


def test_the_number_of_cores_never_changes_a_bit():
    """XLA splits long sums over its threads: large blocks, in processes that see one core and several."""
    found = set()
    for prefix, environment in ((["taskset", "-c", "0"], {}), ([], {}), ([], {"NPROC": "8"})):
        command = [*prefix, sys.executable, "-c", CORES]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)
        found.add(done.stdout)
    assert len(found) == 1
