"""Does an estimate agree with a prediction? Pulls, and a chi^2 that knows about the correlations.

Components of one correlator are strongly correlated (on one ray the ReLU-net's have a single mode) and often more
numerous than the R jackknife groups, so their covariance is singular and only some of its modes can be tested. Modes
chosen from the same groups that then give their variances look too noisy, and chi^2 comes out too small. Here a quarter
of the groups chooses the modes, the others measure the covariance in them. For Gaussian group means both are
independent of the estimate, and Hotelling's law is exact whatever the spectrum and the number of components.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc, stdtr

from nnqft.estimation.jackknife import stderr

Array = NDArray[np.float64]

ROUNDING = 1e-9
"""Relative size below which a difference, or an error bar, is floating-point rounding and not physics."""

SINGLE_ROUNDING = 1e-6
"""The same relative to the natural size of a component, for what is sampled in float32."""

NOTICEABLE = 0.1
"""Error of a prediction, relative to that of the estimate, above which chi^2 is not given."""

FEWEST = 4
"""Fewest groups that can give a covariance with a goodness of fit."""


@dataclass(frozen=True)
class Agreement:
    """pulls (components,), NaN where there is nothing to compare; worst = the largest |pull|, over `components`.

    chi2: over `modes` independent combinations, scaled to mean `modes`; p_value: of Hotelling's T^2. NaN without
    scatter or with too few replicates.
    """

    pulls: Array
    components: int
    worst: float
    chi2: float
    modes: int
    p_value: float


def agreement(
    values: Array,
    replicates: Array,
    prediction: Array,
    size: Array | float = 0.0,
    uncertainty: Array | None = None,
    cut: float = 1e-4,
) -> Agreement:
    """Compare components (q,) and their jackknife replicates (R, q) with a prediction (q,); NaN is left out.

    A component whose error bar is rounding must equal the prediction to rounding, else its pull is infinite; chi^2
    leaves it out. `size` (q,): natural size of the components (free correlators of their legs), against which rounding
    is judged where the components themselves vanish. `uncertainty` (q,): the prediction's own error, added to pulls;
    there is no chi^2 where it is noticeable. `cut`: smallest eigenvalue of the correlation matrix that is used,
    relative to the largest.
    """
    seen = np.isfinite(prediction) & np.isfinite(values)
    difference, samples = (values - prediction)[seen], replicates[:, seen]
    error = stderr(samples)
    own = np.zeros_like(error) if uncertainty is None else np.nan_to_num(uncertainty[seen])
    natural = np.broadcast_to(size, values.shape)[seen]
    rounding = ROUNDING * np.maximum(np.abs(prediction[seen]), np.abs(values[seen]))
    rounding = np.maximum(rounding, SINGLE_ROUNDING * natural)
    noisy = error > rounding
    found = np.where(np.abs(difference) <= rounding, 0.0, np.inf)
    found[noisy] = difference[noisy] / np.hypot(error, own)[noisy]
    pulls = np.full(values.shape, np.nan)
    pulls[seen] = found
    worst = float(np.abs(found).max()) if found.size else float("nan")
    chi2, modes, p_value = float("nan"), 0, float("nan")
    if not np.any(own > NOTICEABLE * error):
        chi2, modes, p_value = _hotelling(difference[noisy], samples[:, noisy], cut)
    return Agreement(pulls, found.size, worst, chi2, modes, p_value)


def _hotelling(difference: Array, samples: Array, cut: float) -> tuple[float, int, float]:
    """chi2, modes and p-value of a difference (q,) with leave-one-out replicates (R, q).

    T^2 (nu - m + 1) / (nu m) is F(m, nu - m + 1) for m modes and a covariance with nu degrees of freedom (Hotelling
    1931); chi2 = T^2 (nu - m - 1) / nu has mean m (Hartlap, Simon, Schneider, astro-ph/0608064).
    """
    R = len(samples)
    chooses = np.random.default_rng(R).permutation(R) % 4 == 0  # fixed; not in step with unequal group sizes
    nu = int(np.sum(~chooses)) - 1
    if difference.size == 0 or nu + 1 < FEWEST:
        return float("nan"), 0, float("nan")
    choosing = samples[chooses] - samples[chooses].mean(axis=0)
    size = np.linalg.norm(choosing, axis=0)
    inverse = np.divide(1.0, size, out=np.zeros_like(size), where=size > 0)
    choosing *= inverse
    eigenvalues, vectors = np.linalg.eigh(choosing @ choosing.T)  # the modes of few groups: cheaper than an SVD
    m = min(int(np.sum(eigenvalues > cut * eigenvalues[-1])), (nu + 1) // FEWEST, len(choosing) - 1)
    if m == 0:
        return float("nan"), 0, float("nan")
    modes = (vectors[:, -m:] / np.sqrt(eigenvalues[-m:])).T @ choosing
    to_modes = (modes * inverse).T
    measured = (samples[~chooses] @ to_modes) * ((R - 1) / np.sqrt(R * nu))
    scatter = measured - measured.mean(axis=0)
    distance = difference @ to_modes
    T2 = float(distance @ np.linalg.lstsq(scatter.T @ scatter, distance, rcond=None)[0])
    p_value = float(fdtrc(m, nu - m + 1, T2 * (nu - m + 1) / (nu * m)))
    return T2 * (nu - m - 1) / nu, m, p_value


def combined_p(p_values: Array) -> float:
    """Fisher's combination of independent p-values (those of different widths and architectures are independent)."""
    p = p_values[np.isfinite(p_values)]
    return float(chdtrc(2 * len(p), -2 * np.log(np.maximum(p, 1e-300)).sum())) if len(p) else float("nan")


def look_elsewhere(worst: float, looks: int, dof: float = np.inf) -> float:
    """Probability that the largest of `looks` pulls is beyond `worst`; NaN without a pull.

    Sidak's bound: exact for independent pulls, too large (never too small) for correlated Gaussian ones. An error bar
    from R jackknife groups makes a pull Student's t with dof = R - 1, not normal.
    """
    if not looks or np.isnan(worst):
        return float("nan")
    with np.errstate(divide="ignore"):
        return float(-np.expm1(looks * np.log1p(-2 * stdtr(dof, -worst))))
