"""The counter-based generator: bits, moments, tails, independence of the batch."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32

from nnqft.core.hashing import block_key, digest
from nnqft.core.normals import lane_normals, normals, subkey, threefry

KEY = jnp.array([123456789, 987654321], dtype=jnp.uint32)


def test_threefry_is_the_cipher_of_jax_bit_for_bit():
    counter = jnp.arange(2000, dtype=jnp.uint32)
    high, low = threefry(KEY, counter[:1000], counter[1000:])
    assert (jnp.concatenate([high, low]) == threefry_2x32(KEY, counter)).all()


def test_moments_and_tails_of_four_million_normals():
    z = np.stack(normals(KEY, jnp.arange(2000, dtype=jnp.uint32), 500, 4)).astype(np.float64).ravel()
    n = len(z)
    for k, mean, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96), (6, 15, 10170)):
        assert abs((z**k).mean() - mean) < 4 * np.sqrt(variance / n)
    expected = n * 6.334e-5  # P(|z| > 4)
    assert abs((np.abs(z) > 4).sum() - expected) < 4 * np.sqrt(expected)


def test_columns_rows_and_networks_are_uncorrelated():
    z = np.stack(normals(KEY, jnp.arange(3000, dtype=jnp.uint32), 40, 3), axis=-1).astype(np.float64)
    n = z.shape[0] * z.shape[1]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert abs((z[..., a] * z[..., b]).mean()) < 4 / np.sqrt(n)
    assert abs((z[1:] * z[:-1]).mean()) < 4 / np.sqrt(z[1:].size)
    assert abs((z[:, 1:] * z[:, :-1]).mean()) < 4 / np.sqrt(z[:, 1:].size)


def test_a_network_does_not_depend_on_its_company():
    together = jnp.stack(normals(KEY, jnp.arange(64, dtype=jnp.uint32), 7, 5), axis=-1)
    alone = jnp.stack(normals(KEY, jnp.array([37], dtype=jnp.uint32), 7, 5), axis=-1)
    assert (together[37] == alone[0]).all()


def test_lanes_are_the_same_numbers_bit_for_bit_whatever_their_order_and_company():
    rows, columns = 37, 5
    together = normals(KEY, jnp.arange(64, dtype=jnp.uint32), rows, columns)
    random = np.random.default_rng(3)
    network, lane = jnp.asarray(random.integers([[64], [rows]], size=(2, 1001)), dtype=jnp.uint32)
    drawn = jax.jit(lane_normals, static_argnums=4)(KEY, network, lane, jnp.int32(rows), columns)
    for all_, some in zip(together, drawn, strict=True):
        assert some.dtype == jnp.float32
        assert (all_[network, lane] == some).all()


def test_subkeys_differ():
    keys = {tuple(np.asarray(subkey(KEY, salt)).tolist()) for salt in range(100)}
    assert len(keys) == 100


def test_block_keys_depend_on_content_and_block_only():
    content = {"seed": 1, "width": 5, "architecture": {"activation": "erf", "depth": 1}}
    shuffled = {"architecture": {"depth": 1, "activation": "erf"}, "width": 5, "seed": 1}
    assert digest(content) == digest(shuffled)
    assert (block_key(content, 3) == block_key(shuffled, 3)).all()
    others = [block_key(content, 4), block_key(content | {"seed": 2}, 3), block_key(content | {"width": 6}, 3)]
    assert all((block_key(content, 3) != other).any() for other in others)


def test_integers_are_pinned():
    """Golden words: these may never change under one GENERATOR name."""
    words = threefry(KEY, jnp.arange(2, dtype=jnp.uint32), jnp.arange(2, dtype=jnp.uint32))
    reference = jax.jit(lambda: threefry_2x32(KEY, jnp.array([0, 1, 0, 1], dtype=jnp.uint32)))()
    assert np.stack(words).ravel().tolist() == np.asarray(reference).tolist()
    assert block_key({"seed": 0}, 0).tolist() == [397130681, 1736172561]
