"""One block of recurrent networks, reduced to sums of exponents and correlators.

    h_(t+1) = (1 - gamma) h_t + W phi(h_t) + b + sqrt(D) eta_t,    W_ij ~ N(0, sigma_w^2 / N), b_i ~ N(0, sigma_b^2),

h_0 ~ N(0, q_0); W and b are static (tied) or fresh at every step (layered). The run has burn + steps steps; exponents
(Benettin et al., Meccanica 15 (1980) 9) come from the last `steps`, autocorrelations from the second half of the run.

Tied networks draw all of W. Of fresh weights only the values on the two vectors at hand matter: with X X^T = L L^T
for X the rows phi(h_t), phi'(h_t) v_t, the rows of X W^T have the law of L Z, Z_ai ~ N(0, sigma_w^2 / N), exactly.
Spectra need the whole frame and all of W.

Large networks run one after another, small ones a few at a time, in float32 (spectra float64); what is summed over
time or networks is in float64. Exponents of the same weights differ by 1e-6 between the two where they are stable,
by 4e-5 next to an instability; chaotic trajectories part, and their averages agree within errors of 1e-5 to 1e-4.
Variances that grow (linear, relu) end float32 after 88 / rate steps: correlators are then not finite.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from math import gcd
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnqft.core.errors import InputError
from nnqft.core.normals import normal_pairs, subkey
from nnqft.criticality.motion import orthonormal, step
from nnqft.criticality.pairs import pairs
from nnqft.estimation.jackknife import groups, merge
from nnqft.nets.activations import Activation

Array = NDArray[np.float64]
SIDE_BY_SIDE, SMALL = 8, 128
"""Networks that run together up to this width, where calls cost more than products; more would not fit a cache."""
Weights = Callable[[jax.Array], jax.Array]
"""Rows (k, N) -> the same times W^T."""


@dataclass(frozen=True)
class DynamicsSpec:
    """All that is static for the compiler, for a block of `networks` networks in `subbatches` sub-batches.

    noisy: whether D > 0 is allowed (tied networks; layered ones always draw); times: largest time and lag of the
    correlators; horizon: steps of a window of the annealed exponent.

    Raises:
        InputError: for numbers that do not fit together.
    """

    activation: str | Activation
    width: int
    steps: int
    burn: int
    networks: int
    subbatches: int
    times: int = 12
    horizon: int = 20
    tied: bool = True
    noisy: bool = False
    spectrum: bool = False

    def __post_init__(self) -> None:
        for name, least in (("width", 1), ("steps", 1), ("burn", 0), ("networks", 1), ("subbatches", 1), ("times", 0)):
            if getattr(self, name) < least:
                raise InputError(name, f"must be at least {least}, got {getattr(self, name)}", "raise it")
        if self.subbatches > self.networks:
            raise InputError("subbatches", f"{self.subbatches} of {self.networks} networks", "use fewer")
        if not 1 <= self.horizon <= self.steps:
            raise InputError(
                "horizon", f"must be between 1 and the {self.steps} steps, got {self.horizon}", "change it"
            )
        if self.half < 2 * (self.times + 1):
            raise InputError("times", f"half the run is shorter than two windows of {self.times + 1}", "raise steps")

    @property
    def dtype(self) -> str:
        """The dtype that networks move in."""
        return "float64" if self.spectrum else "float32"

    @property
    def half(self) -> int:
        """States in the second half of the run."""
        return (self.burn + self.steps) // 2 + 1

    @property
    def windows(self) -> int:
        """Windows of `horizon` steps in a run."""
        return self.steps // self.horizon

    @property
    def counts(self) -> NDArray[np.int64]:
        """Networks in each sub-batch of a block, (subbatches,)."""
        return np.diff(groups(self.networks, self.subbatches), append=self.networks)

    @property
    def layout(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of a sub-batch's sums over networks, float64.

        exponent, window (delta = exp 2 [growth - rate T_w], summed over a run's windows), and with a spectrum
        spectrum (descending), dimension, entropy, each with the sum of squares `_square`; correlator
        (1/N) h_t . h_s for t, s <= times; autocorrelation (1/N) h_t . h_(t+tau) of the second half, tau <= times;
        lost: how many networks died or overflowed, so that something of theirs is not finite; they are in no other sum.
        """
        moments: dict[str, tuple[int, ...]] = {"exponent": (), "window": ()}
        if self.spectrum:
            moments |= {"spectrum": (self.width,), "dimension": (), "entropy": ()}
        squares = {f"{name}_square": shape for name, shape in moments.items()}
        n = self.times + 1
        correlators: dict[str, tuple[int, ...]] = {"correlator": (n, n), "autocorrelation": (n,)}
        return moments | squares | correlators | {"lost": ()}


def dynamics_block(
    spec: DynamicsSpec,
    key: NDArray[np.uint32] | jax.Array,
    sigma_w: float,
    sigma_b: float = 0.0,
    noise: float = 0.0,
    gamma: float = 1.0,
    initial: float = 1.0,
    rate: float = 0.0,
) -> dict[str, Array]:
    """The sums of spec.layout, (subbatches, *shape) each: a pure function of its arguments, compiled once for a spec.

    key: two uint32 words, or a key of jax.random; rate: exponent taken out of windows before exponentiation, such as
    the theory's (0 where that is not finite).

    Raises:
        InputError: for noise in a tied network whose spec has none.
    """
    if spec.tied and noise > 0 and not spec.noisy:
        raise InputError("noise", f"is {noise}, but the specification has none", "set noisy=True")
    words = jax.random.key_data(key) if isinstance(key, jax.Array) and _typed(key) else jnp.asarray(key, jnp.uint32)
    numbers = _Numbers(*map(np.float64, (sigma_w, sigma_b, noise, gamma, initial, finite(rate))))
    found = {name: np.asarray(values) for name, values in compiled(canonical(spec))(words, numbers).items()}
    return {name: merge(found[name], spec.subbatches) for name in spec.layout}


def finite(rate: float) -> float:
    """The rate that windows are divided by: 0 where there is none."""
    return float(rate) if np.isfinite(rate) else 0.0


def canonical(spec: DynamicsSpec) -> DynamicsSpec:
    """The specification whose kernel serves this one too: sub-batches are merged afterwards."""
    return replace(spec, subbatches=1)


@lru_cache(maxsize=512)
def compiled(spec: DynamicsSpec) -> Any:
    """The compiled block of a specification: (key, numbers) -> values of each network."""
    return jax.jit(partial(_networks, spec))


class _Numbers(NamedTuple):
    """What a sweep varies; scalars."""

    sigma_w: Any
    sigma_b: Any
    noise: Any
    gamma: Any
    initial: Any
    rate: Any


def _typed(key: jax.Array) -> bool:
    return jnp.issubdtype(key.dtype, jax.dtypes.prng_key)


def _networks(spec: DynamicsSpec, key: jax.Array, numbers: _Numbers) -> dict[str, jax.Array]:
    side_by_side = gcd(spec.networks, SIDE_BY_SIDE) if spec.width <= SMALL and not spec.spectrum else None
    index = jnp.arange(spec.networks, dtype=jnp.uint32)
    return jax.lax.map(lambda i: _network(spec, subkey(key, i), numbers), index, batch_size=side_by_side)


def _normals(key: jax.Array, salt: int | jax.Array, rows: int, columns: int) -> jax.Array:
    """Independent standard normals (rows, columns), float32."""
    z = normal_pairs(subkey(key, salt), jnp.arange(columns, dtype=jnp.uint32), (rows + 1) // 2, 2)[0]
    return jnp.concatenate([z.real, z.imag])[:rows]


def _network(spec: DynamicsSpec, key: jax.Array, numbers: _Numbers) -> dict[str, jax.Array]:
    """What one network adds to the sums."""
    N, run, dtype = spec.width, spec.burn + spec.steps, jnp.dtype(spec.dtype)
    activation = pairs(spec.activation).activation
    p = _Numbers(*(n.astype(dtype) for n in numbers))
    start, static, drawn = draws(spec, key)
    at = _drawing(spec, key, static, p)
    h, frame, keep = start[0] * jnp.sqrt(p.initial), orthonormal(start[1:])[0], 1 - p.gamma

    def advance(state: Any, now: Any) -> Any:
        weights, kick = at(*now)
        h, frame = state
        h, frame = step(activation, weights, h, frame, kick, keep)
        frame, growth = orthonormal(frame)
        return (h, frame), (h, growth)

    _, (path, growth) = jax.lax.scan(advance, (h, frame), (drawn, jnp.arange(run, dtype=jnp.uint32)))
    growth = growth[spec.burn :].astype(jnp.float64)
    first = jnp.concatenate([h[None], path[: spec.times]]).astype(jnp.float64)
    found = _exponents(spec, growth, numbers.rate) | {
        "correlator": first @ first.T / N,
        "autocorrelation": lagged_products(path[run - spec.half :], spec.times),
    }
    kept = jnp.all(jnp.stack([jnp.isfinite(value).all() for value in found.values()]))
    return {name: jnp.where(kept, value, 0.0) for name, value in found.items()} | {"lost": 1.0 - kept}


def draws(spec: DynamicsSpec, key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normals of the network with this key, in one call, as each takes a compiler half a second: rows of length N.

    h_0 and the first frame (1 + count, N); W^T and b of tied networks (N + 1, N) or nothing; those of every step
    (steps, k, N).
    """
    N, run, dtype = spec.width, spec.burn + spec.steps, jnp.dtype(spec.dtype)
    count = N if spec.spectrum else 1
    static = N + 1 if spec.tied else 0
    each = int(spec.noisy) if spec.tied else (1 if spec.spectrum else 3)
    z = _normals(key, 1, 1 + count + static + run * each, N).astype(dtype)
    start, rest, moving = jnp.split(z, [1 + count, 1 + count + static])
    return start, rest, moving.reshape(run, each, N)


def _drawing(
    spec: DynamicsSpec, key: jax.Array, static: jax.Array, p: _Numbers
) -> Callable[[jax.Array, jax.Array], tuple[Weights, jax.Array]]:
    """(normals of a step, its number) -> the weights and kick of that step."""
    N, size = spec.width, p.sigma_w / np.sqrt(spec.width).astype(spec.dtype)
    if spec.tied:
        W, b = static[:N] * size, static[N] * p.sigma_b
        return lambda z, t: (lambda rows: rows @ W, b + jnp.sqrt(p.noise) * z.sum(axis=0))
    kick = jnp.sqrt(p.sigma_b**2 + p.noise)
    if not spec.spectrum:
        return lambda z, t: (lambda rows: size * fresh_products(rows, z[1:]), kick * z[0])

    def fresh(z: jax.Array, t: jax.Array) -> tuple[Weights, jax.Array]:
        W = _normals(key, np.uint32(2) + t, N, N).astype(size.dtype) * size
        return lambda rows: rows @ W, kick * z[0]

    return fresh


def fresh_products(rows: jax.Array, z: jax.Array) -> jax.Array:
    """X W^T for two rows X (2, N) and W_ij ~ N(0, 1) never seen before, from normals z (2, N)."""
    gram = jnp.matmul(rows, rows.T, precision="highest")
    first = jnp.sqrt(gram[0, 0])
    overlap = jnp.where(first > 0, gram[0, 1] / jnp.where(first > 0, first, 1), 0)
    rest = jnp.sqrt(jnp.maximum(gram[1, 1] - overlap**2, 0))
    return jnp.stack([first * z[0], overlap * z[0] + rest * z[1]])


def _exponents(spec: DynamicsSpec, growth: jax.Array, rate: jax.Array) -> dict[str, jax.Array]:
    """Statistics of growth (steps, count), ln of the diagonal of R."""
    windows = growth[: spec.windows * spec.horizon, 0].reshape(spec.windows, spec.horizon).sum(axis=1)
    delta = jnp.exp(2 * (windows - rate * spec.horizon))
    found = {"exponent": growth[:, 0].mean()}
    if spec.spectrum:
        found["spectrum"] = -jnp.sort(-growth.mean(axis=0))
        found["dimension"] = kaplan_yorke(found["spectrum"])
        found["entropy"] = jnp.maximum(found["spectrum"], 0).sum()
    found |= {f"{name}_square": value**2 for name, value in found.items()}
    return found | {"window": delta.sum(), "window_square": (delta**2).sum()}


def kaplan_yorke(spectrum: jax.Array) -> jax.Array:
    """The dimension j + (lambda_1 + ... + lambda_j) / |lambda_(j+1)| of Kaplan and Yorke (1979), spectrum descending.

    j is the largest number of exponents whose sum is not negative: 0 if all are negative; all of them: the dimension.
    """
    N, total = len(spectrum), jnp.cumsum(spectrum)
    j = jnp.sum(jnp.cumprod(total >= 0))
    above = jnp.where(j > 0, total[jnp.maximum(j - 1, 0)], 0.0)
    following = spectrum[jnp.minimum(j, N - 1)]
    return j + jnp.where(j < N, above / jnp.where(j < N, jnp.abs(following), 1), 0.0)


def lagged_products(path: jax.Array, times: int) -> jax.Array:
    """(1/N) h_t . h_(t+tau), tau = 0..times, averaged over t: (times + 1,) float64 from a path (n, N).

    Every window of n_w = times + 1 states is paired with itself and the next one in one product of matrices.
    """
    length, N = times + 1, path.shape[1]
    pieces = len(path) // length
    windows = path[: pieces * length].reshape(pieces, length, N)
    early = windows[:-1].swapaxes(0, 1).reshape(length, -1)
    late = windows[1:].swapaxes(0, 1).reshape(length, -1)
    gram = jnp.matmul(early, jnp.concatenate([early, late]).T, precision="highest").astype(jnp.float64)
    a = np.arange(length)
    return gram[a[:, None], a[:, None] + a].mean(axis=0) / ((pieces - 1) * N)
