"""The counter-based generator: bits, moments, tails, independence of the batch."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32

from nnqft.core.hashing import block_key, digest
from nnqft.core.normals import _box_muller, lane_normals, normal_pairs, normals, subkey, threefry

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


def test_radius_and_angle_are_right_for_every_word():
    """u from 1 - 2^-33 (where 1 - u must keep its digits) to 2^-33, and all eight octants."""
    ends = np.concatenate(
        [np.arange(2**16), 2**31 + np.arange(-(2**15), 2**15), 3 * 2**30 + np.arange(-(2**15), 2**15)]
    )
    first = np.concatenate([ends, 2**32 - 1 - np.arange(2**16)]).astype(np.uint32)
    second = np.random.default_rng(0).integers(2**32, size=len(first), dtype=np.uint32)
    z = np.asarray(jax.jit(_box_muller)(first, second)).astype(np.complex128)
    above = (2.0**32 - 0.5 - first) / 2**32
    radius = np.sqrt(-2 * np.where(above < 0.5, np.log1p(-np.minimum(above, 0.5)), np.log((first + 0.5) / 2**32)))
    np.testing.assert_allclose(np.abs(z), radius, rtol=4e-7)
    octant, angle = second & 7, ((second >> 3) + 0.5) / 2**29 * np.pi / 4
    angle = np.where(octant & 1, np.pi / 2 - angle, angle)
    sign = 1 - (octant & 2).astype(int), 1 - (octant & 4).astype(int) // 2
    exact = radius * (sign[0] * np.cos(angle) + 1j * sign[1] * np.sin(angle))
    assert np.abs(z - exact).max() < 3e-6
    assert 6.7 < radius.max() < 6.8


def test_pairs_are_the_columns():
    network = jnp.arange(5, dtype=jnp.uint32)
    z = np.asarray(normal_pairs(KEY, network, 7, 3))
    assert z.shape == (2, 7, 5)
    columns = normals(KEY, network, 7, 3)
    assert len(columns) == 3
    assert (columns[0] == z[0].real.T).all()
    assert (columns[1] == z[0].imag.T).all()
    assert (columns[2] == z[1].real.T).all()


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
