"""Speed of the sampling kernel: its processor time over that of drawing the same number of normals with NumPy.

The kernel is the features of a perceptron and Khat, on tiles of networks in one compiled loop whose trip count is
traced, as blocks draw them. The yardstick is NumPy's fastest generator of normals, SFC64 in float32, filling a buffer
that stays in the cache, for the normals that the kernel really draws: min(n_x, d_in + 1) N in the first layer, n_x N in
each other one (fan-in + 1 where that is less). Both run on one and the same core, in turns; medians over turns.
"""

import argparse
import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import timing

from nnqft.nets.base import Network
from nnqft.nets.registry import network
from nnqft.sampling.block import SLOTS, TILE
from nnqft.spec.grid import architecture

TARGETS = {(64, 3): 0.40, (1000, 3): 0.30, (1000, 1): 1.0}
ACTIVATIONS = ("erf", "tanh", "relu", "sin")
POINTS = (6, 16, 64)
SECONDS = 0.15
"""Processor time of one turn of the kernel, about."""
KEPT = 16
"""Tiles whose results are kept."""


def compiled(net: Network, points: int, tile: int):
    """(first, tiles, key, x, sigma_w, sigma_b) -> the last KEPT tiles of packed Khat."""
    rows, columns = np.triu_indices(points)

    def draw(first, tiles, key, x, sigma_w, sigma_b):
        def one_tile(i, kept):
            number = (first + i).astype(jnp.uint32) * np.uint32(tile) + jnp.arange(tile, dtype=jnp.uint32)
            units = net.features(key, number, x, sigma_w, sigma_b).units
            found = jax.lax.optimization_barrier(net.kernel(units, sigma_w, sigma_b)[:, rows, columns])
            return jax.lax.dynamic_update_slice(kept, found, ((i % KEPT) * tile, 0))

        return jax.lax.fori_loop(0, tiles, one_tile, jnp.zeros((KEPT * tile, len(rows))))

    return jax.jit(draw, compiler_options={"xla_cpu_prefer_vector_width": 512})


def normals_drawn(net: Network, points: int, dimension: int) -> int:
    """Normals that one network takes."""
    deep = min(points, net.width + 1)
    return net.width * (min(points, dimension + 1) + (net.depth - 1) * deep)


def ratio(activation: str, width: int, depth: int, points: int, turns: int) -> tuple[float, float, float]:
    """Median, lowest and highest ratio of processor times over some turns."""
    a = architecture(np.linspace(-1, 1, points)[:, None], activation, depth, 1.0, 1.0)
    net = network(a, width, "conditional", "float32")
    tile = max(SLOTS, TILE // (width * points) // SLOTS * SLOTS)
    run = compiled(net, points, tile)
    law = jnp.array([3, 5], dtype=jnp.uint32), jnp.asarray(a.x), jnp.float64(1.0), jnp.float64(1.0)

    def once(tiles: int) -> float:
        start = time.process_time()
        run(0, tiles, *law).block_until_ready()
        return time.process_time() - start

    once(2)
    tiles = 4
    while (spent := min(once(tiles), once(tiles))) < SECONDS / 3:
        tiles *= 2
    tiles = max(4, int(tiles * SECONDS / spent))
    count = normals_drawn(net, points, 1) * tile * tiles
    generator, buffer = np.random.Generator(np.random.SFC64(1)), np.empty(8192, dtype=np.float32)

    def reference() -> float:
        start = time.process_time()
        for _ in range(count // len(buffer) // 4):
            generator.standard_normal(dtype=np.float32, out=buffer)
        return (time.process_time() - start) * 4

    ratios = [once(tiles) / reference() for _ in range(turns)]
    return statistics.median(ratios), min(ratios), max(ratios)


def main(turns: int = 7, every: bool = False) -> list[str]:
    """Print ratios, write JSON; what misses its target."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    found, short = {}, []
    for points in POINTS if every else POINTS[:1]:
        for activation in ACTIVATIONS:
            for (width, depth), target in TARGETS.items():
                middle, low, high = ratio(activation, width, depth, points, turns)
                label = f"{activation} N={width} L={depth} n_x={points}"
                found[label] = {"ratio": middle, "lowest": low, "highest": high}
                print(f"{label:28} {middle:6.3f} [{low:.3f} to {high:.3f}]", flush=True)
                if points == 6 and activation == "erf" and middle > target:
                    short.append(f"{label}: {middle:.3f} > {target}")
    timing.write("kernel", found)
    return short


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="16 and 64 points as well")
    raise SystemExit("\n".join(main(every=parser.parse_args().all)) or 0)
