"""Cumulants straight from network outputs, for notebooks and for other people's networks."""

import numpy as np
from numpy.typing import ArrayLike

from nnqft.core.packing import multisets
from nnqft.estimation.cumulants import CumulantEstimate, estimate
from nnqft.estimation.jackknife import merge
from nnqft.estimation.kstatistics import PowerSums
from nnqft.estimation.tails import exceedances


def cumulants(outputs: ArrayLike, max_order: int = 6, replicates: int = 64) -> CumulantEstimate:
    """Unbiased G2, G4, G4c, G6, G6c of outputs (networks, n_x) of independent networks, packed, with jackknife errors.

    Odd correlators are taken to vanish (a symmetric last layer). This is the textbook estimator; the pipeline's
    marginal one is far less noisy, but needs to know the last hidden layer.

    Raises:
        ValueError: for outputs that are not a finite matrix of more networks than replicates, or another order.
    """
    f = np.asarray(outputs, dtype=np.float64)
    if f.ndim != 2 or not np.isfinite(f).all():
        raise ValueError(f"outputs must be a finite (networks, points) matrix, not of shape {f.shape}")
    if max_order not in (2, 4, 6):
        raise ValueError(f"max_order is 2, 4 or 6, not {max_order}")
    points = f.shape[1]
    rows, columns = multisets(points, 2).T
    X = f[:, rows] * f[:, columns]
    left, right = multisets(X.shape[1], 2).T
    second = merge(X[:, left] * X[:, right], replicates) if max_order >= 4 else None
    third = None
    if max_order >= 6:
        legs = multisets(points, 6)
        third = 15 * merge(f[:, legs].prod(axis=-1), replicates)
    sums = PowerSums(merge(np.ones(len(f), dtype=np.int64), replicates), merge(X, replicates), second, third)
    variance = np.maximum((f**2).mean(axis=0), np.finfo(float).tiny)
    size = np.sqrt(((X / np.sqrt(variance[rows] * variance[columns])) ** 2).mean(axis=1))
    largest = np.sort(size)[::-1][: max(5, exceedances(len(f)))]
    tail_sums = np.array([(size**k).sum() for k in (1, 2, 3)])
    return estimate(sums, np.zeros(X.shape[1]), points, "product", largest, tail_sums)
