"""Delete-one-group jackknife: errors and covariances of any function of the power sums.

Sub-batches, in the order in which they were drawn, are merged into R groups of (nearly) equal size; theta_(r) is the
estimate without group r. Then cov = (R - 1)/R sum_r (theta_(r) - mean)(theta_(r) - mean)^T (Efron & Stein 1981).
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def groups(subbatches: int, replicates: int) -> NDArray[np.int64]:
    """First sub-batch of each group: (replicates,) int64; group sizes differ by at most one.

    Raises:
        ValueError: when there are fewer sub-batches than groups.
    """
    if subbatches < replicates:
        raise ValueError(f"{replicates} jackknife groups from {subbatches} sub-batches")
    return np.arange(replicates, dtype=np.int64) * subbatches // replicates


def merge(values: NDArray, replicates: int) -> NDArray:
    """Sums over the sub-batches of each group: (replicates, ...) from (subbatches, ...)."""
    return np.add.reduceat(values, groups(len(values), replicates), axis=0)


def stderr(replicates: Array, axis: int = 0) -> Array:
    """Jackknife standard error from leave-one-out estimates along `axis`."""
    R = replicates.shape[axis]
    deviations = replicates - replicates.mean(axis=axis, keepdims=True)
    return np.sqrt((R - 1) / R * (deviations**2).sum(axis=axis))


def covariance(replicates: Array) -> Array:
    """Jackknife covariance (q, q) from leave-one-out estimates (R, q)."""
    R = len(replicates)
    deviations = replicates - replicates.mean(axis=0)
    return (R - 1) / R * deviations.T @ deviations
