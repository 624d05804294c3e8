"""What several tests of networks share: correlators of sampled networks, and when two results agree."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from nnqft.core.packing import multisets
from nnqft.nets.influence import sum_over_pairings


@partial(jax.jit, static_argnums=0)
def features(net, key, networks, x, sigma_w, sigma_b):
    """What ``net.features`` gives; compiled once for arguments of the same shapes."""
    return net.features(key, networks, x, sigma_w, sigma_b)


def kernels(net, x, networks, sigma, key, batches=64):
    """Packed covariances of the output, (batches, networks / batches, P), of networks 0, 1, ..., networks - 1."""
    size = networks // batches
    return np.array([_batch(net, size, np.uint32(size * b), x, *sigma, key) for b in range(batches)])


def measured(net, x, networks, sigma, key, scale=1.0, batches=64):
    """G2 (P,) and scale * G4c (Q,) of a Gaussian readout by the marginal estimator: (value, standard error) of each.

    Errors are the scatter of the batches, np.std as it is: small by 0.8 %, so that bounds are the tighter.
    """
    found = kernels(net, x, networks, sigma, key, batches)
    deviations = found - found.mean(axis=(0, 1))
    covariance = np.einsum("bip,biq->bpq", deviations, deviations) * batches / (networks - 1)
    quartics = scale * sum_over_pairings(covariance, len(x))
    return [(part.mean(axis=0), part.std(axis=0) / np.sqrt(batches)) for part in (found.mean(axis=1), quartics)]


def agree(a, b, bound=4.0):
    """Whether two results (value, standard error) are within `bound` combined standard errors everywhere."""
    return bool(np.all(np.abs(a[0] - b[0]) <= bound * np.hypot(a[1], b[1])))


@partial(jax.jit, static_argnums=(0, 1))
def _batch(net, size, first, x, sigma_w, sigma_b, key):
    networks = first + jnp.arange(size, dtype=jnp.uint32)
    rows, columns = multisets(x.shape[0], 2).T
    return net.kernel(net.features(key, networks, x, sigma_w, sigma_b).units, sigma_w, sigma_b)[:, rows, columns]
