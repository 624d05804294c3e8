"""Standard normals from a counter: Threefry-2x32-20 and Box-Muller, written so that XLA fuses them into their user.

Threefry: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11 (bit for bit the cipher of
``jax.random``). The rounds are unrolled and both Box-Muller outputs leave as one complex number: on a CPU this is
several times faster than ``jax.random.normal``, and its support reaches 6.7 sigma instead of 5.4.
"""

import jax
import jax.numpy as jnp
import numpy as np

GENERATOR = "threefry2x32-20/box-muller-f32"
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


def subkey(key: jax.Array, salt: int) -> jax.Array:
    """An independent key (2,) for one use of a key, numbered by `salt`."""
    words = threefry(key, jnp.uint32(0xFFFFFFFF), jnp.uint32(salt))
    return jnp.stack(words)


def normals(key: jax.Array, network: jax.Array, rows: int, columns: int) -> list[jax.Array]:
    """Independent N(0, 1) draws, float32: `columns` arrays of shape (networks, rows).

    (A list because stacking them before they are used costs a factor of two on a CPU.)

    `network` (networks,) uint32 numbers the networks: entry (m, i, j) depends on the key, network[m], i, j and the
    shape (rows, columns), never on which other networks are drawn with it.

    Raises:
        ValueError: if rows * columns reaches 2^33, where the counter would repeat.
    """
    pairs = (columns + 1) // 2
    if rows * pairs >= 2**32:
        raise ValueError(f"{rows} x {columns} normals a network do not fit a 32-bit counter")
    lanes = jnp.arange(rows * pairs, dtype=jnp.uint32).reshape(pairs, 1, rows)
    z = _box_muller(*threefry(key, network[None, :, None], lanes))
    z = jax.lax.optimization_barrier(z)
    return [part for p in range(pairs) for part in (z[p].real, z[p].imag)][:columns]


def _box_muller(first: jax.Array, second: jax.Array) -> jax.Array:
    """Two independent normals as one complex64 from two uniform uint32 words."""
    uniform = (first.astype(jnp.float32) + jnp.float32(0.5)) * jnp.float32(2.0**-32)
    radius = jnp.sqrt(-2 * jnp.log(uniform))
    angle = second.astype(jnp.float32) * jnp.float32(2 * np.pi * 2.0**-32)
    return jax.lax.complex(radius * jnp.cos(angle), radius * jnp.sin(angle))
