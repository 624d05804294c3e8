"""One layer of the chain of kernels and its responses: what :mod:`nnqft.criticality.propagation` sums over networks.

Arrays have the networks last. Neurons are float32, their sums and all that is made of these float64.
"""

from functools import reduce
from operator import add

import jax
import jax.numpy as jnp
import numpy as np

from nnqft.core.packing import multisets
from nnqft.nets.activations import Activation

PIVOT = 1e-13
"""1 - c^2 of a point and those before it below which it counts as parallel to them."""
CLAMP = 1e-4
"""1 - c^2 below which the pair response is taken as if it were this: its noise grows as 1 / (1 - c^2)."""
TINY = 1e-300
Pair = tuple[jax.Array, jax.Array]


def features(phi: Activation, K: jax.Array, R: jax.Array, a: jax.Array, g: jax.Array) -> Pair:
    """Values of phi (points, n, networks), and (phi' z_1, phi' v) at the first point; with a second point (phi'_2 z_1,
    phi'_2 h, phi'_1, phi'_2) besides. v = (a / q) z_1 + sqrt(1 - a^2 / q) h, a = p / sqrt(d): a tangent vector of unit
    mean square. Lengths may vanish (1e-80 and less): v is made of normals, not of z_1.

    h is the second normal of a neuron. Where there is a second point it moves that one too, as it would in a network
    whose tangent vector points from the first point to the second: the laws of (z_1, v) and of all z are exact.
    """
    columns = [part for both in g for part in (both.real, both.imag)]
    upper = R.astype(jnp.float32)
    z = jnp.stack([reduce(add, [upper[c, p] * columns[c] for c in range(p + 1)]) for p in range(len(K))])
    units, slopes = jax.jvp(lambda x: phi.function(x, jnp.ones((), x.dtype)), (z,), (jnp.ones_like(z),))
    along = jnp.clip(a / jnp.sqrt(jnp.maximum(K[0, 0], TINY)), -1, 1)
    across = jnp.sqrt(1 - along**2)
    v = along.astype(jnp.float32) * columns[0] + across.astype(jnp.float32) * columns[1]  # z_1 = sqrt(q) g_1
    found = [slopes[0] * z[0], slopes[0] * v]
    if len(K) > 1:
        found += [slopes[1] * z[0], slopes[1] * columns[1], slopes[0], slopes[1]]
    return units, jnp.stack(found)


def dots(units: jax.Array, vectors: jax.Array, pair: bool) -> jax.Array:
    """Sums over neurons: of phi phi' z, phi phi' v, (phi' v)^2 at the first point; with a second point phi_a phi'_2
    z_1, phi_a phi'_2 h for a = 1, 2, and phi'_1 phi'_2 besides.
    """
    products = [(units[0], vectors[0]), (units[0], vectors[1]), (vectors[1], vectors[1])]
    if pair:
        products += [(units[a], vectors[2 + k]) for a in range(2) for k in range(2)] + [(vectors[4], vectors[5])]
    return jnp.stack([jnp.sum(x.astype(jnp.float64) * y.astype(jnp.float64), axis=0) for x, y in products])


def pair_response(K: jax.Array, found: jax.Array) -> tuple[list[Pair], Pair, jax.Array]:
    """The matrix of r, the conditional expectation of its first row up to noise, and where 1 - c^2 was clamped.

    z_2 = (K_12 / K_11) z_1 + rho h, rho^2 = K_22 - K_12^2 / K_11, moves by z_1 dK_12 / K_11 + h (dK_22 - 2 (K_12 /
    K_11) dK_12) / (2 rho). The second has <phi'_1 phi'_2> in place of what equals it on average (Price's theorem) and
    has more noise.
    """
    q = jnp.maximum(K[0, 0], TINY)
    k = K[0, 1] / q
    rest, floor = K[1, 1] - k * K[0, 1], CLAMP * jnp.maximum(K[1, 1], TINY)
    rho = jnp.sqrt(jnp.maximum(rest, floor))
    rows = []
    for a in range(2):
        across = found[4 + 2 * a] / (2 * rho)
        rows.append(((1 + a) * (found[3 + 2 * a] / q - 2 * k * across), (1 + a) * across))
    return rows, (found[7], rows[0][1]), (rest < floor).astype(jnp.float64)


def series(coefficients: jax.Array, span: jax.Array, q: jax.Array) -> jax.Array:
    """Chebyshev series in ln q, (3, networks), by Clenshaw's recursion; meaningless outside the span."""
    x = jnp.clip((2 * jnp.log(q) - span[0] - span[1]) / (span[1] - span[0]), -1, 1)
    first = second = jnp.zeros((3, len(q)))
    for k in range(coefficients.shape[1] - 1, 0, -1):
        first, second = coefficients[:, k, None] + 2 * x * first - second, first
    return coefficients[:, :1] + x * first - second


def centred_log(factor: jax.Array, expected: jax.Array) -> jax.Array:
    """The number ln |f| - f / E f + 1, on average as ln |f| but with less noise; ln 0 counts as ln TINY."""
    ratio = factor / jnp.where(jnp.abs(expected) < TINY, 1.0, expected)
    return jnp.log(jnp.maximum(jnp.abs(factor), TINY)) - ratio + 1


def upper_factor(K: jax.Array) -> jax.Array:
    """R (n, n, networks), upper triangular, R^T R = K; rows of points that are parallel to those before are zero."""
    rows: list[jax.Array] = []
    for k in range(len(K)):
        row = K[k, k:]
        for above in rows:
            row = row - above[k] * above[k:]
        good = row[0] > PIVOT * K[k, k]
        rows.append(jnp.pad(row * jnp.where(good, 1 / jnp.sqrt(jnp.where(good, row[0], 1)), 0), ((k, 0), (0, 0))))
    return jnp.stack(rows)


def statistics(K: jax.Array, centre: jax.Array, d: jax.Array, log_d: jax.Array) -> jax.Array:
    """What is summed of every layer: (statistics, networks), in the order of PropagationSpec.layout."""
    pairs = multisets(len(K), 2)
    left, right = np.triu_indices(len(pairs))
    own = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    delta = K[pairs[:, 0], pairs[:, 1]] - centre[:, None]
    size = jnp.sqrt(jnp.maximum(jnp.stack([K[k, k] for k in range(len(K))]), TINY))
    j, k = np.triu_indices(len(K), 1)
    c = K[j, k] / (size[j] * size[k])
    return jnp.concatenate([delta, delta[left] * delta[right], delta[own] ** 3, c, d[None], d[None] ** 2, log_d[None]])
