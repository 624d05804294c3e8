"""Outputs of random networks, for notebooks: the same samplers as the pipeline, without its bookkeeping."""

import jax
import jax.numpy as jnp

from nnqft.nets.registry import network
from nnqft.spec.grid import Architecture


def sample(
    architecture: Architecture,
    width: int,
    key: jax.Array | int,
    networks: int = 1000,
    sampler: str = "conditional",
    precision: str = "float64",
    outputs: int | None = None,
) -> jax.Array:
    """Outputs f(x_a) of `networks` independent networks: (networks, n_x) float64.

    With `outputs`, the networks have so many (d_out): (networks, outputs, n_x). Outputs of one network are
    uncorrelated but not independent, they share the layers below (physics: G4c_outputs); never count them as networks.

    key: a JAX key (``jax.random.key(0)``, or two uint32 words), or an integer seed. The same key gives the same
    networks; network m does not depend on how many others are drawn.

    Raises:
        InputError: for a network, activation, option or sampler that does not exist, or an ensemble without a finite
            variance.
    """
    net = network(architecture, width, sampler, precision)
    x, scales = jnp.asarray(architecture.x), (jnp.float64(architecture.sigma_w), jnp.float64(architecture.sigma_b))
    words = _words(key)
    numbers = jnp.arange(networks, dtype=jnp.uint32)

    @jax.jit
    def draw(network: jax.Array) -> jax.Array:
        features = net.features(words, network, x, *scales)
        return net.output(words, network, features.units, *scales, outputs=outputs or 1)

    batch = max(1, 2**22 // (net.units * max(8, width if sampler == "weights" else 8)))
    f = jnp.concatenate([draw(numbers[i : i + batch]) for i in range(0, networks, batch)])
    return f if outputs else f[:, 0]


def _words(key: jax.Array | int) -> jax.Array:
    """Two uint32 words of a key."""
    if isinstance(key, int):
        key = jax.random.key(key)
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.key_data(key)
    return key.reshape(-1)[-2:].astype(jnp.uint32)
