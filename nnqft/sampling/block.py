"""One block of networks: draw, reduce to power sums, forget.

Sums are kept separately for about 64 sub-batches of the block, so that a jackknife has enough groups however few the
blocks. Networks are drawn in tiles that fit a core's cache, one after the other within a sub-batch; what is in memory
is one tile and the sums, however large the block. The tiling is fixed by the content, so it never reaches the numbers.
A device that is no CPU works on as many sub-batches at once as its memory holds (:mod:`nnqft.sampling.wide`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import Basis, Components, multisets, number, pair_products
from nnqft.nets.base import Network
from nnqft.nets.lanes import Lanes
from nnqft.nets.maps import pair_average
from nnqft.sampling import sums
from nnqft.sampling.unit import Block

Kind = Literal["neurons", "total", "marginal", "product"]
Law = tuple[jax.Array, ...]

SUBBATCHES = 64
SLOTS = 16
"""Maxima of the sizes of deviations kept for each sub-batch."""
GAUSSIAN = (3.0, 15.0, 105.0)
"""Standardised moments of Gaussian weights, orders 4, 6, 8."""
TILE = 49152
"""Features of one tile of networks, at all points together: what fits a core's cache. (At least SLOTS networks.)"""
LANES = {"float32": 1024, "float64": 512}
"""Features of one tile where they are pooled: few, because a sub-batch of small networks hardly fills one."""


@dataclass(frozen=True)
class BlockSpec:
    """All that is static for the compiler. kind: which matrices are summed (docs: estimators).

    `neurons` pools the features of all networks, which must be iid; the network's width then does not matter here.
    """

    net: Network
    kind: Kind
    points: int
    networks: int
    max_order: int
    components: Components | None = None
    """The selected components of order 4 and above; None: all."""

    @property
    def basis(self) -> Basis:
        """Which components there are."""
        return self.components or self.points

    @property
    def subbatch(self) -> int:
        """Networks in a sub-batch (the last one of a block may hold fewer)."""
        return max(1, self.networks // SUBBATCHES)

    @property
    def subbatches(self) -> int:
        """Sub-batches in a block: at least 64 where the block has that many networks."""
        return -(-self.networks // self.subbatch)

    def counts(self, units: int) -> NDArray[np.int64]:
        """Samples in each sub-batch, (subbatches,): networks, or neurons where these are pooled."""
        filled = np.minimum(np.arange(1, self.subbatches + 1) * self.subbatch, self.networks)
        return np.diff(filled, prepend=0) * (units if self.kind == "neurons" else 1)

    @property
    def layout(self) -> dict[str, int]:
        """Names and lengths of the sums, in the order in which the statistics vector holds them."""
        order = self.max_order
        P, Q, S, eight = (number(self.basis, k) if k <= order else 0 for k in (2, 4, 6, 8))
        PP = len(pair_products(self.components)[0]) if self.components and order >= 4 else P * (P + 1) // 2
        found = {"first": P} | ({"second": PP} if order >= 4 else {}) | ({"third": S} if order >= 6 else {})
        found |= {"fourth": eight} if order >= 8 else {}
        if (self.kind == "total" or self.excess) and order >= 4:
            found |= {"within4": Q} | ({"within6": S, "cross6": S} if order >= 6 else {})
        if self.kind == "total" and order >= 4:
            found |= {"within22": PP}
        if self.net.sampler == "tilted" and order >= 4:
            found |= {"moment4": PP} | ({"moment6": S, "mixed6": S} if order >= 6 else {})
        return found

    @property
    def excess(self) -> bool:
        """Whether f has cumulants beyond the second even given the features: readout weights that are not Gaussian."""
        return self.kind == "marginal" and self.max_order >= 4 and self.net.readout_moments != GAUSSIAN

    @property
    def slots(self) -> int:
        """Maxima kept for each block."""
        return self.subbatches * SLOTS


def block_statistics(
    spec: BlockSpec,
    key: NDArray[np.uint32],
    x: NDArray[np.float64],
    sigma_w: float,
    sigma_b: float,
    centre: NDArray[np.float64],
    scale: NDArray[np.float64],
    units: int | None = None,
) -> Block:
    """Draw the block's networks and reduce them.

    The tail (slots + 4,) holds the largest size of a deviation d in each slot of samples, 0 for an empty one, then the
    sums over the block of d, d^2, d^3, d^4.

    x (n_x, d_in); centre (P,), packed, is subtracted from the matrices (any fixed value is right; near the mean it
    keeps digits); scale (P,) makes deviations comparable for the tail; units: features of a network where the kind is
    `neurons` and spec.net stands for all widths (default: the network's own).
    """
    count = spec.net.units if units is None else units
    law = [jnp.asarray(a) for a in (key, x, np.float64(sigma_w), np.float64(sigma_b), centre, scale)]
    lanes = tile_lanes(spec)
    run = _compiled(spec, lanes, _at_once(spec, lanes, x.shape[1]))
    power, largest, totals = (np.asarray(part) for part in run(np.uint32(count), *law))
    tail = np.concatenate([largest.ravel(), totals])
    return Block(power, tail, spec.counts(count))


def any_width(net: Network) -> bool:
    """Whether one compiled kernel serves all widths of this network's pooled features: it has its own `unit`, as new as
    its `features` (a derived class may have changed these alone).
    """
    line = [cls.__dict__ for cls in type(net).__mro__]
    unit, features = (next(i for i, names in enumerate(line) if name in names) for name in ("unit", "features"))
    return unit <= features and type(net).unit is not Network.unit


def canonical(spec: BlockSpec) -> BlockSpec:
    """The specification whose kernel serves this one too."""
    return replace(spec, net=replace(spec.net, width=1)) if spec.kind == "neurons" and any_width(spec.net) else spec


def tile_lanes(spec: BlockSpec) -> int:
    """Samples of one tile: networks; or pooled features, always as many, so that one kernel serves all widths."""
    if spec.kind == "neurons" and any_width(spec.net):
        return LANES[spec.net.dtype]
    tile = int(np.clip(4 * TILE // spec.net.working_set(spec.points), SLOTS, max(SLOTS, spec.subbatch)))
    return tile // SLOTS * SLOTS


@lru_cache(maxsize=512)
def _compiled(spec: BlockSpec, lanes: int, together: int) -> Callable[..., tuple[jax.Array, jax.Array, jax.Array]]:
    """The compiled block; width (of pooled features), sigma_w, sigma_b, points, key, centre and scale are traced."""
    if together > 1:
        from nnqft.sampling.wide import wide_block

        return jax.jit(partial(wide_block, spec, lanes, together))
    options = {"xla_cpu_prefer_vector_width": 512} if jax.default_backend() == "cpu" else None
    return jax.jit(partial(_block, spec, lanes), compiler_options=options)


def _at_once(spec: BlockSpec, lanes: int, d_in: int) -> int:
    if jax.default_backend() == "cpu":
        return 1
    from nnqft.sampling.wide import at_once

    return at_once(spec, lanes, d_in)


def _block(spec: BlockSpec, lanes: int, units: jax.Array, *law: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Sums (subbatches, total), slot maxima (subbatches, SLOTS) and sums of powers of the sizes (4,).

    The trip count is traced, so that the compiler can neither unroll the loop nor treat its body in two ways.
    """
    sizes, per_subbatch = tiling(spec, lanes, units)

    def one_tile(i: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        power, largest, totals = carry
        i = i.astype(jnp.uint32)
        b, start = i // per_subbatch, (i % per_subbatch) * lanes
        vector, maxima, powers = tile_sums(spec, lanes, sizes, b, start, *law)
        row = jax.lax.dynamic_index_in_dim(power, b, keepdims=False) + vector
        slot = jnp.maximum(jax.lax.dynamic_index_in_dim(largest, b, keepdims=False), maxima)
        return power.at[b].set(row), largest.at[b].set(slot), totals + powers

    shape = spec.subbatches, sum(spec.layout.values())
    empty = jnp.zeros(shape), jnp.zeros((spec.subbatches, SLOTS)), jnp.zeros(4)
    return jax.lax.fori_loop(jnp.uint32(0), per_subbatch * np.uint32(spec.subbatches), one_tile, empty)


def tiling(spec: BlockSpec, lanes: int, units: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Samples of each sub-batch (subbatches,), and the tiles that each takes."""
    pooled = spec.kind == "neurons" and any_width(spec.net)
    filled = np.minimum((np.arange(spec.subbatches) + 1) * spec.subbatch, spec.networks)
    sizes = jnp.asarray(np.diff(filled, prepend=0).astype(np.uint32)) * (units if pooled else jnp.uint32(1))
    return sizes, (jnp.uint32(spec.subbatch) * (units if pooled else 1) + lanes - 1) // lanes


def tile_sums(
    spec: BlockSpec, lanes: int, sizes: jax.Array, b: jax.Array, start: jax.Array, *law: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The tile of sub-batch b that begins at a sample: sums (total,), slot maxima (SLOTS,), powers of sizes (4,)."""
    pooled = spec.kind == "neurons" and any_width(spec.net)
    lane = start + jnp.arange(lanes, dtype=jnp.uint32)
    mask = lane < sizes[b]
    network, index = (b, lane) if pooled else (b * np.uint32(spec.subbatch) + lane, None)
    found, size = _tile(spec, network, index, sizes[0], mask, *law)
    vector = jax.lax.optimization_barrier(jnp.concatenate([found[name] for name in spec.layout]))
    size = jnp.where(mask if size.shape == mask.shape else jnp.repeat(mask, size.size // lanes), size, 0)
    return vector, _slot_maxima(size, start), _powers(size)


def _tile(
    spec: BlockSpec,
    network: jax.Array,
    index: jax.Array | None,
    count: jax.Array,
    mask: jax.Array,
    key: jax.Array,
    x: jax.Array,
    sigma_w: jax.Array,
    sigma_b: jax.Array,
    centre: jax.Array,
    scale: jax.Array,
) -> tuple[sums.Sums, jax.Array]:
    """Sums over one tile, and the size d of every sample's deviation: its contributions go as d, d^2, d^3, d^4."""
    net, n, order, basis = spec.net, spec.points, spec.max_order, spec.basis
    weight = net.readout(sigma_w, sigma_b)[0]
    keep = mask.astype(jnp.float64)
    if spec.kind == "neurons":
        if index is not None:
            args = Lanes(key, network, index, count), x, sigma_w, sigma_b

            def draw(*args: Any) -> tuple[jax.Array, jax.Array | None]:
                s, w = net.unit(*args)
                return s.T, w

            shapes = jax.eval_shape(draw, *args)
            # a branch's result is stored: else XLA draws it again for every product of a cheap activation
            s, w = jax.lax.cond(count > 0, draw, lambda *_: jax.tree.map(_zeros, shapes), *args)
        else:
            s, w = net.features(key, network, x, sigma_w, sigma_b).units.reshape(-1, n).T, None
            mask = jnp.repeat(mask, net.units)
        root = jnp.sqrt(
            scale[_own(n)] / weight
        )  # features of order one, whatever the points: float32 has a short range
        s = s * (mask / root[:, None]).astype(s.dtype)
        size = (s**2).mean(axis=0)
        if w is not None:  # the highest order's contribution is w d^(order / 2)
            size = size * w.astype(s.dtype) ** (2 / order)
        return sums.rescaled(sums.neurons(s, basis, order, w), jnp.sqrt(scale[_own(n)]), basis), size
    features = net.features(key, network, x, sigma_w, sigma_b)
    if spec.kind == "total":
        return _total(spec, features.units, features.covariance, mask, weight, sigma_w, sigma_b, centre, scale)
    if spec.kind == "product":
        f = net.output(key, network, features.units, sigma_w, sigma_b)[:, 0]
        found = f[:, :, None] * f[:, None, :]
    else:
        found = net.kernel(features.units, sigma_w, sigma_b)
    d = (_packed(found) - centre) * keep[:, None]
    size = jnp.sqrt(jnp.mean((d / scale) ** 2, axis=1))
    if spec.excess:
        root = jnp.sqrt(scale[_own(n)])
        units = (features.units / root).astype(features.units.dtype)
        k4, k6 = sums.readout(units, keep, weight, net.readout_moments, order, basis)
        k4 = k4 * sums.leg_factors(root, basis, 4)
        k6 = None if k6 is None else k6 * sums.leg_factors(root, basis, 6)
        return sums.totals(sums.Conditional(d, k4, k6, None), basis, order), size
    return sums.matrices(d, basis, order), size


def _total(
    spec: BlockSpec,
    units: jax.Array,
    covariance: jax.Array | None,
    mask: jax.Array,
    weight: jax.Array,
    sigma_w: jax.Array,
    sigma_b: jax.Array,
    centre: jax.Array,
    scale: jax.Array,
) -> tuple[sums.Sums, jax.Array]:
    """Conditional cumulants given the layers below the last: k2 = E[Khat | .] in closed form, k4 and k6 measured."""
    net, n, order, basis = spec.net, spec.points, spec.max_order, spec.basis
    assert covariance is not None
    rows, columns = multisets(n, 2).T
    own = jnp.diagonal(covariance, axis1=1, axis2=2)
    average = pair_average(net.activation)(own[:, rows], covariance[:, rows, columns], own[:, columns])
    readout = net.readout(sigma_w, sigma_b)
    keep = mask.astype(jnp.float64)
    k2 = (readout[1] + weight * average - centre) * keep[:, None]
    if order == 2:
        return sums.matrices(k2, basis, order), jnp.sqrt(jnp.mean((k2 / scale) ** 2, axis=1))
    root = jnp.sqrt(scale[_own(n)])
    parts = sums.within((units / root).astype(units.dtype), keep, weight, net.readout_moments, order, basis)
    norm = sums.leg_factors(root, basis, 4)
    k4, c4 = parts[0] * norm, parts[1] * sums.pair_factors(root, basis)
    k6 = None if parts[2] is None else parts[2] * sums.leg_factors(root, basis, 6)
    size = jnp.sqrt(jnp.sqrt(jnp.mean(((k4 + sums.wick4(k2, basis)) / norm) ** 2, axis=1)))
    return sums.totals(sums.Conditional(k2, k4, k6, c4), basis, order), size


def _powers(size: jax.Array) -> jax.Array:
    """Sums of d, d^2, d^3, d^4: (4,) float64. (Products, because XLA does not vectorise long sums on a CPU.)"""
    square = size**2
    pairs = (size, jnp.ones_like(size)), (size, size), (square, size), (square, square)
    return jnp.stack([jnp.dot(a, b, precision="highest").astype(jnp.float64) for a, b in pairs])


def _zeros(like: jax.ShapeDtypeStruct) -> jax.Array:
    return jnp.zeros(like.shape, like.dtype)


def _own(points: int) -> NDArray[np.int64]:
    """Packed positions of the diagonal."""
    pairs = multisets(points, 2)
    return np.flatnonzero(pairs[:, 0] == pairs[:, 1])


def _packed(matrix: jax.Array) -> jax.Array:
    rows, columns = multisets(matrix.shape[-1], 2).T
    return matrix[:, rows, columns]


def _slot_maxima(size: jax.Array, start: jax.Array) -> jax.Array:
    """Largest size in each of SLOTS classes of samples, by their number within the sub-batch modulo SLOTS."""
    if size.size % SLOTS == 0:
        return size.reshape(-1, SLOTS).max(axis=0)
    slot = (start + jnp.arange(size.size, dtype=jnp.uint32)) % SLOTS
    return jnp.zeros(SLOTS, size.dtype).at[slot].max(size)
