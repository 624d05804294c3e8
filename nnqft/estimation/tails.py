"""Can the error bar be trusted? Tail diagnostics of the per-network contributions to each order.

A sample's contribution to G2, G4c, G6c, G8c scales as the size d of its deviation to the power k = 1, 2, 3, 4. A mean
has an honest error bar only when the contributions have a finite variance that the sample has seen. Three symptoms:

- the generalised-Pareto index of the tail of d^k (Zhang & Stephens, Technometrics 51 (2009) 316; the diagnostic of
  Vehtari et al., Pareto smoothed importance sampling, arXiv:1507.02646). The variance is infinite from 1/2 on;
- the share of the sum of d^k that the largest 0.1% of samples carry;
- disagreement of the two halves of the sample, in units of its own error.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

INDEX_LIMIT = 0.5
SHARE_LIMIT = 0.5
HALVES_LIMIT = 5.0
MOST_EXCEEDANCES = 4096


def largest(sizes: Array, samples: int) -> Array:
    """The largest sizes of deviations, descending: 1/16 of them, but 1,024 to 4,096, and at most a quarter of them.

    Never more than 1/32 of the samples.

    Fewer would scatter so much that the cells that pass are those which happened to miss their tail; more would reach
    into the body of the distribution.

    sizes: one for each of many equal classes of samples, the largest of its class; zeros (empty classes) are left out.
    Maxima of classes have the same tail index as the samples themselves (Fisher and Tippett).
    """
    seen = sizes[sizes > 0].ravel()
    most = min(seen.size // 4, samples // 32)
    kept = max(5, min(most, max(1024, min(MOST_EXCEEDANCES, seen.size // 16))))
    return np.sort(seen)[::-1][:kept]


def pareto_index(contributions: Array) -> float:
    """Generalised-Pareto shape of the exceedances of the largest contributions over the smallest of them.

    contributions: descending, positive. NaN for fewer than 5 distinct values. Zhang & Stephens' quasi-Bayesian
    estimator, eqs. (4)-(8), with the weak prior of arXiv:1507.02646 (appendix C).
    """
    exceedances = contributions[:-1] - contributions[-1]
    x = np.sort(exceedances[exceedances > 0])
    n = len(x)
    if n < 5:
        return float("nan")
    x = x / x[-1]
    m = 30 + int(np.sqrt(n))
    quartile = x[int(n / 4 + 0.5) - 1]
    b = (1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / (3 * quartile) + 1
    with np.errstate(divide="ignore", invalid="ignore"):
        k = np.log1p(-b[:, None] * x).mean(axis=1)
        likelihood = n * (np.log(-b / k) - k - 1)
    usable = np.isfinite(likelihood)
    b, likelihood = b[usable], likelihood[usable]
    weights = np.exp(likelihood - likelihood.max())
    posterior = float((b * weights).sum() / weights.sum())
    shape = float(np.log1p(-posterior * x).mean())
    return (n * shape + 10 * 0.5) / (n + 10)


def top_share(largest: Array, power: int, total: float, samples: int) -> float:
    """Share of the sum of d^power that the largest 0.1% of samples carry (at least one, at most those in `largest`)."""
    top = largest[: max(1, samples // 1000)]
    return float((top**power).sum() / total) if total > 0 else 0.0


def halves_distance(first: Array, second: Array, stderr: Array) -> float:
    """Root mean square over components of the difference of the halves in units of its standard error (2 stderr)."""
    seen = stderr > 0
    if not seen.any():
        return 0.0
    return float(np.sqrt(np.mean(((first - second)[seen] / (2 * stderr[seen])) ** 2)))


def trusted(index: float, share: float, halves: float) -> bool:
    """The verdict: finite-variance tail, no handful of networks that carries the sum, halves that agree.

    An index that cannot be estimated (fewer than five distinct large deviations) says nothing against the estimate.
    """
    return not (index > INDEX_LIMIT or share > SHARE_LIMIT) and halves <= HALVES_LIMIT
