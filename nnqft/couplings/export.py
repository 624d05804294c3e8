"""Correlators with their jackknife covariance as gvar.GVar, for lsqfit and other lattice tools.

The covariance is (R - 1) / R sum_r (theta_r - mean)(theta_r - mean)^T over the leave-one-out replicates
(Efron and Stein, Ann. Stat. 9 (1981) 586), of all quantities together: its rank is at most R - 1. gvar (G. P. Lepage,
GPL) is imported when it is asked for, and only then.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.couplings.fit import whiten
from nnqft.estimation.jackknife import covariance

Array = NDArray[np.float64]

_REMEDY = 'the export needs gvar: pip install "nnqft[lattice]"'


def to_gvar(values: ArrayLike | Mapping[str, ArrayLike], replicates: ArrayLike | Mapping[str, ArrayLike]) -> Any:
    """An array of GVars of the shape S of `values`, from leave-one-out replicates (R, *S).

    Of a dictionary of quantities and one of replicates, R the same and from the same groups, a gvar.BufferDict with
    the keys in the order of `values`: correlations between quantities are kept. Raises ValueError for keys or shapes
    that do not match, for what is not finite (a NaN would spread to everything correlated with it), and without gvar.
    """
    try:
        import gvar
    except ImportError as error:
        raise ValueError(_REMEDY) from error
    if not isinstance(values, Mapping) or not isinstance(replicates, Mapping):
        if isinstance(values, Mapping) or isinstance(replicates, Mapping):
            raise ValueError("values and replicates must both be arrays or both dictionaries")
        return to_gvar({"": values}, {"": replicates})[""]
    data, samples = _stack(values, replicates)
    joint = gvar.gvar(data, covariance(samples))
    found, start = gvar.BufferDict(), 0
    for name, value in values.items():
        shape, size = np.shape(value), np.size(value)
        found[name] = joint[start : start + size].reshape(shape)
        start += size
    return found


def drop_cut(replicates: ArrayLike | Mapping[str, ArrayLike], svd_cut: float = 1e-6) -> float:
    """The `svdcut` with which gvar and lsqfit fit the same modes as nnqft: negative, which for them means dropping.

    nnqft keeps the eigenmodes of the correlation matrix above svd_cut times the largest, at most R // 4 of them
    (:func:`nnqft.couplings.fit.whiten`). This is minus the geometric mean of the last eigenvalue kept and the first
    one dropped, relative to the largest; -1e-15 where none is dropped. Replicates as for :func:`to_gvar`; they agree
    while the correlation matrix is one block, since gvar cuts every block by itself. ValueError without any variance.
    """
    tables = replicates if isinstance(replicates, Mapping) else {"": replicates}
    samples = np.concatenate([_rows(table) for table in tables.values()], axis=1)
    whitening = whiten(samples, svd_cut)
    kept = len(whitening)
    if kept == 0:
        raise ValueError("the replicates do not fluctuate: there is no correlation matrix")
    deviations = (samples - samples.mean(axis=0))[:, whitening.any(axis=0)]  # those that fluctuate
    eigenvalues = np.linalg.svd(deviations / np.linalg.norm(deviations, axis=0), compute_uv=False) ** 2
    if kept == len(eigenvalues):
        return -1e-15
    return -float(np.sqrt(eigenvalues[kept - 1] * max(eigenvalues[kept], 1e-15 * eigenvalues[0])) / eigenvalues[0])


def _rows(table: ArrayLike) -> Array:
    array = np.asarray(table, dtype=np.float64)
    return array.reshape(len(array), -1)


def _stack(values: Mapping[str, ArrayLike], replicates: Mapping[str, ArrayLike]) -> tuple[Array, Array]:
    """All quantities in one vector (q,), with replicates (R, q)."""
    if set(values) != set(replicates) or not values:
        raise ValueError(f"values {sorted(values)} and replicates {sorted(replicates)} are not the same quantities")
    R = {np.shape(table)[:1] for table in replicates.values()}
    if len(R) != 1 or any(np.shape(replicates[name])[1:] != np.shape(value) for name, value in values.items()):
        shapes = {name: (np.shape(value), np.shape(replicates[name])) for name, value in values.items()}
        raise ValueError(f"replicates must have one R and the shapes of the values behind it: {shapes}")
    data = np.concatenate([np.asarray(value, dtype=np.float64).ravel() for value in values.values()])
    samples = np.concatenate([_rows(replicates[name]) for name in values], axis=1)
    if len(samples) < 2:
        raise ValueError("a covariance needs at least two replicates")
    if not (np.isfinite(data).all() and np.isfinite(samples).all()):
        raise ValueError("values and replicates must be finite: leave out the components that are missing")
    return data, samples
