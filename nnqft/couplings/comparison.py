"""Which set of couplings: information criteria, evidence, and averages over models of the same data.

All models of one set of data share its whitened modes (nnqft.couplings.fit): d = W G4c with p modes, and the columns
W T_i of the operators. From R replicates the inverse covariance of p modes is overestimated, on average by
nu / (nu - p - 1), nu = R - 1 (Hartlap, Simon, Schneider, astro-ph/0608064); h is its inverse, the same for all models.

- AIC = h T^2 + 2 m, BIC = h T^2 + m log p, with T^2 the squared residual and m couplings (Akaike 1974; Schwarz 1978).
- The evidence: a Gaussian prior of mean zero for every coupling, of standard deviation |G4c| / |T_i|, the value with
  which its operator alone were as large as the data. Then d is Gaussian with covariance
  C = 1 / h + sum_i s_i^2 (W T_i)(W T_i)^T, and log Z = -(d^T C^-1 d + log det C + p log 2 pi) / 2. Differences of log Z
  are logarithms of Bayes factors. The prior's width is one for all operators and as good a guess as any: factors below
  3 (|difference| < 1) mean nothing.
- Averages: weights proportional to exp(-AIC / 2) (Jay, Neil, arXiv:2008.01069) or to Z with equal prior
  probabilities; the variance is that within models plus that between them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Criteria:
    """Akaike's and the Bayesian information criterion, and the logarithm of the evidence; NaN where undefined."""

    aic: float
    bic: float
    log_evidence: float


UNKNOWN = Criteria(np.nan, np.nan, np.nan)


@dataclass(frozen=True)
class Average:
    """weights (models,), summing to one over the models that count; mean, statistical and systematic error of it."""

    weights: Array
    mean: float
    stderr: float
    systematic: float


def criteria(
    data: ArrayLike, design: ArrayLike, whitening: Array, replicates: int, *, extra: Array | None = None
) -> Criteria:
    """Criteria of one model: G4c (q,), design (q, m), whitening (p, q) from so many replicates.

    extra (p, t): further columns of the covariance of the whitened data besides its noise, in units of their standard
    deviations (an error of truncation). NaN when no mode is left over, or the replicates are too few for h > 0.
    """
    d, x = np.asarray(data, dtype=np.float64), np.asarray(design, dtype=np.float64)
    p, m = len(whitening), x.shape[1]
    h = (replicates - 1 - p - 1) / (replicates - 1)
    if p <= m or h <= 0 or not (np.isfinite(d).all() and np.isfinite(x).all()):
        return UNKNOWN
    noise = np.eye(p) / h + (0.0 if extra is None else extra @ extra.T)
    root = np.linalg.cholesky(noise)
    target, columns = (np.asarray(np.linalg.solve(root, whitening @ a), dtype=np.float64) for a in (d, x))
    size = np.linalg.norm(x, axis=0)
    if not np.all(size > 0):
        return UNKNOWN
    columns = columns * (np.linalg.norm(d) / size)
    residual = target - columns @ np.linalg.lstsq(columns, target, rcond=None)[0]
    chi2 = float(residual @ residual)
    return Criteria(
        chi2 + 2 * m, chi2 + m * float(np.log(p)), _log_evidence(target, columns, np.asarray(root, dtype=np.float64))
    )


def _log_evidence(target: Array, columns: Array, root: Array) -> float:
    """Log Z of target = columns c + noise, c and noise standard normal; root: that of the covariance divided out."""
    p = len(target)
    cholesky = np.linalg.cholesky(np.eye(p) + columns @ columns.T)
    scaled = np.linalg.solve(cholesky, target)
    log_det = 2 * float(np.log(np.diagonal(cholesky)).sum() + np.log(np.diagonal(root)).sum())
    return -0.5 * (float(scaled @ scaled) + log_det + p * float(np.log(2 * np.pi)))


def weights(log_odds: ArrayLike) -> Array:
    """Probabilities (..., models) proportional to exp(log_odds), NaN counting as impossible; all NaN where all are."""
    odds = np.asarray(log_odds, dtype=np.float64)
    known = np.isfinite(odds)
    top = np.max(np.where(known, odds, -np.inf), axis=-1, keepdims=True)
    raw = np.where(known, np.exp(np.where(known, odds - np.where(np.isfinite(top), top, 0.0), -np.inf)), 0.0)
    total = raw.sum(axis=-1, keepdims=True)
    return np.divide(raw, total, out=np.full_like(raw, np.nan), where=total > 0)


def average(log_odds: ArrayLike, values: ArrayLike, replicates: ArrayLike) -> Average:
    """Average of one quantity over models: values (models,), jackknife replicates (R, models).

    Models in which the quantity is NaN do not count. The statistical error is the jackknife's of the average with the
    weights held fixed (the models' errors are correlated: they have the same data); the systematic one is the standard
    deviation between models, sum_m w_m (value_m - mean)^2.
    """
    each, samples = np.asarray(values, dtype=np.float64), np.asarray(replicates, dtype=np.float64)
    seen = np.isfinite(each)
    found = weights(np.where(seen, np.asarray(log_odds, dtype=np.float64), np.nan))
    if np.isnan(found).all():
        return Average(found, np.nan, np.nan, np.nan)
    share = found[seen]
    mean = float(share @ each[seen])
    refits = samples[:, seen] @ share
    R = len(refits)
    error = float(np.sqrt((R - 1) / R * np.sum((refits - refits.mean()) ** 2)))
    return Average(found, mean, error, float(np.sqrt(share @ (each[seen] - mean) ** 2)))
