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
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnqft.core.normals import normal_pairs, subkey
from nnqft.core.packing import multisets, number, pack
from nnqft.criticality.averages import resolved
from nnqft.criticality.propagation_reference import Tables
from nnqft.nets.activations import Activation
from nnqft.nets.factor import gram, stored
from nnqft.nets.registry import activations

WINDOW = 32
"""Longest window of factors."""
TILE = 16384
"""Neurons of one tile of networks at all points together: what fits a core's cache."""
SLOTS = 16
"""Networks in a tile: multiples of this."""
PIVOT = 1e-13
"""1 - c^2 of a point and those before it below which it counts as parallel to them."""
CLAMP = 1e-4
"""1 - c^2 below which the pair response is taken as if it were this: its noise grows as 1 / (1 - c^2)."""
TINY = 1e-300
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
    the rates par, perp, pair. All come from :func:`nnqft.criticality.propagation_reference.reference`. Row l of sums
    (depth + 1, ...) belongs to z^(l+1); the first is exact. One compilation serves all laws, keys and numbers of
    networks; network m of a block depends on the key, m and the shape alone.

    `tangent_log`, `par_log` and `perp_log` hold ln g - g / E[g | below] + 1, whose expectation is that of ln g.
    ValueError for windows outside 1 ... 32, for kernels that are no covariance.
    """
    burn, window = (np.broadcast_to(np.asarray(a, dtype=np.int64), 3) for a in (burn, window))
    if window.min() < 1 or window.max() > WINDOW:
        raise ValueError(f"windows must be from 1 to {WINDOW}, got {window}")
    first = np.asarray(kernel, dtype=np.float64).reshape(spec.points, spec.points)
    counts, lanes = spec.counts, tile_lanes(spec)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    law = (first, first_factor(first), np.asarray(centre, dtype=np.float64), np.float64(sigma_w), np.float64(sigma_b))
    run = _compiled(canonical(spec), lanes)
    tables = Tables(*(np.asarray(part, dtype=np.float64) for part in (tables.coefficients, tables.span, tables.rate)))
    args = (np.asarray(key, dtype=np.uint32), *law, burn, window, tables.coefficients, tables.span, tables.rate)
    rows, totals = (np.asarray(part) for part in run(starts.astype(np.uint32), counts.astype(np.uint32), *args))
    return _named(spec, rows, totals, _first_row(spec, first, np.asarray(centre)[0]))


def canonical(spec: PropagationSpec) -> PropagationSpec:
    """The specification whose compiled kernel serves this one too: the number of networks is an argument of it."""
    known = spec.activation if isinstance(spec.activation, str) else spec.activation.name
    name = known if spec.activation in (known, activations().get(known)) else spec.activation
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
    factor = np.linalg.qr((vectors * np.sqrt(np.maximum(values, 0))).T, mode="r")
    return factor * np.where(np.diagonal(factor) < 0, -1.0, 1.0)[:, None]


@lru_cache(maxsize=64)
def _compiled(spec: PropagationSpec, lanes: int) -> Callable[..., tuple[jax.Array, jax.Array]]:
    options = {"xla_cpu_prefer_vector_width": 512} if jax.default_backend() == "cpu" else None
    return jax.jit(partial(_block, spec, lanes), compiler_options=options)


def _block(
    spec: PropagationSpec, lanes: int, start: jax.Array, count: jax.Array, key: jax.Array, *law: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Rows (subbatches, depth, statistics) of layers 2 on, and totals (subbatches, scalars)."""
    tiles = (jnp.max(count) + lanes - 1) // lanes

    def one_tile(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        i = i.astype(jnp.uint32)
        b, lane = i // tiles, (i % tiles) * lanes + jnp.arange(lanes, dtype=jnp.uint32)
        keep = (lane < count[b]).astype(jnp.float64)
        return _tile(spec, key, start[b] + lane, keep, b, carry, *law)

    width = sum(shape[1] if len(shape) > 1 else 1 for shape in spec.layout.values() if shape)
    empty = jnp.zeros((spec.subbatches, spec.depth, width)), jnp.zeros((spec.subbatches, len(scalars(spec.points))))
    return jax.lax.fori_loop(jnp.uint32(0), tiles * np.uint32(spec.subbatches), one_tile, empty)


def _tile(
    spec: PropagationSpec,
    key: jax.Array,
    network: jax.Array,
    keep: jax.Array,
    b: jax.Array,
    sums: tuple[jax.Array, jax.Array],
    kernel: jax.Array,
    root: jax.Array,
    centre: jax.Array,
    sigma_w: jax.Array,
    sigma_b: jax.Array,
    burn: jax.Array,
    window: jax.Array,
    coefficients: jax.Array,
    span: jax.Array,
    rate: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """One tile of networks through all layers, added to row b of the sums. Networks are last in all arrays."""
    C_W, C_b, lanes = sigma_w**2, sigma_b**2, len(network)
    pair = spec.points > 1
    left, right = np.triu_indices(number(spec.points, 2))
    pairs = multisets(spec.points, 2)
    own = np.flatnonzero(pairs[:, 0] == pairs[:, 1])

    def layer(i: jax.Array, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        rows, totals, K, R, a, d, log_d, products = carry
        g = normal_pairs(subkey(key, i), network, spec.width, max(2, spec.points))
        units, vectors = stored(partial(_features, spec, K, R, a), g)
        new = C_b + C_W / spec.width * gram(units)
        found = C_W / spec.width * _dots(units, vectors, pair)
        q = jnp.maximum(K[0, 0], TINY)
        s, m, growth = found[0] / q, found[1], found[2]
        par, X, slope = _expected(coefficients, span, C_W, q)
        inside = (jnp.log(q) > span[0]) & (jnp.log(q) < span[1])
        expected = [jnp.where(inside, par, s), jnp.where(inside, X + 2 * slope * a**2, growth)]
        logs = [_log(s, expected[0]), _log(growth, expected[1])]

        slot = i % window
        W = jnp.stack([products[k, slot[min(k, 2)]] for k in range(len(products))])
        G = [expected[0] * W[0], expected[1] * W[1]]
        step = i.astype(burn.dtype)
        ready = (step >= burn + window).astype(jnp.float64)
        settled = (step >= burn).astype(jnp.float64)
        matrix, clamped = None, None
        if pair:
            matrix, response, clamped = _pair_response(K, found)
            G.append(response[0] * W[2] + response[1] * W[3])
        weights = [
            part @ keep * ready[k] for k in range(2 + pair) for part in (W[k], G[k], W[k] ** 2, jnp.ones_like(keep))
        ]
        weights += [part @ keep * settled[k] for k in range(2) for part in (logs[k], jnp.ones_like(keep))]
        if clamped is not None:
            weights.append(clamped @ keep * settled[2])
        totals = totals.at[b].add(jnp.stack(weights))

        fresh = jnp.arange(WINDOW)[:, None] == slot[:, None, None]
        old = [jnp.where(fresh[min(k, 2)], float(k < 3), products[k]) for k in range(len(products))]
        grown = [old[0] * (s / rate[0]), old[1] * (growth / rate[1])]
        if matrix is not None:
            grown += [(matrix[k][0] * old[2] + matrix[k][1] * old[3]) / rate[2] for k in range(2)]

        d, log_d = d * growth, log_d + logs[1]
        a = m / jnp.sqrt(jnp.maximum(growth, TINY))
        delta = new[pairs[:, 0], pairs[:, 1]] - centre[i + 1][:, None]
        size = jnp.sqrt(jnp.maximum(new[pairs[own, 0], pairs[own, 0]], TINY))
        c = [(new[j, k] / (size[j] * size[k]))[None] for j, k in combinations(range(spec.points), 2)]
        statistics = [delta, delta[left] * delta[right], delta[own] ** 3, *c, d[None], d[None] ** 2, log_d[None]]
        rows = rows.at[b, i].add(jnp.concatenate(statistics) @ keep)
        return rows, totals, new, _factor(new), a, d, log_d, jnp.stack(grown)

    def wide(x: jax.Array) -> jax.Array:
        return jnp.broadcast_to(x[..., None], (*x.shape, lanes))

    one, zero = jnp.ones(lanes), jnp.zeros(lanes)
    products = jnp.ones((4 if pair else 2, WINDOW, lanes)).at[3:].set(0.0)
    start = (*sums, wide(kernel), wide(root), zero, one, zero, products)
    return jax.lax.fori_loop(jnp.uint32(0), jnp.uint32(spec.depth), layer, start)[:2]


def _features(
    spec: PropagationSpec, K: jax.Array, R: jax.Array, a: jax.Array, g: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Phi (points, n, networks), and (phi' z_1, phi' v) at the first point; for two points (phi'_2 z_1, phi'_2 h,
    phi'_1, phi'_2) besides. v = (a / q) z_1 + sqrt(1 - a^2 / q) h: a tangent vector of unit mean square, a = p / sqrt d.

    h is the second normal of a neuron. Where there is a second point it moves that one too, as it would in a network
    whose tangent vector points from the first point to the second: the laws of (z_1, v) and of all z are exact.
    """
    phi = resolved(spec.activation)
    columns = [part for both in g for part in (both.real, both.imag)]
    upper = R.astype(jnp.float32)
    z = jnp.stack([sum(upper[c, p] * columns[c] for c in range(p + 1)) for p in range(spec.points)])  # type: ignore[misc]
    units, slopes = jax.jvp(lambda x: phi.function(x, jnp.ones((), x.dtype)), (z,), (jnp.ones_like(z),))
    q, h = jnp.maximum(K[0, 0], TINY), columns[1]
    along, across = a / q, jnp.sqrt(jnp.maximum(1 - a**2 / q, 0))
    v = along.astype(jnp.float32) * z[0] + across.astype(jnp.float32) * h
    found = [slopes[0] * z[0], slopes[0] * v]
    if spec.points > 1:
        found += [slopes[1] * z[0], slopes[1] * h, slopes[0], slopes[1]]
    return units, jnp.stack(found)


def _dots(units: jax.Array, vectors: jax.Array, pair: bool) -> jax.Array:
    """Sums over neurons: of phi phi' z, phi phi' v, (phi' v)^2 at the first point; for a pair of phi_a phi'_2 z_1,
    phi_a phi'_2 h, a = 1, 2, and phi'_1 phi'_2 besides.
    """
    products = [(units[0], vectors[0]), (units[0], vectors[1]), (vectors[1], vectors[1])]
    if pair:
        products += [(units[a], vectors[2 + k]) for a in range(2) for k in range(2)] + [(vectors[4], vectors[5])]
    return jnp.stack([jnp.sum(x.astype(jnp.float64) * y.astype(jnp.float64), axis=0) for x, y in products])


def _pair_response(
    K: jax.Array, found: jax.Array
) -> tuple[list[tuple[jax.Array, jax.Array]], tuple[jax.Array, jax.Array], jax.Array]:
    """The matrix of r, the conditional expectation of its first row up to noise, and where 1 - c^2 was clamped.

    z_2 = (K_12 / K_11) z_1 + rho h, rho^2 = K_22 - K_12^2 / K_11, moves by z_1 dK_12 / K_11 + h (dK_22 - 2 (K_12 /
    K_11) dK_12) / (2 rho). The second: <phi'_1 phi'_2> in place of what equals it on average (Price) and has more noise.
    """
    q = jnp.maximum(K[0, 0], TINY)
    k = K[0, 1] / q
    rest, floor = K[1, 1] - k * K[0, 1], CLAMP * jnp.maximum(K[1, 1], TINY)
    rho = jnp.sqrt(jnp.maximum(rest, floor))
    rows = []
    for a in range(2):
        across = found[4 + 2 * a] / (2 * rho)
        rows.append(((1 + a) * (found[3 + 2 * a] / q - 2 * k * across), (1 + a) * across))
    return rows, (found[7], rows[0][1]), (rest < floor).astype(jnp.float64)


def _expected(coefficients: jax.Array, span: jax.Array, C_W: jax.Array, q: jax.Array) -> jax.Array:
    """chi_par, X and X' at q: (3, networks), from Chebyshev series in ln q (Clenshaw); meaningless outside the span."""
    x = jnp.clip((2 * jnp.log(q) - span[0] - span[1]) / (span[1] - span[0]), -1, 1)
    first = second = jnp.zeros((3, len(q)))
    for k in range(coefficients.shape[1] - 1, 0, -1):
        first, second = coefficients[:, k, None] + 2 * x * first - second, first
    return C_W * (coefficients[:, :1] + x * first - second)


def _log(factor: jax.Array, expected: jax.Array) -> jax.Array:
    """Ln |f| - f / E f + 1: as ln |f| on average, with less noise. The logarithm of 0 counts as that of TINY."""
    ratio = factor / jnp.where(jnp.abs(expected) < TINY, 1.0, expected)
    return jnp.log(jnp.maximum(jnp.abs(factor), TINY)) - ratio + 1


def _factor(K: jax.Array) -> jax.Array:
    """R (n, n, networks), upper triangular, R^T R = K; rows of points that are parallel to those before are zero."""
    rows: list[jax.Array] = []
    for k in range(len(K)):
        row = K[k, k:]
        for above in rows:
            row = row - above[k] * above[k:]
        good = row[0] > PIVOT * K[k, k]
        rows.append(jnp.pad(row * jnp.where(good, 1 / jnp.sqrt(jnp.where(good, row[0], 1)), 0), ((k, 0), (0, 0))))
    return jnp.stack(rows)


def _first_row(spec: PropagationSpec, kernel: NDArray[np.float64], centre: NDArray[np.float64]) -> NDArray[np.float64]:
    """The statistics of one network at the first layer, in the order of the rows."""
    d = pack(kernel) - centre
    left, right = np.triu_indices(len(d))
    pairs = multisets(spec.points, 2)
    size = np.sqrt(np.maximum(np.diagonal(kernel), TINY))
    c = [kernel[j, k] / (size[j] * size[k]) for j, k in combinations(range(spec.points), 2)]
    return np.concatenate([d, d[left] * d[right], d[pairs[:, 0] == pairs[:, 1]] ** 3, c, [1.0, 1.0, 0.0]])


def _named(
    spec: PropagationSpec, rows: NDArray[np.float64], totals: NDArray[np.float64], first: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """The sums by name."""
    rows = np.concatenate([spec.counts[:, None, None] * first, rows], axis=1)
    found, position = {}, 0
    for name, shape in spec.layout.items():
        if shape:
            length = shape[1] if len(shape) > 1 else 1
            found[name] = rows[:, :, position : position + length].reshape(len(rows), *shape)
            position += length
    return found | {name: totals[:, k] for k, name in enumerate(scalars(spec.points))}
