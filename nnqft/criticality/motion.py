"""One time step of recurrent networks and of tangent vectors along them, for whatever draws the weights.

    h_(t+dt) = (1 - gamma dt) h_t + dt [W phi(h_t) + b] + sqrt(D dt) eta_t

Vectors are rows: a matrix with few rows times W is faster on a CPU than W times few columns (2 to 4 times from
100 neurons on).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from nnqft.nets.activations import Activation


def step(
    activation: Activation,
    weights: Callable[[jax.Array], jax.Array],
    h: jax.Array,
    frame: jax.Array,
    kick: Any,
    keep: Any,
    dt: Any = 1.0,
    scale: Any = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """The next h (width,) and tangent vectors (k, width), k >= 0.

    weights: rows (1 + k, width) -> the same times W^T, called once; kick: dt b + sqrt(D dt) eta_t; keep: 1 - gamma dt;
    units are phi(scale h).
    """

    def phi(z: jax.Array) -> jax.Array:
        return activation(scale * z, jnp.zeros_like(z))

    value, slope = jax.jvp(phi, (h,), (jnp.ones_like(h),))
    moved = weights(jnp.concatenate([value[None], slope * frame]))
    return keep * h + dt * moved[0] + kick, keep * frame + dt * moved[1:]


def orthonormal(frame: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gram-Schmidt of the rows of a frame (k, width), k >= 1, and ln of their lengths after it, (k,)."""
    if len(frame) == 1:
        size = jnp.linalg.norm(frame)
        return frame / size, jnp.log(size)[None]
    columns, triangle = jnp.linalg.qr(frame.T)
    return columns.T, jnp.log(jnp.abs(jnp.diagonal(triangle)))
