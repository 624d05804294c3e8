"""One block of networks: draw, reduce to sufficient statistics, forget.

The statistics of a block are power sums of the entries X of a symmetric matrix a network, around a fixed centre, kept
separately for about 64 sub-batches of the block so that a jackknife has enough groups however few the blocks:

- estimator `marginal`: X = Khat, the covariance of the output given the last hidden layer; the cumulants of f are
  sums over pairings of the cumulants of Khat (Rao-Blackwell; docs: physics of the estimator);
- estimator `product`: X = f f^T, the textbook estimator.
"""

from dataclasses import dataclass
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import multisets, pairing_legs, rank
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.mlp import MLP

SUBBATCHES = 64
TILE_NEURONS = 32768
"""Hidden units of one tile of networks: what fits a core's cache."""


@dataclass(frozen=True)
class BlockSpec:
    """What a block needs to know, as plain picklable values; everything static for the compiler."""

    activation: str
    depth: int
    width: int
    points: int
    dimension: int
    sampler: str
    estimator: str
    precision: str
    networks: int
    max_order: int

    @property
    def tile(self) -> int:
        """Networks computed together: fixed by the content, so that the shape of memory never reaches the numbers."""
        return int(np.clip(TILE_NEURONS // self.width, 1, self.networks))

    @property
    def subbatch(self) -> int:
        """Networks in a sub-batch (the last one of a block may hold fewer)."""
        return max(1, self.networks // SUBBATCHES)

    @property
    def subbatches(self) -> int:
        """Sub-batches in a block: at least 64 where the block has that many networks."""
        return -(-self.networks // self.subbatch)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Networks in each sub-batch: (subbatches,) int64."""
        filled = np.minimum(np.arange(1, self.subbatches + 1) * self.subbatch, self.networks)
        return np.diff(filled, prepend=0)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Lengths of the first, second and third power sums in the statistics vector (0 where not asked for)."""
        pairs = self.points * (self.points + 1) // 2
        second = pairs * (pairs + 1) // 2 if self.max_order >= 4 else 0
        third = len(multisets(self.points, 6)) if self.max_order >= 6 else 0
        return pairs, second, third

    @property
    def tail(self) -> int:
        """How many of the largest deviations of a block are kept for the tail diagnostics."""
        return min(self.networks, max(1024, self.networks // 256))


@dataclass(frozen=True)
class BlockStatistics:
    """power (subbatches, sum(sizes)) float64; tail (tail,) descending; tail_sums (3,): sums of d, d^2, d^3."""

    power: NDArray[np.float64]
    tail: NDArray[np.float64]
    tail_sums: NDArray[np.float64]


def block_statistics(
    spec: BlockSpec,
    key: NDArray[np.uint32],
    x: NDArray[np.float64],
    sigma_w: float,
    sigma_b: float,
    centre: NDArray[np.float64],
    scale: NDArray[np.float64],
    batch: int | None = None,
) -> BlockStatistics:
    """Draw the block's networks and reduce them.

    x (n_x, d_in); centre (pairs,), packed, is subtracted before powers are taken (any fixed value is right; near the
    mean it keeps digits); scale (pairs,) makes deviations comparable for the tail; `batch` networks, rounded to whole
    tiles, are drawn in one call (default: all of them): it bounds memory and never changes a bit of the result.
    """
    tiles = -(-spec.networks // spec.tile)
    capacity = int(np.clip((batch or spec.networks) // spec.tile, 1, tiles))
    law = [jnp.asarray(a) for a in (key, x, np.float64(sigma_w), np.float64(sigma_b), centre)]
    draw, reduce = _compiled(spec, capacity)
    slabs = [draw(first, min(capacity, tiles - first), *law) for first in range(0, tiles, capacity)]
    deviations = jnp.concatenate(slabs)[: spec.networks]
    power, size = (np.asarray(part) for part in reduce(deviations, jnp.asarray(scale)))
    return BlockStatistics(power, *_tail(spec, size))


def sample_matrices(
    spec: BlockSpec, key: jax.Array, network: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
) -> jax.Array:
    """The symmetric matrix of each network, packed: (networks, pairs) float64 (Khat, or f f^T for `product`)."""
    net = MLP(ACTIVATIONS[spec.activation], spec.depth, spec.width, spec.sampler, spec.precision)
    hidden = net.hidden(key, network, x, sigma_w, sigma_b)
    if spec.estimator == "marginal":
        matrices = net.kernel(hidden, sigma_w, sigma_b)
    else:
        f = net.output(key, network, hidden, sigma_w, sigma_b)
        matrices = f[:, :, None] * f[:, None, :]
    rows, columns = multisets(spec.points, 2).T
    return matrices[:, rows, columns]


@lru_cache(maxsize=256)
def _compiled(spec: BlockSpec, capacity: int):
    """Compiled drawing and reduction of one kind of block; sigma_w, sigma_b, points and key are traced."""
    options = {"xla_cpu_prefer_vector_width": 512} if jax.default_backend() == "cpu" else None
    draw = jax.jit(partial(_draw, spec, capacity), compiler_options=options)
    return draw, jax.jit(partial(_reduce, spec), compiler_options=options)


def _draw(
    spec: BlockSpec,
    capacity: int,
    first: jax.Array,
    tiles: jax.Array,
    key: jax.Array,
    x: jax.Array,
    sigma_w: jax.Array,
    sigma_b: jax.Array,
    centre: jax.Array,
) -> jax.Array:
    """Deviations (capacity * tile, pairs) of `tiles` tiles of networks from tile `first` on; the rest is zero.

    The loop's body, and with it every bit, is the same however many tiles one call draws: the trip count is traced,
    so that the compiler can neither unroll nor inline it.
    """

    def one_tile(i: jax.Array, deviations: jax.Array) -> jax.Array:
        network = (first + i).astype(jnp.uint32) * np.uint32(spec.tile) + jnp.arange(spec.tile, dtype=jnp.uint32)
        found = jax.lax.optimization_barrier(sample_matrices(spec, key, network, x, sigma_w, sigma_b) - centre)
        return jax.lax.dynamic_update_slice(deviations, found, (i * spec.tile, 0))

    empty = jnp.zeros((capacity * spec.tile, centre.shape[0]))
    return jax.lax.fori_loop(0, tiles, one_tile, empty)


def _reduce(spec: BlockSpec, deviations: jax.Array, scale: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Power sums of every sub-batch (subbatches, sum(sizes)), and the size d of every network's deviation.

    d = root mean square over entries of deviation / scale: the contribution of a network to G2, G4c and G6c goes as
    its first, second and third power.
    """
    size = jnp.sqrt(jnp.mean((deviations / scale) ** 2, axis=1))
    padding = spec.subbatches * spec.subbatch - spec.networks
    grouped = jnp.pad(deviations, ((0, padding), (0, 0))).reshape(spec.subbatches, spec.subbatch, -1)
    return jax.lax.map(partial(_power_sums, spec), grouped), size


def _power_sums(spec: BlockSpec, d: jax.Array) -> jax.Array:
    """Sums over networks of d_i, d_i d_j and of d_i d_j d_k summed over the 15 pairings of each six-point component."""
    sums = [d.sum(axis=0)]
    left, right = multisets(d.shape[1], 2).T
    if spec.max_order == 4:
        sums.append((d.T @ d)[left, right])
    if spec.max_order >= 6:
        products = d[:, left] * d[:, right]
        sums.append(products.sum(axis=0))
        legs = pairing_legs(spec.points, 6)
        triples = products.T @ d
        sums.append(triples[rank(legs[..., :2], d.shape[1]), legs[..., 2]].sum(axis=-1))
    return jnp.concatenate(sums)


def _tail(spec: BlockSpec, size: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Largest sizes (tail,), descending, and the sums over the block of d, d^2 and d^3."""
    largest = np.sort(size)[::-1][: spec.tail]
    return largest, np.array([np.sum(size), np.sum(size**2), np.sum(size**3)])
