"""Standard normals from a counter: Threefry-2x32-20 and Box-Muller, written so that compilers vectorise all of it.

Threefry: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (bit for bit the cipher of
``jax.random``). Box-Muller: the radius sqrt(-2 ln u) takes a whole word, with a relative error of 2e-7
everywhere (1 - u is exact where u is close to 1) and values from 1.5e-5 to 6.76; of the other word, three bits
choose the octant and 29 the angle in it. Logarithm, sine and cosine are polynomials on those intervals, several times
faster on a CPU than general functions.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from nnqft.core.elementary import polynomial, sin_cos

GENERATOR = "threefry2x32-20/box-muller-f32-octants"
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)


def threefry(key: jax.Array, high: jax.Array, low: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Encrypt the counter (high, low), uint32 of any one broadcast shape, with a key of two uint32 words."""
    subkeys = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    high, low = high + subkeys[0], low + subkeys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            high = high + low
            low = (low << np.uint32(rotation)) | (low >> np.uint32(32 - rotation))
            low = low ^ high
        high = high + subkeys[(group + 1) % 3]
        low = low + subkeys[(group + 2) % 3] + np.uint32(group + 1)
    return high, low


def subkey(key: jax.Array, salt: int | jax.Array) -> jax.Array:
    """An independent key (2,) for one use of a key, numbered by `salt`."""
    words = threefry(key, jnp.uint32(0xFFFFFFFF), jnp.uint32(salt))
    return jnp.stack(words)


def normals(key: jax.Array, network: jax.Array, rows: int, columns: int) -> list[jax.Array]:
    """Independent N(0, 1) draws, float32: `columns` arrays of shape (networks, rows).

    `network` (networks,) uint32 numbers the networks: entry (m, i, j) depends on the key, network[m], i, j and the
    shape (rows, columns), never on which other networks are drawn with it.

    Raises:
        ValueError: if rows * columns reaches 2^33, where the counter would repeat.
    """
    pairs = normal_pairs(key, network, rows, columns)
    return [part.T for pair in pairs for part in (pair.real, pair.imag)][:columns]


def normal_pairs(key: jax.Array, network: jax.Array, rows: int, columns: int) -> jax.Array:
    """The same numbers, columns 2p and 2p + 1 as real and imaginary part: complex64 (pairs, rows, networks).

    This is how they lie in memory: side by side for different networks.
    """
    pairs = (columns + 1) // 2
    if rows * pairs >= 2**32:
        raise ValueError(f"{rows} x {columns} normals a network do not fit a 32-bit counter")
    first = jnp.arange(pairs, dtype=jnp.uint32)[:, None, None] * np.uint32(rows)

    def part(start: jax.Array, length: int) -> jax.Array:
        lane = start.astype(jnp.uint32) + jnp.arange(length, dtype=jnp.uint32)
        return _box_muller(*threefry(key, network, first + lane[:, None]))

    return _in_two_parts(part, (pairs, rows, len(network)))


def lane_normals(
    key: jax.Array, network: jax.Array, lane: jax.Array, rows: int | jax.Array, columns: int
) -> list[jax.Array]:
    """Entries (network, lane) of what :func:`normals` draws with `rows` rows: `columns` float32 arrays.

    network, lane: uint32 of one broadcast shape, which the result has; rows: may be traced, rows * columns / 2 must
    stay below 2^32. The same numbers bit for bit, in any order and any company.
    """
    pairs = (columns + 1) // 2
    network, lane = jnp.broadcast_arrays(network, lane)
    first = jnp.arange(pairs, dtype=jnp.uint32)[:, None, None] * jnp.asarray(rows, dtype=jnp.uint32)

    def part(start: jax.Array, length: int) -> jax.Array:
        high, low = (jax.lax.dynamic_slice(a.reshape(-1, 1), (start, 0), (length, 1)) for a in (network, lane))
        return _box_muller(*threefry(key, high, first + low))

    z = _in_two_parts(part, (pairs, lane.size, 1)).reshape(pairs, *lane.shape)
    return [part for pair in z for part in (pair.real, pair.imag)][:columns]


def _in_two_parts(part: Callable[[jax.Array, int], jax.Array], shape: tuple[int, int, int]) -> jax.Array:
    """Fill (pairs, rows, networks) with part(start, length), (pairs, length, networks) from row `start` on.

    In two parts because the compiler fuses whatever is not in a loop with its users, once for each of them, and then
    draws the same numbers many times.
    """
    half = -(-shape[1] // 2)

    def fill(i: jax.Array, z: jax.Array) -> jax.Array:
        start = jnp.minimum(i * half, shape[1] - half)
        return jax.lax.dynamic_update_slice(z, part(start, half), (0, start, 0))

    return jax.lax.fori_loop(0, 2, fill, jnp.zeros(shape, dtype=jnp.complex64))


def _box_muller(first: jax.Array, second: jax.Array) -> jax.Array:
    """Two independent normals as one complex64 from two uniform uint32 words."""
    radius = jnp.sqrt(_exponential(first))
    cos, sin = _unit_vector(second)
    return jax.lax.complex(radius * cos, radius * sin)


_LOG = (7.0376836e-2, -0.11514610, 0.11676999, -0.12420141, 0.14249323, -0.16668057, 0.20000715, -0.25, 0.33333331)
"""ln(1 + t) = t - t^2 / 2 + t^3 P(t) on [1 / sqrt(2) - 1, sqrt(2) - 1]: Cephes, logf."""


def _exponential(word: jax.Array) -> jax.Array:
    """-2 ln u, u = (word + 1/2) / 2^32."""
    bits = _as(word.astype(jnp.float32) + np.float32(0.5), jnp.int32)
    exponent = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    mantissa = _as(bits - (exponent << np.int32(23)), jnp.float32)
    below_one = ((~word).astype(jnp.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    close = word >= np.uint32(0xC0000000)
    t = jnp.where(close, -below_one, mantissa - 1)
    octaves = jnp.where(close, 0, exponent.astype(jnp.float32) - 32)
    square = t * t
    return octaves * np.float32(-2 * np.log(2)) + (square - 2 * t - 2 * square * t * polynomial(_LOG, t))


def _unit_vector(word: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A uniform point on the circle: (t, swap, two signs) from 29 + 3 bits, 0 < t < pi / 4."""
    t = ((word >> np.uint32(3)).astype(jnp.float32) + np.float32(0.5)) * np.float32(np.pi / 4 * 2.0**-29)
    sin, cos = sin_cos(t)
    swap, top = (word & np.uint32(1)) != 0, np.uint32(1 << 31)
    first = _as(jnp.where(swap, sin, cos), jnp.uint32) ^ ((word << np.uint32(30)) & top)
    second = _as(jnp.where(swap, cos, sin), jnp.uint32) ^ ((word << np.uint32(29)) & top)
    return _as(first, jnp.float32), _as(second, jnp.float32)


def _as(x: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    return jax.lax.bitcast_convert_type(x, dtype)
