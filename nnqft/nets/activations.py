"""Activations by name, with what the samplers and the theory need to know about each of them.

An activation is called as ``function(z, variance)``: preactivations and their exact first-layer variance k(x, x).
Only HMS's normalised exponential (`gauss`) uses the second argument.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from nnqft.core.elementary import cos, erf, sin

Kind = Literal["smooth", "homogeneous", "lognormal"]


@dataclass(frozen=True)
class Activation:
    """One activation function.

    kind: `smooth` is analytic near the real axis (trapezoid quadrature converges geometrically); `homogeneous` is
    piecewise linear with its only kink at zero; `lognormal` is HMS's exp unit, whose moments are closed form and
    which has infinite variance beyond one hidden layer.
    odd: f(-z) = -f(z).
    """

    name: str
    function: Callable[[jax.Array, jax.Array], jax.Array]
    kind: Kind = "smooth"
    odd: bool = False

    def __call__(self, z: jax.Array, variance: jax.Array) -> jax.Array:
        """Elementwise values; `variance` broadcasts against z.

        Evaluated with the axes of z reversed, which is how samplers keep them: there the compiler vectorises them.
        """
        z, variance = jnp.asarray(z), jnp.asarray(variance)
        return self.function(z.T, variance.reshape((1,) * (z.ndim - variance.ndim) + variance.shape).T).T


def _plain(function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array, jax.Array], jax.Array]:
    return lambda z, variance: function(z)


def _gelu(z: jax.Array) -> jax.Array:
    return z * (1 + erf(z / jnp.sqrt(2.0).astype(z.dtype))) / 2


def _gauss(z: jax.Array, variance: jax.Array) -> jax.Array:
    """exp(z) / sqrt(exp(2 k(x,x))): HMS 2008.08601 section 2.2 (the Gauss-net)."""
    return jnp.exp(z - variance)


ACTIVATIONS: dict[str, Activation] = {
    a.name: a
    for a in (
        Activation("linear", _plain(lambda z: z), odd=True),
        Activation("relu", _plain(lambda z: jnp.maximum(z, 0)), kind="homogeneous"),
        Activation("erf", _plain(erf), odd=True),
        Activation("tanh", _plain(jnp.tanh), odd=True),
        Activation("sin", _plain(sin), odd=True),
        Activation("cos", _plain(cos)),
        Activation("gelu", _plain(_gelu)),
        Activation("softplus", _plain(jax.nn.softplus)),
        Activation("gauss", _gauss, kind="lognormal"),
    )
}
