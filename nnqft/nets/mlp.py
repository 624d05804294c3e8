"""Multilayer perceptrons: their law, their map, and two exact samplers.

z^(1)_i(x) = b_i + W_i . x,  z^(l+1)_i = b_i + W_i . phi(z^(l)),  W ~ N(0, sigma_w^2 / fan_in), b ~ N(0, sigma_b^2), all
independent, and the same law for the readout f (Halverson, Maiti, Stoner 2008.08601; Yaida 1910.00019).

`weights` draws every parameter. `conditional` uses that, given the activations Phi (N x n_x) of one layer, the next
preactivations are independent over neurons, each a Gaussian n_x-vector z = A^T g with A = [sigma_w Phi / sqrt(N);
sigma_b 1^T]: it draws z = R^T g with A = Q R, which is exact in law at every N and costs n_x numbers a neuron instead
of N + 1. The R comes from a float64 QR of A and never from the Gram matrix A^T A, whose condition number is the square
and which would need a jitter for nearby points. No jitter enters anywhere.
"""

from dataclasses import dataclass
from functools import reduce
from operator import add

import jax
import jax.numpy as jnp

from nnqft.core.normals import normals, subkey
from nnqft.nets.activations import Activation


@dataclass(frozen=True)
class MLP:
    """The static part of an ensemble of MLPs: everything that a compiled kernel may not vary."""

    activation: Activation
    depth: int
    width: int
    sampler: str
    dtype: str

    def hidden(
        self, key: jax.Array, network: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> jax.Array:
        """Activations of the last hidden layer on all points: (networks, width, n_x) in `dtype`.

        key (2,) uint32; network (networks,) uint32; x (n_x, d_in) float64; sigma_w, sigma_b float64 scalars.
        """
        variance = (sigma_b**2 + sigma_w**2 * jnp.mean(x**2, axis=1)).astype(self.dtype)
        inputs = _affine(x.T, sigma_w, sigma_b)
        z = self._first(subkey(key, 1), network, inputs)
        for layer in range(2, self.depth + 1):
            features = _affine(self.activation(z, variance).astype(jnp.float64), sigma_w, sigma_b)
            z = self._next(subkey(key, layer), network, features, self.width)
        return self.activation(z, variance)

    def output(
        self, key: jax.Array, network: jax.Array, hidden: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> jax.Array:
        """Network outputs f(x): (networks, n_x) float64, given the last hidden layer."""
        features = _affine(hidden.astype(jnp.float64), sigma_w, sigma_b)
        return self._next(subkey(key, self.depth + 1), network, features, 1)[:, 0].astype(jnp.float64)

    def kernel(self, hidden: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array) -> jax.Array:
        """Covariance of the output given the last hidden layer: (networks, n_x, n_x) float64.

        Khat_ab = sigma_b^2 + (sigma_w^2 / N) sum_i phi_i(x_a) phi_i(x_b).
        """
        gram = jnp.einsum("mna,mnb->mab", hidden, hidden, precision="highest")
        return sigma_b**2 + (sigma_w**2 / self.width) * gram.astype(jnp.float64)

    def _first(self, key: jax.Array, network: jax.Array, inputs: jax.Array) -> jax.Array:
        """First layer; its features are the same for all networks, so weights are cheap unless d_in >= n_x."""
        rows, points = inputs.shape
        factor = jnp.linalg.qr(inputs, mode="r") if self.sampler == "conditional" and rows > points else inputs
        factor = factor.astype(self.dtype)
        columns = normals(key, network, self.width, factor.shape[0])
        terms = [g.astype(self.dtype)[..., None] * row for g, row in zip(columns, factor, strict=True)]
        return reduce(add, terms)

    def _next(self, key: jax.Array, network: jax.Array, features: jax.Array, rows: int) -> jax.Array:
        """Preactivations (networks, rows, n_x) given features (networks, fan_in + 1, n_x) float64."""
        fan_in, points = features.shape[1:]
        if self.sampler == "conditional" and fan_in > points:
            features = jnp.linalg.qr(features, mode="r")
        g = jnp.stack(normals(key, network, rows, features.shape[1]), axis=-1).astype(self.dtype)
        return jnp.einsum("mnk,mka->mna", g, features.astype(self.dtype), precision="highest")


def _affine(features: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array) -> jax.Array:
    """A = [sigma_w Phi / sqrt(fan_in); sigma_b 1^T]: (..., fan_in + 1, n_x) from (..., fan_in, n_x)."""
    fan_in = features.shape[-2]
    bias = jnp.broadcast_to(sigma_b, (*features.shape[:-2], 1, features.shape[-1]))
    return jnp.concatenate([features * (sigma_w / jnp.sqrt(fan_in)), bias.astype(features.dtype)], axis=-2)
