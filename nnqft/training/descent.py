"""Deep perceptrons trained by full-batch gradient descent, from the initial conditions of mean-field theory.

    z^(1) = b + W x,  z^(l+1) = b + W phi(z^(l)),  l = 1 ... depth,  W ~ N(0, sigma_w^2 / fan_in), b ~ N(0, sigma_b^2),

standard parametrisation, the last z are the logits (depth counts hidden layers, as everywhere); loss E: the mean over
the training points of the softmax cross-entropy; every parameter moves by -rate dE/dparameter. The experiment of
Schoenholz et al. 1611.01232, there with stochastic gradients on images.

Float32. One compilation serves all sigma_w, sigma_b, networks and rates of a (data, activation, width, depth, steps);
each network is trained by itself, so it is the same in any block.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnqft.core.errors import InputError
from nnqft.core.normals import normal_pairs, subkey
from nnqft.nets.activations import Activation
from nnqft.nets.registry import activations
from nnqft.training.datasets import Data, dataset

Array = NDArray[np.float64]
Unit = Callable[[jax.Array], jax.Array]

LARGEST = 4096
"""Layers and neurons beyond which a specification is taken for a mistake."""


class Parameters(NamedTuple):
    """Weights act from the right: first_w (d_in, n), hidden_w (depth - 1, n, n), last_w (n, classes), and biases."""

    first_w: jax.Array
    first_b: jax.Array
    hidden_w: jax.Array
    hidden_b: jax.Array
    last_w: jax.Array
    last_b: jax.Array


@dataclass(frozen=True)
class TrainingSpec:
    """What is trained, and for how long; `seeds` networks a block, `record` entries of the curve of losses.

    Raises:
        InputError: for an unknown data set or activation, or numbers that make no sense.
    """

    data: str
    activation: str
    width: int
    depth: int
    steps: int
    rates: tuple[float, ...]
    seeds: int
    record: int

    def __post_init__(self) -> None:
        dataset(self.data)
        known = activations()
        if self.activation not in known or known[self.activation].kind == "lognormal":
            usable = ", ".join(name for name, a in known.items() if a.kind != "lognormal")
            raise InputError("activation", f"{self.activation!r} cannot be trained here", f"use one of {usable}")
        for name, low, high in (("width", 1, LARGEST), ("depth", 1, LARGEST), ("steps", 1, 10**6), ("seeds", 1, 10**6)):
            if not low <= getattr(self, name) <= high:
                raise InputError(name, f"{getattr(self, name)} is not in [{low}, {high}]", "change it")
        if not self.rates or not all(0 < rate < np.inf for rate in self.rates):
            raise InputError("rates", f"{self.rates} are no learning rates", "give one or more, positive")
        if not 2 <= self.record <= self.steps + 1:
            raise InputError("record", f"{self.record} is not in [2, steps + 1]", "record fewer losses, two at least")

    @property
    def layout(self) -> dict[str, tuple[int, ...]]:
        """Statistics of one network, by name, with their shapes: see :func:`training_block`."""
        return {
            "accuracy": (),
            "test_accuracy": (),
            "loss": (self.record,),
            "final_losses": (len(self.rates),),
            "gradient_ratio": (),
            "gradient_rate": (),
            "rate": (),
            "finite": (),
        }

    @property
    def recorded(self) -> NDArray[np.int64]:
        """Steps (record,) whose loss is kept: 0, then evenly in their logarithm, or denser, to the last."""
        return _recorded(self.steps, self.record)

    @property
    def flops(self) -> float:
        """Floating-point operations of a block in matrix products: 6 points width^2 depth a step, and the ends."""
        data = dataset(self.data)
        ends = self.width * (data.x_train.shape[1] + data.classes)
        return (
            6.0
            * len(data.x_train)
            * (self.width**2 * (self.depth - 1) + ends)
            * (self.steps * len(self.rates) * self.seeds)
        )


def training_block(spec: TrainingSpec, key: NDArray[np.uint32], sigma_w: float, sigma_b: float) -> dict[str, Array]:
    """Train the block's networks with every rate: name -> (seeds, *layout), float64.

    key: (2,) uint32. Network i depends on the key and i alone, and but for the factors sigma_w and sigma_b it starts
    from the same numbers at every depth: give keys that depend on both unless that is wanted.

    accuracy, test_accuracy: part of the points classified rightly after the last step by the rate of smallest final
    loss. `rate`: that rate's index. loss: its losses at spec.recorded. final_losses: of every rate, NaN where a loss
    on the way was not finite; such a rate is never the best unless all are. Then `finite` is 0 (else 1), and the
    network counts as not trained: accuracies are those of a blind guess, 1 / classes. Before training,

        gradient_ratio = g_1 / g_depth,  g_l = sum_a |dE_a / dz_a^(l)|^2,    g_l = C_W <phi'^2>_(q^(l)) g_(l+1)

    in mean-field theory, over training points a, each with its own loss E_a; point by point, the gradient in a layer's
    weights is this times the length of what enters the layer. So the ratio is chi_perp^(depth - 1) up to a factor from
    the first layers, where q is not yet q*. gradient_rate leaves them out: [ln g_m - ln g_depth] / (depth - m) with m
    the middle layer, which is ln chi_perp = -1 / xi_grad (theirs); NaN for one layer. The gradient of the mean loss is
    not that simple: where c* = 1, points become alike and their contributions cancel.
    """
    data = dataset(spec.data)
    x, y, x_test, y_test = _arrays(spec.data)
    unit = activation_of(spec)
    found: dict[str, list[Array]] = {name: [] for name in spec.layout}
    for network in range(spec.seeds):
        start = initial(spec, key, network, sigma_w, sigma_b)
        runs = [descend(unit, spec.steps, start, x, y, x_test, y_test, np.float32(rate)) for rate in spec.rates]
        losses = np.array([run[0] for run in runs], dtype=np.float64)
        finite = np.asarray(np.isfinite(losses).all(axis=1))
        final = np.where(finite, losses[:, -1], np.nan)
        best = int(np.nanargmin(final)) if finite.any() else 0
        guess = 1 / data.classes
        gradients = initial_gradients(start, x, y, unit)
        one = {
            "accuracy": float(runs[best][1]) if finite[best] else guess,
            "test_accuracy": float(runs[best][2]) if finite[best] else guess,
            "loss": losses[best, spec.recorded],
            "final_losses": final,
            "gradient_ratio": gradient_ratio(gradients),
            "gradient_rate": gradient_rate(gradients),
            "rate": best,
            "finite": finite[best],
        }
        for name, value in one.items():
            found[name].append(np.asarray(value, dtype=np.float64))
    return {name: np.stack(values) for name, values in found.items()}


def activation_of(spec: TrainingSpec) -> Activation:
    """The activation of a specification."""
    return activations()[spec.activation]


def initial(spec: TrainingSpec, key: NDArray[np.uint32], network: int, sigma_w: float, sigma_b: float) -> Parameters:
    """The parameters of one network before training, float32.

    Layer l, counted from the input, uses the subkey l of the key, the last one the subkey 0: a deeper network of the
    same key begins with the layers of a shallower one.
    """
    data = dataset(spec.data)
    d_in, n, classes = data.x_train.shape[1], spec.width, data.classes
    numbers = (jnp.asarray(key), np.uint32(network))
    sigmas = (np.float32(sigma_w), np.float32(sigma_b))
    first_w, first_b = _layer(d_in, n, *numbers, np.uint32(1), *sigmas)
    last_w, last_b = _layer(n, classes, *numbers, np.uint32(0), *sigmas)
    hidden = [_layer(n, n, *numbers, np.uint32(layer), *sigmas) for layer in range(2, spec.depth + 1)]
    hidden_w = np.array([w for w, _ in hidden], dtype=np.float32).reshape(-1, n, n)
    hidden_b = np.array([b for _, b in hidden], dtype=np.float32).reshape(-1, n)
    return Parameters(first_w, first_b, jnp.asarray(hidden_w), jnp.asarray(hidden_b), last_w, last_b)


def logits(unit: Activation, parameters: Parameters, x: jax.Array) -> jax.Array:
    """Outputs (points, classes) at x (points, d_in)."""
    phi = _plain(unit)

    def layer(z: jax.Array, wb: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return _affine(phi(z), *wb), None

    z, _ = jax.lax.scan(layer, _affine(x, *parameters[:2]), parameters[2:4])
    return _affine(phi(z), *parameters[4:])


def cross_entropy(unit: Activation, parameters: Parameters, x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean over points of -ln softmax(logits)_y."""
    z = logits(unit, parameters, x)
    return jnp.mean(jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], axis=1)[:, 0])


@partial(jax.jit, static_argnames=("unit", "steps"))
def descend(
    unit: Activation,
    steps: int,
    start: Parameters,
    x: jax.Array,
    y: jax.Array,
    x_test: jax.Array,
    y_test: jax.Array,
    rate: jax.Array | np.float32,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Losses (steps + 1,) before each step and after the last, and the accuracies on both sets after the last."""

    def step(parameters: Parameters, _: None) -> tuple[Parameters, jax.Array]:
        loss, slope = jax.value_and_grad(partial(cross_entropy, unit))(parameters, x, y)
        return jax.tree.map(lambda p, g: p - rate * g, parameters, slope), loss

    end, losses = jax.lax.scan(step, start, None, length=steps)
    last = cross_entropy(unit, end, x, y)
    right = [jnp.mean(jnp.argmax(logits(unit, end, a), axis=1) == b) for a, b in ((x, y), (x_test, y_test))]
    return jnp.append(losses, last), right[0], right[1]


def initial_gradients(parameters: Parameters, x: jax.Array, y: jax.Array, unit: Activation) -> Array:
    """sum_a |dE_a / dz_a^(l)|^2 of the hidden layers l = 1 ... depth, (depth,) float64.

    In float64 layer by layer: gradients that shrink by chi_perp a layer leave the range of float32 squared.
    """
    first_w, first_b, hidden_w, hidden_b, last_w, last_b = (np.asarray(part, dtype=np.float64) for part in parameters)
    values, slopes = [jnp.asarray(x, dtype=jnp.float64)], []
    for w, b in [(first_w, first_b), *zip(hidden_w, hidden_b, strict=True)]:
        value, slope = _forward(unit, values[-1], w, b)
        values.append(value)
        slopes.append(slope)
    delta = _error(values[-1], last_w, last_b, y)
    squares = []
    for w, slope in zip([last_w, *hidden_w[::-1]], slopes[::-1], strict=True):
        delta, square = _backward(delta, w, slope)
        squares.append(float(square))
    return np.array(squares[::-1])


def gradient_ratio(squares: Array, layer: int = 1) -> float:
    """g_layer / g_depth of squares (depth,); NaN where a gradient vanishes, as in a dead relu network."""
    first, last = float(squares[layer - 1]), float(squares[-1])
    return first / last if first > 0 and last > 0 else float("nan")


def gradient_rate(squares: Array) -> float:
    """The slope of ln g_l against depth - l over the deeper half of the layers; NaN for one layer."""
    depth = len(squares)
    middle = (depth + 1) // 2
    return float(np.log(gradient_ratio(squares, middle)) / (depth - middle)) if depth > 1 else float("nan")


def _affine(a: jax.Array, w: jax.Array | Array, b: jax.Array | Array) -> jax.Array:
    """Full float32 products on every device."""
    return jnp.matmul(a, w, precision=jax.lax.Precision.HIGHEST) + b


def _plain(unit: Activation) -> Unit:
    return lambda z: unit.function(z, jnp.ones((), dtype=z.dtype))


@partial(jax.jit, static_argnames="unit")
def _forward(unit: Activation, h: jax.Array, w: Array, b: Array) -> tuple[jax.Array, jax.Array]:
    z = _affine(h, w, b)
    return jax.jvp(_plain(unit), (z,), (jnp.ones_like(z),))


@jax.jit
def _error(h: jax.Array, w: Array, b: Array, y: jax.Array) -> jax.Array:
    z = _affine(h, w, b)
    return jax.nn.softmax(z, axis=1) - jax.nn.one_hot(y, z.shape[1], dtype=z.dtype)


@jax.jit
def _backward(delta: jax.Array, w: Array, slope: jax.Array) -> tuple[jax.Array, jax.Array]:
    new = jnp.matmul(delta, w.T, precision=jax.lax.Precision.HIGHEST) * slope
    return new, jnp.sum(new**2)


@partial(jax.jit, static_argnames=("fan_in", "fan_out"))
def _layer(
    fan_in: int,
    fan_out: int,
    key: jax.Array,
    network: jax.Array,
    layer: jax.Array,
    sigma_w: jax.Array,
    sigma_b: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """W (fan_in, fan_out) and b (fan_out,), the last of fan_in + 1 rows of normals."""
    pairs = normal_pairs(subkey(key, layer), network[None], fan_in + 1, fan_out)[..., 0]  # pyright: ignore[reportArgumentType]
    draw = jnp.stack([pairs.real, pairs.imag], axis=1).reshape(-1, fan_in + 1)[:fan_out].T
    return draw[:-1] * (sigma_w / jnp.float32(np.sqrt(fan_in))), draw[-1] * sigma_b


@lru_cache(maxsize=8)
def _arrays(name: str) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    data: Data = dataset(name)
    x, x_test = (jnp.asarray(part, dtype=jnp.float32) for part in (data.x_train, data.x_test))
    return x, jnp.asarray(data.y_train), x_test, jnp.asarray(data.y_test)


def _recorded(steps: int, record: int) -> NDArray[np.int64]:
    """0 and record - 1 different steps from 1 to `steps`: rounded geometric ones, each at least one after the last."""
    if record == 2:
        return np.array([0, steps], dtype=np.int64)
    wanted = np.rint(np.geomspace(1, steps, record - 1)).astype(np.int64)
    place = np.arange(record - 1)
    ahead = np.maximum.accumulate(wanted - place) + place
    return np.concatenate([[0], np.minimum(ahead, steps - place[::-1])])
