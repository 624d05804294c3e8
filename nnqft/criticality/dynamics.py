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
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from math import gcd
from typing import Any

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
WEIGHTS, START, BIAS, NOISE = range(1, 5)
"""Salts of a network's keys."""
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
        (1/N) h_t . h_s for t, s <= times; autocorrelation (1/N) h_t . h_(t+tau) of the second half, tau <= times.
        """
        moments: dict[str, tuple[int, ...]] = {"exponent": (), "window": ()}
        if self.spectrum:
            moments |= {"spectrum": (self.width,), "dimension": (), "entropy": ()}
        squares = {f"{name}_square": shape for name, shape in moments.items()}
        n = self.times + 1
        return moments | squares | {"correlator": (n, n), "autocorrelation": (n,)}


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
    numbers = tuple(np.float64(n) for n in (sigma_w, sigma_b, noise, gamma, initial, finite(rate)))
    found = {name: np.asarray(values) for name, values in compiled(spec)(words, *numbers).items()}
    return {name: merge(found[name], spec.subbatches) for name in spec.layout}


def finite(rate: float) -> float:
    """The rate that windows are divided by: 0 where there is none."""
    return float(rate) if np.isfinite(rate) else 0.0


@lru_cache(maxsize=512)
def compiled(spec: DynamicsSpec) -> Any:
    """The compiled block of a specification: (key, numbers) -> values of each network."""
    return jax.jit(partial(_networks, spec))


def _typed(key: jax.Array) -> bool:
    return jnp.issubdtype(key.dtype, jax.dtypes.prng_key)


def _networks(spec: DynamicsSpec, key: jax.Array, *numbers: Any) -> dict[str, jax.Array]:
    side_by_side = gcd(spec.networks, SIDE_BY_SIDE) if spec.width <= SMALL and not spec.spectrum else None

    def one(i: jax.Array) -> dict[str, jax.Array]:
        return _network(spec, subkey(key, i), *numbers)

    return jax.lax.map(one, jnp.arange(spec.networks, dtype=jnp.uint32), batch_size=side_by_side)


def _normals(key: jax.Array, salt: int, rows: int, columns: int) -> jax.Array:
    """Independent standard normals (rows, columns), float32."""
    z = normal_pairs(subkey(key, salt), jnp.arange(columns, dtype=jnp.uint32), (rows + 1) // 2, 2)[0]
    return jnp.concatenate([z.real, z.imag])[:rows]


def _network(
    spec: DynamicsSpec,
    key: jax.Array,
    sigma_w: jax.Array,
    sigma_b: jax.Array,
    noise: jax.Array,
    gamma: jax.Array,
    initial: jax.Array,
    rate: jax.Array,
) -> dict[str, jax.Array]:
    """What one network adds to the sums."""
    N, run = spec.width, spec.burn + spec.steps
    dtype = jnp.dtype(spec.dtype)
    activation, count = pairs(spec.activation).activation, N if spec.spectrum else 1
    size, keep = (sigma_w / np.sqrt(N)).astype(dtype), (1 - gamma).astype(dtype)
    start = _normals(key, START, 1 + count, N).astype(dtype)
    h, frame = start[0] * jnp.sqrt(initial).astype(dtype), orthonormal(start[1:])[0]

    drawn, at = _drawing(spec, key, size, sigma_b, noise)

    def advance(state: Any, now: Any) -> Any:
        weights, kick = at(*now)
        h, frame = step(activation, weights, *state, kick, keep)
        frame, growth = orthonormal(frame)
        return (h, frame), (h, growth)

    _, (path, growth) = jax.lax.scan(advance, (h, frame), (drawn, jnp.arange(run, dtype=jnp.uint32)))
    growth = growth[spec.burn :].astype(jnp.float64)
    first = jnp.concatenate([h[None], path[: spec.times]]).astype(jnp.float64)
    return _exponents(spec, growth, rate) | {
        "correlator": first @ first.T / N,
        "autocorrelation": _autocorrelation(path[run - spec.half :], spec.times),
    }


def _drawing(
    spec: DynamicsSpec, key: jax.Array, size: jax.Array, sigma_b: jax.Array, noise: jax.Array
) -> tuple[jax.Array, Callable[[jax.Array, jax.Array], tuple[Weights, jax.Array]]]:
    """Normals for every step (steps, k, N), and (those of a step, its number) -> the weights and kick of that step."""
    N, run, dtype = spec.width, spec.burn + spec.steps, size.dtype

    def matrix(salt: Any) -> jax.Array:
        return _normals(key, salt, N, N).astype(dtype) * size

    def normals(each: int) -> jax.Array:
        return _normals(key, NOISE, run * each, N).reshape(run, each, N)

    if spec.tied:
        W, b = matrix(WEIGHTS), _normals(key, BIAS, 1, N)[0].astype(dtype) * sigma_b.astype(dtype)

        def tied(z: jax.Array, t: jax.Array) -> tuple[Weights, jax.Array]:
            kick = jnp.sqrt(noise).astype(dtype) * z.astype(dtype)
            return lambda rows: rows @ W, b + kick.sum(axis=0)

        return normals(1 if spec.noisy else 0), tied

    both = jnp.sqrt(sigma_b**2 + noise).astype(dtype)

    def layered(z: jax.Array, t: jax.Array) -> tuple[Weights, jax.Array]:
        z = z.astype(dtype)
        if spec.spectrum:
            W = matrix(np.uint32(NOISE + 1) + t)
            return lambda rows: rows @ W, both * z[0]
        return lambda rows: size * _fresh(rows, z[1:]), both * z[0]

    return normals(1 if spec.spectrum else 3), layered


def _fresh(rows: jax.Array, z: jax.Array) -> jax.Array:
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


def _autocorrelation(path: jax.Array, times: int) -> jax.Array:
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
