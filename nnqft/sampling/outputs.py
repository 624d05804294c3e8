"""Outputs of random networks, for notebooks: the same samplers as the pipeline, without its bookkeeping."""

import jax
import jax.numpy as jnp

from nnqft.core.errors import InputError
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.mlp import MLP
from nnqft.spec.grid import Architecture


def sample(
    architecture: Architecture,
    width: int,
    key: jax.Array | int,
    networks: int = 1000,
    sampler: str = "conditional",
    precision: str = "float64",
) -> jax.Array:
    """Outputs f(x_a) of `networks` independent networks: (networks, n_x) float64.

    key: a JAX key (``jax.random.key(0)``, or two uint32 words), or an integer seed. The same key gives the same
    networks; network m does not depend on how many others are drawn.

    Raises:
        InputError: for an activation or sampler that does not exist, or an ensemble without a finite variance.
    """
    if architecture.activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise InputError("activation", f"no activation {architecture.activation!r}", f"use one of {known}")
    activation = ACTIVATIONS[architecture.activation]
    if activation.kind == "lognormal" and architecture.depth > 1:
        raise InputError("depth", f"{activation.name} has infinite variance beyond one hidden layer", "use depth 1")
    if sampler not in ("conditional", "weights"):
        raise InputError("sampler", f"no sampler {sampler!r}", "use conditional or weights")
    net = MLP(activation, architecture.depth, width, sampler, precision)
    x, sigma_w, sigma_b = jnp.asarray(architecture.x), architecture.sigma_w, architecture.sigma_b
    words = _words(key)
    numbers = jnp.arange(networks, dtype=jnp.uint32)

    @jax.jit
    def draw(network: jax.Array) -> jax.Array:
        hidden = net.hidden(words, network, x, jnp.float64(sigma_w), jnp.float64(sigma_b))
        return net.output(words, network, hidden, jnp.float64(sigma_w), jnp.float64(sigma_b))

    batch = max(1, 2**22 // (width * max(8, width if sampler == "weights" else 8)))
    return jnp.concatenate([draw(numbers[i : i + batch]) for i in range(0, networks, batch)])


def _words(key: jax.Array | int) -> jax.Array:
    """Two uint32 words of a key."""
    if isinstance(key, int):
        key = jax.random.key(key)
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    return key.reshape(-1)[-2:].astype(jnp.uint32)
