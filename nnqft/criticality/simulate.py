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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnqft.core.errors import InputError
from nnqft.criticality.dmft import checked
from nnqft.criticality.motion import orthonormal, step
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
        n, run = self.growth.shape
        T = run if steps is None else steps
        if not 1 <= T <= run:
            raise InputError("steps", f"no windows of {T} steps", f"use between 1 and {run}")
        exponent = 2 * self.growth[:, : run // T * T].reshape(n, run // T, T).sum(axis=2)
        shift = exponent.max()
        delta = np.exp(exponent - shift).mean(axis=1)

        def value(mean: Array) -> Array:
            return (np.log(mean) + shift) / (2 * T * self.dt)

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


class _Draw(NamedTuple):
    """Weights, biases and whatever else (rest,) came with them."""

    W: jax.Array
    b: jax.Array
    rest: jax.Array


def _draw(key: jax.Array, width: int, rest: int, p: dict[str, jax.Array]) -> _Draw:
    """W (width, width), b (width,) and `rest` standard normals: one call, as each takes a compiler half a second."""
    z = jax.random.normal(key, (width**2 + width + rest,), jnp.float64)
    W = z[: width**2].reshape(width, width) * p["sigma_w"] / np.sqrt(width)
    return _Draw(W, z[width**2 : width**2 + width] * p["sigma_b"], z[width**2 + width :])


def _step(static: _Static, key: jax.Array, state: Any, fixed: _Draw, p: dict[str, jax.Array]) -> Any:
    """One step of (h (width,), tangent vectors (k, width)); `key` is for what is drawn in it."""
    h, frame = state
    width = len(h)
    if static.tied:
        kick = jax.random.normal(key, (width,), jnp.float64) if static.noisy else 0.0
        now = fixed._replace(rest=kick)
    else:
        now = _draw(key, width, width, p)

    kick = p["dt"] * now.b + jnp.sqrt(p["noise"] * p["dt"]) * now.rest
    keep = 1 - p["gamma"] * p["dt"]
    return step(static.activation, lambda rows: rows @ now.W.T, h, frame, kick, keep, p["dt"], p["scale"])


def _start(width: int, count: int, key: jax.Array, p: dict[str, jax.Array]) -> Any:
    """h_0, the first frame (count, width), and the weights of tied networks."""
    drawn = _draw(jax.random.fold_in(key, 0), width, width * (1 + count), p)
    return drawn.rest[:width] * jnp.sqrt(p["initial"]), drawn.rest[width:].reshape(width, count).T, drawn


@partial(jax.jit, static_argnums=(0, 1, 2))
def _correlators(static: _Static, width: int, steps: int, keys: jax.Array, p: dict[str, jax.Array]) -> jax.Array:
    def one(key: jax.Array) -> jax.Array:
        h, empty, fixed = _start(width, 0, key, p)

        def advance(h: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
            following, _ = _step(static, jax.random.fold_in(key, t + 1), (h, empty), fixed, p)
            return following, following

        path = jnp.concatenate([h[None], jax.lax.scan(advance, h, jnp.arange(steps))[1]])
        return path @ path.T / width

    return jax.lax.map(one, keys)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _growth(static: _Static, width: int, steps: int, count: int, keys: jax.Array, p: dict[str, jax.Array]) -> jax.Array:
    """Logarithms of the diagonal of R, shape (networks, steps, count)."""

    def one(key: jax.Array) -> jax.Array:
        h, frame, fixed = _start(width, count, key, p)

        def advance(state: Any, t: jax.Array) -> tuple[Any, jax.Array]:
            h, frame = _step(static, jax.random.fold_in(key, t + 1), state, fixed, p)
            frame, growth = orthonormal(frame)
            return (h, frame), growth

        return jax.lax.scan(advance, (h, orthonormal(frame)[0]), jnp.arange(steps))[1]

    return jax.vmap(one)(keys)


def _error(values: Array) -> Array:
    """Standard error over the first axis; NaN for one entry."""
    n = len(values)
    return np.std(values, axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.full(values.shape[1:], np.nan)
