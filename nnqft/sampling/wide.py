"""Several sub-batches of a block at once: for devices that are wide and have memory to spare, GPUs above all.

The sums of a sub-batch are over the same tiles in the same order as on a CPU (:mod:`nnqft.sampling.block`), so that
how many are worked on at once is a matter of rounding at most. A CPU takes one after the other, in its cache.
"""

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from nnqft.core.packing import number
from nnqft.sampling.block import SLOTS, BlockSpec, tile_sums, tiling

SHARE = 0.5
"""Of the device's free memory: XLA needs some for itself, and temporaries grow a little faster than the batch."""


def wide_block(
    spec: BlockSpec, lanes: int, together: int, units: jax.Array, *law: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Sums (subbatches, total), slot maxima (subbatches, SLOTS) and sums of powers of the sizes (4,)."""
    sizes, tiles = tiling(spec, lanes, units)

    def one_subbatch(b: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        def one_tile(i: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
            vector, maxima, powers = tile_sums(spec, lanes, sizes, b, i.astype(jnp.uint32) * lanes, *law)
            return carry[0] + vector, jnp.maximum(carry[1], maxima), carry[2] + powers

        empty = jnp.zeros(sum(spec.layout.values())), jnp.zeros(SLOTS), jnp.zeros(4)
        return jax.lax.fori_loop(jnp.uint32(0), tiles, one_tile, empty)

    numbers = jnp.arange(spec.subbatches, dtype=jnp.uint32)
    power, largest, totals = jax.lax.map(one_subbatch, numbers, batch_size=together)
    return power, largest, totals.sum(axis=0)


@lru_cache(maxsize=512)
def at_once(spec: BlockSpec, lanes: int, d_in: int) -> int:
    """Sub-batches that fit the free memory of this process's device together; at least one."""
    return fitting(free_memory(), temporaries(spec, lanes, d_in, 1), spec.subbatches)


def fitting(free: int, one: int, most: int) -> int:
    """The largest power of two, or `most`, of pieces of `one` byte each in SHARE of the free memory; at least one."""
    fit = int(SHARE * free) // max(one, 1)
    return most if fit >= most else 1 << (max(fit, 1).bit_length() - 1)


def free_memory() -> int:
    """Bytes that the device of this process has left; 0 where it does not say."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return int(stats.get("bytes_limit", 0)) - int(stats.get("bytes_in_use", 0))


def temporaries(spec: BlockSpec, lanes: int, d_in: int, together: int) -> int:
    """Bytes that the compiler wants for what is in memory while `together` sub-batches are worked on."""
    P = number(spec.points, 2)
    shapes = [((), np.uint32), ((2,), np.uint32), ((spec.points, d_in), np.float64), ((), np.float64)]
    shapes += [((), np.float64), ((P,), np.float64), ((P,), np.float64)]
    law = [jax.ShapeDtypeStruct(shape, dtype) for shape, dtype in shapes]
    found = jax.jit(partial(wide_block, spec, lanes, together)).lower(*law).compile().memory_analysis()
    return int(found.temp_size_in_bytes) if found else 0
