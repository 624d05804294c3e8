"""Sampled recurrent networks: two-time correlators, Lyapunov exponents and spectra, with errors over networks.

    h_(t+dt) = (1 - gamma dt) h_t + dt [W phi(h_t) + b] + sqrt(D dt) eta_t,

which is a discrete-time network for dt = 1 (leak gamma, gamma = 1 for none) and Euler's method for small dt. Exponents
come from tangent vectors that are normalised in every step (Benettin et al., Meccanica 15 (1980) 9), a spectrum from
frames that QR keeps orthonormal. Network i of a key is the same however many are drawn.

Two averages of the growth of |v|^2 = delta over a time T, which differ at order 1 / N (docs/recurrent-dynamics.md):

    quenched: E ln delta / 2T,    annealed: ln E delta / 2T.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnqft.core.errors import InputError
from nnqft.criticality.dmft import checked
from nnqft.criticality.pairs import pairs
from nnqft.nets.activations import Activation

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Law:
    """The law of a network and of its motion; `noise` is D, `initial` the variance of h_0, units are phi(scale x)."""

    activation: str | Activation
    sigma_w: float
    sigma_b: float = 0.0
    noise: float = 0.0
    gamma: float = 1.0
    dt: float = 1.0
    initial: float = 1.0
    tied: bool = True
    scale: float = 1.0


@dataclass(frozen=True)
class Correlators:
    """Per network (1/N) h_t . h_s, `values` (networks, times, times), float64, their mean and its standard error."""

    values: Array

    @property
    def mean(self) -> Array:
        """Mean over networks (times, times)."""
        return self.values.mean(axis=0)

    @property
    def stderr(self) -> Array:
        """Standard error of the mean (times, times); NaN for one network. Entries are strongly correlated."""
        return _error(self.values)


@dataclass(frozen=True)
class Exponents:
    """`growth` (networks, steps): ln |v_(t+dt)| / |v_t| after the burn-in; `dt` the time a step takes."""

    growth: Array
    dt: float

    @property
    def per_network(self) -> Array:
        """Each network's exponent (networks,)."""
        return self.growth.mean(axis=1) / self.dt

    @property
    def quenched(self) -> float:
        """E ln delta / 2T."""
        return float(self.per_network.mean())

    @property
    def quenched_stderr(self) -> float:
        """Its standard error from the scatter of networks; NaN for one network."""
        return float(_error(self.per_network))

    def annealed(self, steps: int | None = None) -> tuple[float, float]:
        """The value of ln E delta / 2T over windows of T = steps dt (default: the whole run), and its standard error.

        The error is a jackknife over networks, NaN for one. E delta comes from the largest values: of a log-normal
        delta, n samples see it while the variance of ln delta, which grows with T, is below about 2 ln n.

        Raises:
            InputError: for windows longer than the run.
        """
        steps = self.growth.shape[1] if steps is None else steps
        windows = self.growth[:, : self.growth.shape[1] // steps * steps].reshape(len(self.growth), -1, steps)
        if windows.shape[1] == 0:
            raise InputError("steps", f"{steps} is longer than the run", f"use at most {self.growth.shape[1]}")
        exponent = 2 * windows.sum(axis=2)
        shift = exponent.max()
        delta = np.exp(exponent - shift).mean(axis=1)
        n = len(delta)

        def value(mean: Array) -> Array:
            return (np.log(mean) + shift) / (2 * steps * self.dt)

        if n == 1:
            return float(value(delta.mean())), float("nan")
        left_out = value((delta.sum() - delta) / (n - 1))
        return float(value(delta.mean())), float(np.sqrt((n - 1) * np.var(left_out)))


def simulate_correlators(law: Law, key: jax.Array, networks: int, width: int, steps: int) -> Correlators:
    """Two-time correlators at times 0, dt, ..., steps dt of `networks` networks of `width` neurons.

    Raises:
        InputError: for numbers that no network can have.
    """
    static, numbers = _prepared(law, networks, width, steps)
    return Correlators(np.asarray(_correlators(static, width, steps, _keys(key, networks), numbers)))


def simulate_exponents(law: Law, key: jax.Array, networks: int, width: int, steps: int, burn: int = 100) -> Exponents:
    """Growth of one tangent vector in `steps` steps after `burn` steps (networks run side by side, memory N^2 each).

    Raises:
        InputError: for numbers that no network can have.
    """
    static, numbers = _prepared(law, networks, width, steps)
    growth = _growth(static, width, burn + steps, 1, _keys(key, networks), numbers)
    return Exponents(np.asarray(growth)[:, burn:, 0], law.dt)


def simulate_spectrum(
    law: Law, key: jax.Array, networks: int, width: int, steps: int, burn: int = 100, count: int | None = None
) -> Array:
    """The `count` largest Lyapunov exponents (default all), per unit of time, shape (networks, count), descending.

    Raises:
        InputError: for numbers that no network can have, or a count beyond the width.
    """
    static, numbers = _prepared(law, networks, width, steps)
    count = width if count is None else count
    if not 1 <= count <= width:
        raise InputError("count", f"must be between 1 and the width {width}, got {count}", "change it")
    growth = np.asarray(_growth(static, width, burn + steps, count, _keys(key, networks), numbers))
    return -np.sort(-growth[:, burn:].mean(axis=1) / law.dt, axis=1)


class _Static(NamedTuple):
    """What compiled functions depend on."""

    activation: Activation
    tied: bool
    noisy: bool


def _prepared(law: Law, networks: int, width: int, steps: int) -> tuple[_Static, dict[str, jax.Array]]:
    checked(steps, law.sigma_w, law.sigma_b, law.noise, law.initial)
    averages = pairs(law.activation, law.scale)
    if networks < 1 or width < 1:
        raise InputError("networks", f"{networks} networks of width {width}", "use at least one of each")
    if not (np.isfinite(law.dt) and law.dt > 0 and np.isfinite(law.gamma)):
        raise InputError("dt", f"must be positive, got {law.dt}", "use a positive step")
    names = ("sigma_w", "sigma_b", "noise", "gamma", "dt", "initial", "scale")
    return _Static(averages.activation, law.tied, law.noise > 0), {n: jnp.float64(getattr(law, n)) for n in names}


def _keys(key: jax.Array, networks: int) -> jax.Array:
    return jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(networks))


def _weights(key: jax.Array, width: int, p: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """W (width, width) and b (width,)."""
    first, second = jax.random.split(key)
    W = jax.random.normal(first, (width, width), jnp.float64) * p["sigma_w"] / np.sqrt(width)
    return W, jax.random.normal(second, (width,), jnp.float64) * p["sigma_b"]


def _step(static: _Static, key, t, h, frame, p, fixed):
    """One step of h (width,) and of tangent vectors, frame (width, k)."""
    width = len(h)
    W, b = fixed if static.tied else _weights(jax.random.fold_in(jax.random.fold_in(key, 1), t), width, p)

    def phi(z: jax.Array) -> jax.Array:
        return static.activation(p["scale"] * z, jnp.zeros_like(z))

    value, slope = jax.jvp(phi, (h,), (jnp.ones_like(h),))
    moved = W @ jnp.concatenate([value[:, None], slope[:, None] * frame], axis=1)
    keep = 1 - p["gamma"] * p["dt"]
    following = keep * h + p["dt"] * (moved[:, 0] + b)
    if static.noisy:
        kick = jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, 2), t), (width,), jnp.float64)
        following = following + jnp.sqrt(p["noise"] * p["dt"]) * kick
    return following, keep * frame + p["dt"] * moved[:, 1:]


def _start(static: _Static, width: int, key: jax.Array, p: dict[str, jax.Array]):
    """h_0 and the weights that stay, if any."""
    h = jax.random.normal(jax.random.fold_in(key, 0), (width,), jnp.float64) * jnp.sqrt(p["initial"])
    return h, _weights(jax.random.fold_in(key, 3), width, p) if static.tied else None


@partial(jax.jit, static_argnums=(0, 1, 2))
def _correlators(static: _Static, width: int, steps: int, keys: jax.Array, p: dict[str, jax.Array]) -> jax.Array:
    def one(key: jax.Array) -> jax.Array:
        h, fixed = _start(static, width, key, p)
        empty = jnp.zeros((width, 0))

        def advance(h, t):
            following, _ = _step(static, key, t, h, empty, p, fixed)
            return following, following

        path = jnp.concatenate([h[None], jax.lax.scan(advance, h, jnp.arange(steps))[1]])
        return path @ path.T / width

    return jax.lax.map(one, keys)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _growth(static: _Static, width: int, steps: int, count: int, keys: jax.Array, p: dict[str, jax.Array]) -> jax.Array:
    def one(key: jax.Array) -> jax.Array:
        h, fixed = _start(static, width, key, p)
        frame = jax.random.normal(jax.random.fold_in(key, 4), (width, count), jnp.float64)

        def advance(state, t):
            h, frame = _step(static, key, t, *state, p, fixed)
            if count == 1:
                size = jnp.linalg.norm(frame, axis=0)
                return (h, frame / size), jnp.log(size)
            frame, triangle = jnp.linalg.qr(frame)
            return (h, frame), jnp.log(jnp.abs(jnp.diagonal(triangle)))

        first = frame / jnp.linalg.norm(frame) if count == 1 else jnp.linalg.qr(frame)[0]
        return jax.lax.scan(advance, (h, first), jnp.arange(steps))[1]

    return jax.vmap(one)(keys)


def _error(values: Array) -> Array:
    """Standard error over the first axis; NaN for one entry."""
    n = len(values)
    return np.std(values, axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(values.shape[1:], np.nan)
