"""Cumulants straight from network outputs, for notebooks and for other people's networks."""

import numpy as np
from numpy.typing import ArrayLike

from nnqft.core.packing import multisets
from nnqft.estimation import tails
from nnqft.estimation.cumulants import CumulantEstimate, estimate
from nnqft.estimation.jackknife import merge
from nnqft.estimation.kstatistics import PRODUCT, PowerSums


def cumulants(outputs: ArrayLike, max_order: int = 6, replicates: int = 64) -> CumulantEstimate:
    """Unbiased G2, G4, G4c, G6, G6c, G8, G8c of outputs (networks, n_x) of independent networks, with jackknife errors.

    Odd correlators are taken to vanish (a symmetric last layer). This is the textbook estimator; the pipeline's are far
    less noisy, but need to know the last hidden layer.

    Raises:
        ValueError: for outputs that are not a finite matrix of more networks than replicates, or another order.
    """
    f = np.asarray(outputs, dtype=np.float64)
    if f.ndim != 2 or not np.isfinite(f).all():
        raise ValueError(f"outputs must be a finite (networks, points) matrix, not of shape {f.shape}")
    if max_order not in (2, 4, 6, 8):
        raise ValueError(f"max_order is 2, 4, 6 or 8, not {max_order}")
    points = f.shape[1]
    rows, columns = multisets(points, 2).T
    X = f[:, rows] * f[:, columns]
    left, right = np.triu_indices(X.shape[1])

    def monomials(order: int, pairings: int) -> np.ndarray | None:
        return None if max_order < order else pairings * merge(f[:, multisets(points, order)].prod(-1), replicates)

    second = merge(X[:, left] * X[:, right], replicates) if max_order >= 4 else None
    count = merge(np.ones(len(f), dtype=np.int64), replicates)
    sums = PowerSums(count, merge(X, replicates), second, monomials(6, 15), monomials(8, 105))
    variance = np.maximum((f**2).mean(axis=0), np.finfo(float).tiny)
    size = np.sqrt(((X / np.sqrt(variance[rows] * variance[columns])) ** 2).mean(axis=1))
    tail_sums = np.array([(size**k).sum() for k in (1, 2, 3, 4)])
    return estimate(sums, np.zeros(X.shape[1]), points, PRODUCT, tails.largest(size, len(f)), tail_sums)
