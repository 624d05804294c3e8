"""Single neurons of a first layer, whatever the width: independent samples s(x) = phi(b + W x), plain or tilted.

Tilting (importance sampling): moments of order t of a unit that grows like exp(z) come from preactivations around
t k(x, x), far out in the tail (physics of the Gauss-net: E s^6 lives six standard deviations away). With z = A^T g and
g ~ N(0, 1), draw instead from the mixture over tilts t in TILTS and points a of N(t A_a, 1), A_a the column of A of
point a, and weight with w = 1 / sum_j pi_j exp(mu_j . g - |mu_j|^2 / 2) <= 1 / pi_0. For the exponential unit, the term
t A_a is the perfect proposal for s(x_a)^t (Owen and Zhou, J. Am. Stat. Assoc. 95 (2000) 135: mixtures with their own
density in the weight).

A homogeneous unit, phi(r z) = r phi(z) for r > 0, factors into the length of g, whose moments are known, and its
direction: s = (|g| / sqrt(d)) s^, and only s^ is sampled. The length counts as part of the readout's weight. For the
ReLU-net in one dimension that takes the variance of G4c down eightfold.
"""

from functools import reduce
from operator import add
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nnqft.core.normals import lane_normals, subkey, threefry
from nnqft.nets.activations import Activation
from nnqft.nets.draws import stacked

TILTS = (0, 2, 4, 6)
SHARES = (0.1, 0.2, 0.3, 0.4)
"""Probability of each tilt, spread evenly over the points."""
CHOICE = 0xFFFE
"""Salt of the key that chooses a neuron's tilt."""


class Lanes(NamedTuple):
    """Which neurons to draw, of a layer of many networks: one a lane. The first arguments of `lane_normals`, in order.

    key (2,) uint32. network, neuron: uint32 of one broadcast shape, mostly (lanes,), the networks' numbers and those of
    the neurons within them, neuron < neurons. neurons: how many a network has, an int or a traced uint32. Lanes of the
    same network and neuron hold the same numbers.
    """

    key: jax.Array
    network: jax.Array
    neuron: jax.Array
    neurons: int | jax.Array

    def salted(self, salt: int) -> "Lanes":
        """The same lanes under ``subkey(key, salt)``."""
        return self._replace(key=subkey(self.key, salt))


def first_units(
    activation: Activation,
    lanes: Lanes,
    x: jax.Array,
    sigma_w: jax.Array,
    sigma_b: jax.Array,
    sampler: str,
    dtype: str,
    directions: bool = False,
) -> tuple[jax.Array, jax.Array | None]:
    """phi(z) (lanes, n_x) in `dtype`, and the weights (lanes,) float64 under `tilted`: see Network.unit.

    `directions`: with g / |g| sqrt(d) instead of g; phi must be homogeneous. :func:`radial_moments` gives the rest.
    """
    matrix = stacked(x.T, sigma_w**2 / x.shape[1], sigma_b**2)
    if sampler != "weights" and matrix.shape[0] > matrix.shape[1]:
        matrix = jnp.linalg.qr(matrix, mode="r")
    g = [column.astype(dtype) for column in lane_normals(*lanes.salted(1), matrix.shape[0])]
    weight = None
    if sampler == "tilted":
        g, weight = _tilted(g, matrix, _uniform(lanes.salted(CHOICE)))
    if directions:
        square = reduce(add, [column**2 for column in g])
        scale = jnp.sqrt(len(g) / jnp.maximum(square, jnp.finfo(dtype).tiny))
        g = [column * scale for column in g]
    matrix = matrix.astype(dtype)
    z = reduce(add, [row[:, None] * column for column, row in zip(g, matrix, strict=True)]).T
    variance = (sigma_b**2 + sigma_w**2 * jnp.mean(x**2, axis=1)).astype(dtype)
    return activation(z, variance), weight


def radial_moments(points: int, dimension: int) -> tuple[float, float, float]:
    """E (|g|^2 / d)^k for k = 2, 3, 4 and the d numbers g of one neuron: min(d_in + 1, n_x) of them."""
    d = min(points, dimension + 1)
    return (d + 2) / d, (d + 2) * (d + 4) / d**2, (d + 2) * (d + 4) * (d + 6) / d**3


def _tilted(g: list[jax.Array], matrix: jax.Array, uniform: jax.Array) -> tuple[list[jax.Array], jax.Array]:
    """Shifted normals and their weights: a random component of the mixture for every lane."""
    points = matrix.shape[1]
    shares = np.array([SHARES[0], *np.repeat(np.array(SHARES[1:]) / points, points)])
    means = jnp.concatenate([jnp.zeros((1, matrix.shape[0])), *(t * matrix.T for t in TILTS[1:])])
    chosen = jnp.searchsorted(jnp.asarray(np.cumsum(shares)[:-1]), uniform, side="right")
    shift = means[chosen]
    g = [column + shift[:, k].astype(column.dtype) for k, column in enumerate(g)]
    position = jnp.stack([column.astype(jnp.float64) for column in g], axis=1)
    exponent = position @ means.T - 0.5 * (means**2).sum(axis=1)
    return g, jnp.exp(-jax.scipy.special.logsumexp(exponent, axis=1, b=shares))


def _uniform(lanes: Lanes) -> jax.Array:
    """Uniform in (0, 1) float64, from a counter."""
    return (threefry(lanes.key, lanes.network, lanes.neuron)[0].astype(jnp.float64) + 0.5) * 2.0**-32
