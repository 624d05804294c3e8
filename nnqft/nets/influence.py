"""Leading 1/N of the quartic cumulant from influence functions.

To leading order the fluctuation of the output's covariance is an average over the neurons of the infinite network,

    delta Khat = (1/N) sum_i Psi(path_i),        N G4c -> sum over the 3 pairings of Cov(Psi, Psi),

where a path holds the preactivations of one neuron wherever it appears (all layers or times that share it), drawn from
the infinite-width law. Layer by layer, with F the map of kernels and J its derivative at the infinite-width kernel,

    delta K^(l+1) = psi^l + J^l [delta K^l],     psi^l = C_W (phi phi^T - <phi phi^T>).

For independent layers this is V' = S + J V J^T (Yaida 1910.00019); in general it is the bubble sum
(1 - J)^-1 S (1 - J)^-T with S^{lm} = Cov(psi^l, psi^m) also between layers.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from nnqft.core.hashing import block_key
from nnqft.core.normals import normals
from nnqft.core.packing import multisets, pairing_legs
from nnqft.nets.activations import Activation
from nnqft.nets.base import Array, Known, Network, NotKnownError
from nnqft.nets.maps import second_moment

PATHS = 2**19
"""Paths by default: 0.3 % of the large components, far below the next order in 1/N of any sampled width."""
BATCHES = 64


def quartic(net: Network, x: Array, sigma_w: float, sigma_b: float, paths: int = PATHS) -> tuple[Array, Array]:
    """N G4c at infinite width and its Monte Carlo standard error, packed: two arrays (Q,) float64.

    x (n_x, d_in). The draws depend on the law alone (network, activation, depth, options, x, sigma_w, sigma_b), not on
    the width, the sampler or a scan's seed. `paths` is rounded to BATCHES equal batches, at least one path each; the
    error is that of the mean over batches. NotKnownError for a network without influence function, and for a
    readout that is not Gaussian, whose fourth cumulant adds to that of Khat.
    """
    if net.readout_moments[0] != 3:
        what = f"the leading 1/N of a readout of {net.readout_law.name} weights is not known from influence functions"
        raise NotKnownError(f"{what}: use readout_law: gaussian, or measure G4c on samples")
    law = {
        "network": net.name,
        "activation": net.activation.name,
        "depth": net.depth,
        "options": net.options.model_dump(mode="json"),
        "x": np.asarray(x).tolist(),
        "sigma": [float(sigma_w), float(sigma_b)],
    }
    size = max(1, round(paths / BATCHES))
    means, seconds = (np.asarray(part) for part in _moments(net, size, block_key(law, 0), x, sigma_w, sigma_b))
    mean = means.mean(axis=0)
    crossed = means[:, :, None] * mean
    covariance = seconds - crossed - crossed.transpose(0, 2, 1) + np.outer(mean, mean)
    found = sum_over_pairings(covariance, len(x))
    return found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(BATCHES)


def leading(net: Network, x: Array, sigma_w: float, sigma_b: float, widths: Array) -> Known:
    """G4c = quartic / N at widths (n_widths, 1) as a prediction; orders 2 and 6 have none."""
    value, error = quartic(net, x, sigma_w, sigma_b)
    reason = f"for {net.name} networks order 4 is known at leading order in 1/N, the others are not"
    return Known({4: value / widths}, {4: "leading-1/N"}, reason, {4: error / widths})


def sum_over_pairings(covariance: Array, n: int) -> Array:
    """Cov(K_ab, K_cd) + Cov(K_ac, K_bd) + Cov(K_ad, K_bc), packed (..., Q), from Cov of packed kernels (..., P, P)."""
    legs = pairing_legs(n, 4)
    return covariance[..., legs[..., 0], legs[..., 1]].sum(axis=-1)


def gaussian_paths(key: jax.Array, paths: jax.Array, covariance: jax.Array) -> jax.Array:
    """Independent draws (paths, n) float64 of N(0, covariance (n, n)), numbered by `paths` (paths,) uint32.

    With the symmetric square root, negative rounding noise clipped: kernels of any rank, right to sqrt(eps) of their
    scale, and the same draws wherever they are computed.
    """
    values, vectors = jnp.linalg.eigh(covariance)
    root = (vectors * jnp.sqrt(jnp.maximum(values, 0))) @ vectors.T
    return jnp.stack(normals(key, paths, 1, len(covariance)), axis=-1)[:, 0].astype(jnp.float64) @ root


def moment_fluctuation(
    activation: Activation, kernel: jax.Array, features: jax.Array
) -> tuple[jax.Array, jax.Array, Callable[[jax.Array], jax.Array]]:
    """One layer at leading order: <phi phi^T>_K (n, n), phi phi^T - <phi phi^T>_K (paths, n, n), and the map's J.

    kernel K (n, n); features phi (paths, n), drawn from it. J maps delta K (paths, n, n) to delta <phi phi^T> of the
    same shape, path by path.
    """
    average, jacobian = jax.linearize(partial(second_moment, activation), kernel)
    return average, features[:, :, None] * features[:, None, :] - average, jax.vmap(jacobian)


@partial(jax.jit, static_argnums=(0, 1))
def _moments(
    net: Network, size: int, key: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean (BATCHES, P) and raw second moment (BATCHES, P, P) of the packed Psi in every batch of `size` paths."""
    rows, columns = multisets(x.shape[0], 2).T

    def batch(number: jax.Array) -> tuple[jax.Array, jax.Array]:
        paths = number * np.uint32(size) + jnp.arange(size, dtype=jnp.uint32)
        psi = net.influence(key, paths, x, sigma_w, sigma_b)[:, rows, columns]
        return psi.mean(axis=0), psi.T @ psi / size

    return jax.lax.map(batch, jnp.arange(BATCHES, dtype=jnp.uint32))
