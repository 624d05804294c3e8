"""Deep perceptrons of finite width, measured: sums over networks of everything that depends on the layer.

The chain is exact at every width. With z^(1) ~ N(0, K^(1)), iid over the n neurons of a layer,

    Khat^(l+1)_ab = C_b + (C_W / n) sum_i phi(z_ia) phi(z_ib),    z^(l+1)_i ~ N(0, Khat^(l+1)) given Khat^(l+1),

so that two or so normals a neuron do for what explicit weights need n (2106.10165 section 4.1). Three derivatives go
with it, all pathwise, that is along the same normals:

    s = t'/t,  t = d q^(l) / d q^(1) at the first point, q = Khat_11:    E[s | q] = chi_par(q);
    g = d'/d,  d = mean square of a tangent vector at the first point:    E[g | q, p, d] = X(q) + 2 X'(q) p^2 / d,
    r = (d Khat_12, d Khat_22) / d Khat^(1)_12, Khat_11 fixed:    E[r_12' | K, r] = chi_c(K) r_12 + (dF_12/dK_22) r_22,

X(q) = C_W <phi'^2>, chi_c(K) = C_W <phi'(z_1) phi'(z_2)>. The tangent's neurons are (p / q) z + sqrt(d - p^2 / q) h, h
normal and independent of z; it starts transverse, p = 0. Its mean square is the squared norm of the gradient of an
output by the first preactivations, averaged over outputs. Rates: lambda = sum E[G W] / sum E[W], W the product of the
last `window` factors and G the next one's expectation given the layers below, which has far less noise than the factor.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnqft.core.normals import normal_pairs, subkey
from nnqft.core.packing import number
from nnqft.criticality.averages import resolved
from nnqft.criticality.propagation_layer import (
    TINY,
    centred_log,
    dots,
    features,
    pair_response,
    series,
    statistics,
    upper_factor,
)
from nnqft.criticality.propagation_reference import Reference, Tables, prepared
from nnqft.nets.activations import Activation
from nnqft.nets.factor import gram, stored
from nnqft.nets.registry import activations

WINDOW = 32
"""Longest window of factors."""
TILE = 16384
"""Neurons of one tile of networks at all points together: what fits a core's cache."""
SLOTS = 16
"""Networks in a tile: multiples of this."""
RATES = "par", "perp", "pair"
_WEIGHTS = "W", "GW", "WW", "count"
_LOGS = "log", "log_count"


@dataclass(frozen=True)
class PropagationSpec:
    """What is static for the compiler, and how many networks there are; activation: a name, or an Activation.

    depth counts hidden layers, all of width `width`, so there are depth + 1 layers of preactivations.
    """

    activation: Activation | str
    points: int
    width: int
    depth: int
    networks: int
    subbatches: int = 16

    def __post_init__(self) -> None:
        """ValueError for sizes below one and for fewer networks than sub-batches."""
        if min(self.points, self.width, self.depth, self.subbatches) < 1 or self.networks < self.subbatches:
            raise ValueError(f"sizes must be positive, and every sub-batch must hold a network: {self}")

    @property
    def layout(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the sums, without the sub-batches."""
        layers, P = self.depth + 1, number(self.points, 2)
        rows = {"shift": P, "product": P * (P + 1) // 2, "cube": self.points, "correlation": P - self.points}
        found: dict[str, tuple[int, ...]] = {name: (layers, count) for name, count in rows.items()}
        found |= dict.fromkeys(("tangent", "tangent_square", "tangent_log"), (layers,))
        return found | dict.fromkeys(scalars(self.points), ())

    @property
    def counts(self) -> NDArray[np.int64]:
        """Networks in each sub-batch: (subbatches,), differing by at most one."""
        return np.diff(np.arange(self.subbatches + 1, dtype=np.int64) * self.networks // self.subbatches)


def scalars(points: int) -> tuple[str, ...]:
    """Names of the sums over layers: of every rate W, G W, W^2 and their number; logarithms of factors; clamped layers.

    The pair rate needs two points.
    """
    found = [f"{rate}_{name}" for rate in RATES[: 2 + (points > 1)] for name in _WEIGHTS]
    found += [f"{rate}_{name}" for rate in RATES[:2] for name in _LOGS]
    return (*found, "pair_clamped") if points > 1 else tuple(found)


def reference(spec: PropagationSpec, sigma_w: float, sigma_b: float, kernel: NDArray[np.float64] | float) -> Reference:
    """What :func:`propagation_block` and the estimates need from infinite width: see `prepared`."""
    return prepared(spec.activation, spec.depth, sigma_w, sigma_b, kernel)


def propagation_block(
    spec: PropagationSpec,
    key: NDArray[np.uint32],
    kernel: NDArray[np.float64],
    centre: NDArray[np.float64],
    sigma_w: float,
    sigma_b: float,
    burn: NDArray[np.int64],
    window: NDArray[np.int64],
    tables: Tables,
) -> dict[str, NDArray[np.float64]]:
    """Draw the networks and return float64 sums (subbatches, *shape) as in `spec.layout`.

    kernel (points, points): K^(1); centre (depth + 1, P), packed: what is subtracted from Khat; burn, window (3,): of
    the rates par, perp, pair. All come from :func:`reference`. Row l of sums (depth + 1, ...) belongs to z^(l+1);
    the first is exact. One compilation serves all laws, keys and numbers of
    networks; network m of a block depends on the key, m and the shape alone.

    `tangent_log`, `par_log` and `perp_log` hold ln g - g / E[g | below] + 1, whose expectation is that of ln g.
    ValueError for windows outside 1 ... 32, for kernels that are no covariance.
    """
    burn, window = (np.broadcast_to(np.asarray(a, dtype=np.int64), 3) for a in (burn, window))
    if window.min() < 1 or window.max() > WINDOW:
        raise ValueError(f"windows must be from 1 to {WINDOW}, got {window}")
    first = np.asarray(kernel, dtype=np.float64).reshape(spec.points, spec.points)
    counts = spec.counts
    starts = np.cumsum(counts) - counts
    numbers = first, first_factor(first), centre, sigma_w**2, sigma_b**2
    kernel_, root, middle, C_W, C_b = (jnp.asarray(a, dtype=jnp.float64) for a in numbers)
    law = _Law(kernel_, root, middle, C_W, C_b, jnp.asarray(burn), jnp.asarray(window), tables)
    run = _compiled(canonical(spec), tile_lanes(spec))
    rows, totals = run(starts.astype(np.uint32), counts.astype(np.uint32), np.asarray(key, dtype=np.uint32), law)
    one = np.asarray(statistics(law.kernel[..., None], law.centre[0], jnp.ones(1), jnp.zeros(1)))[None, :, 0]
    return _named(spec, counts.astype(np.float64)[:, None, None] * one, np.asarray(rows), np.asarray(totals))


def canonical(spec: PropagationSpec) -> PropagationSpec:
    """The specification whose compiled kernel serves this one too: numbers of networks are an argument of it."""
    known = isinstance(spec.activation, Activation) and activations().get(spec.activation.name) == spec.activation
    name = spec.activation.name if known and isinstance(spec.activation, Activation) else spec.activation
    return replace(spec, activation=name, networks=spec.subbatches)


def tile_lanes(spec: PropagationSpec) -> int:
    """Networks of one tile; fixed by the sizes alone, and of no consequence but for rounding."""
    most = -(-int(spec.counts.max()) // SLOTS) * SLOTS
    return int(np.clip(TILE // (spec.width * spec.points) // SLOTS * SLOTS, SLOTS, min(512, most)))


def first_factor(kernel: NDArray[np.float64]) -> NDArray[np.float64]:
    """R upper triangular, R^T R = K: z_a = sum_c R_ca g_c. For kernels of any rank.

    ValueError for a matrix that is no covariance.
    """
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
    if not np.allclose(kernel, kernel.T, rtol=1e-12) or values[0] < -1e-12 * max(np.trace(kernel), TINY):
        raise ValueError("kernel must be symmetric and positive semidefinite")
    factor = np.asarray(np.linalg.qr((vectors * np.sqrt(np.maximum(values, 0))).T, mode="r"))
    return factor * np.where(np.diagonal(factor) < 0, -1.0, 1.0)[:, None]


class _Law(NamedTuple):
    """All that is traced besides the numbers of networks; root: a factor of kernel."""

    kernel: jax.Array
    root: jax.Array
    centre: jax.Array
    C_W: jax.Array
    C_b: jax.Array
    burn: jax.Array
    window: jax.Array
    tables: Tables


class _State(NamedTuple):
    """Where the networks of a tile are. Khat, its factor R, a = p / sqrt(d) of the tangent, d and its logarithm.

    products (2 or 4, WINDOW, networks): of the factors of par and perp, and the pair response, each since the layer
    at which its slot was last emptied; divided by their infinite-width rates.
    """

    K: jax.Array
    R: jax.Array
    a: jax.Array
    d: jax.Array
    log_d: jax.Array
    products: jax.Array


Sums = tuple[jax.Array, jax.Array]


@lru_cache(maxsize=64)
def _compiled(spec: PropagationSpec, lanes: int) -> Callable[..., Sums]:
    options = {"xla_cpu_prefer_vector_width": 512} if jax.default_backend() == "cpu" else None
    return jax.jit(partial(_block, spec, lanes), compiler_options=options)


def _block(spec: PropagationSpec, lanes: int, start: jax.Array, count: jax.Array, key: jax.Array, law: _Law) -> Sums:
    """Rows (subbatches, depth, statistics) of layers 2 on, and totals (subbatches, scalars)."""
    tiles = (jnp.max(count) + lanes - 1) // lanes

    def one_tile(i: jax.Array, sums: Sums) -> Sums:
        b, lane = i // tiles, (i % tiles) * lanes + jnp.arange(lanes, dtype=jnp.uint32)
        keep = (lane < count[b]).astype(jnp.float64)
        return _tile(spec, key, start[b] + lane, keep, b, law, sums)

    width = sum(shape[1] if len(shape) > 1 else 1 for shape in spec.layout.values() if shape)
    empty = jnp.zeros((spec.subbatches, spec.depth, width)), jnp.zeros((spec.subbatches, len(scalars(spec.points))))
    return jax.lax.fori_loop(jnp.uint32(0), tiles * np.uint32(spec.subbatches), one_tile, empty)


def _tile(
    spec: PropagationSpec,
    key: jax.Array,
    network: jax.Array,
    keep: jax.Array,
    b: jax.Array,
    law: _Law,
    sums: Sums,
) -> Sums:
    """One tile of networks through all layers, added to row b of the sums. Networks are last in all arrays."""
    lanes = len(network)

    def layer(i: jax.Array, carry: tuple[_State, jax.Array, jax.Array]) -> tuple[_State, jax.Array, jax.Array]:
        state, rows, totals = carry
        g = normal_pairs(subkey(key, i), network, spec.width, max(2, spec.points))
        state, weights = _layer(spec, law, state, g, i.astype(law.burn.dtype), keep)
        found = statistics(state.K, law.centre[i + 1], state.d, state.log_d) @ keep
        return state, rows.at[b, i].add(found), totals.at[b].add(weights)

    def wide(x: jax.Array) -> jax.Array:
        return jnp.broadcast_to(x[..., None], (*x.shape, lanes))

    one, zero = jnp.ones(lanes), jnp.zeros(lanes)
    products = jnp.ones((4 if spec.points > 1 else 2, WINDOW, lanes)).at[3:].set(0.0)
    state = _State(wide(law.kernel), wide(law.root), zero, one, zero, products)
    return jax.lax.fori_loop(jnp.uint32(0), jnp.uint32(spec.depth), layer, (state, *sums))[1:]


def _layer(
    spec: PropagationSpec, law: _Law, state: _State, g: jax.Array, step: jax.Array, keep: jax.Array
) -> tuple[_State, jax.Array]:
    """The next layer, and what this one adds to the totals."""
    K, a, pair, tables = state.K, state.a, spec.points > 1, law.tables
    scale = law.C_W / spec.width
    units, vectors = stored(partial(features, resolved(spec.activation), K, state.R, a), g)
    found = scale * dots(units, vectors, pair)
    q = jnp.maximum(K[0, 0], TINY)
    s, growth = found[0] / q, found[2]
    chi, X, slope = law.C_W * series(tables.coefficients, tables.span, q)
    inside = (jnp.log(q) > tables.span[0]) & (jnp.log(q) < tables.span[1])
    mean = jnp.where(inside, chi, s), jnp.where(inside, X + 2 * slope * a**2, growth)

    slot = (step % law.window)[np.array([0, 1, 2, 2])[: 4 if pair else 2]]
    old = jnp.stack([state.products[k, slot[k]] for k in range(len(slot))])
    ready, settled = (step >= law.burn + law.window).astype(jnp.float64), (step >= law.burn).astype(jnp.float64)
    ahead = [mean[0] * old[0], mean[1] * old[1]]
    fresh = jnp.arange(WINDOW)[:, None] == slot[:, None, None]
    emptied = jnp.where(fresh, jnp.array([1.0, 1.0, 1.0, 0.0])[: len(slot), None, None], state.products)
    grown = [emptied[0] * (s / tables.rate[0]), emptied[1] * (growth / tables.rate[1])]
    one = jnp.ones_like(keep)
    more = []
    if pair:
        matrix, response, clamped = pair_response(K, found)
        ahead.append(response[0] * old[2] + response[1] * old[3])
        grown += [(row[0] * emptied[2] + row[1] * emptied[3]) / tables.rate[2] for row in matrix]
        more = [clamped @ keep * settled[2]]
    weights = [part @ keep * ready[k] for k in range(2 + pair) for part in (old[k], ahead[k], old[k] ** 2, one)]
    logs = [centred_log(s, mean[0]), centred_log(growth, mean[1])]
    weights += [part @ keep * settled[k] for k in range(2) for part in (logs[k], one)]

    following = law.C_b + scale * gram(units)
    turned = found[1] / jnp.sqrt(jnp.maximum(growth, TINY))
    d, log_d = state.d * growth, state.log_d + logs[1]
    moved = _State(following, upper_factor(following), turned, d, log_d, jnp.stack(grown))
    return moved, jnp.stack(weights + more)


def _named(
    spec: PropagationSpec, top: NDArray[np.float64], rows: NDArray[np.float64], totals: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """The sums by name; top (subbatches, 1, statistics): those of the first layer."""
    rows = np.concatenate([top, rows], axis=1)
    found, position = {}, 0
    for name, shape in spec.layout.items():
        if shape:
            length = shape[1] if len(shape) > 1 else 1
            found[name] = rows[:, :, position : position + length].reshape(len(rows), *shape)
            position += length
    return found | {name: totals[:, k] for k, name in enumerate(scalars(spec.points))}
