"""The sextic coupling from the six-point function: kappa with the complete tree level.

At tree level, and there is nothing else for couplings of the 1PI effective action (Halverson, Maiti, Stoner,
arXiv:2008.08601, section 4),

    G6c = sum_ij g_i g_j T_ij - 720 kappa I6,

with g the quartic couplings, T_ij the sum over the 10 splits of two quartic vertices joined by one propagator (for a
constant coupling alone T = 24^2 sum tree), and I6 the vertex integral of six legs. The trees are as large as kappa's
term, or larger (3.4 times G6c for the relu-net, 34 times for the erf-net at small points): kappa is fitted to
D = G6c - g T g, whose replicates carry the errors of g and their correlation with G6c.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from nnqft.couplings.fit import CouplingFit, fit_couplings, prediction_errors, pseudo_inverse, whiten
from nnqft.couplings.flow import Beta, beta_function
from nnqft.couplings.truncation import moved, truncation_error, widened
from nnqft.estimation.jackknife import stderr

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SexticFit:
    """kappa of one quartic model: `fit` in the modes of G6c, and its percentage errors on the components.

    data (modes,), samples (R, modes), design (modes, 1): what was fitted; modes (modes, q): the combinations of
    components they are; truncation: error of kappa from operators left out, extra (q, t) their
    columns; NaN and None if none were considered.
    """

    fit: CouplingFit
    data: Array
    samples: Array
    design: Array
    modes: Array
    nrms: float
    mape: float
    max_ape: float
    truncation: float = np.nan
    extra: Array | None = None

    @property
    def value(self) -> float:
        """kappa; NaN if it could not be fitted."""
        return float(self.fit.values[0])

    @property
    def stderr(self) -> float:
        """Its standard error."""
        return float(self.fit.stderr[0])

    @property
    def replicates(self) -> Array:
        """Its jackknife replicates (R,)."""
        return self.fit.replicates[:, 0]


def tree_level(couplings: Array, trees: Array) -> Array:
    """G T g (..., q) of quartic couplings (..., m) and trees (q, m, m)."""
    return np.einsum("...i,qij,...j->...q", couplings, trees, couplings, optimize=True)


def fit_sextic(
    G6c: Array,
    replicates: Array,
    quartic: CouplingFit,
    trees: Array,
    I6: Array,
    modes: Array | None,
    *,
    zeros: NDArray[np.bool_] | None = None,
    extra: Array | None = None,
    components: NDArray[np.int64] | None = None,
) -> SexticFit:
    """Kappa from G6c (q,) with replicates (R, q), the quartic fit to the same networks, trees (q, m, m) and I6 (q,).

    `modes` (p, q) are the combinations in which the fit is made, whitened modes of G6c (fit.whiten of its replicates);
    their covariance with the tree subtracted is whitened once more. None gives every component the same weight.
    zeros (q,): components without a percentage error; extra (q, t): columns of an error of truncation; components:
    only these are fitted (modes then refer to them), percentage errors are theirs too.
    """
    if components is None:
        components = np.arange(len(G6c))
    target = (G6c - tree_level(quartic.values, trees))[components]
    samples = (replicates - tree_level(quartic.replicates, trees))[:, components]
    x = -720 * I6[components]
    equal, modes = modes is None, np.eye(len(x)) if modes is None else modes
    data, columns, refits = modes @ target, (modes @ x)[:, None], samples @ modes.T
    weights = None
    if extra is not None:
        weights = widened(whiten(refits), modes @ extra[components])
    fit = fit_couplings(data, refits, columns, whitening=weights, weights="unit" if equal else "covariance")
    vanishing = None if zeros is None else zeros[components]
    errors = prediction_errors(G6c[components], G6c[components] - target + x * fit.values[0], vanishing)
    error = np.nan
    if weights is not None and extra is not None and fit.accepted:
        error = float(truncation_error(moved(weights, columns, modes @ extra[components]))[0])
    return SexticFit(fit, data, refits, columns, modes, *errors, error, extra)


def sextic_beta(
    found: SexticFit,
    quartic: CouplingFit,
    quartic_beta: Beta,
    trees: Array,
    trees_slope: Array,
    I6_slope: Array,
    cutoff: float,
) -> Beta:
    """beta(kappa) = d kappa / d log Lambda, (1,) each, exact at fixed weights; slopes are d / d Lambda.

    With kappa = M D(Lambda): the derivative of M as for a quartic coupling (flow.beta_function), and M dD with
    dD / dlog Lambda = -2 g T beta(g) - Lambda g T' g. `theory`: what it is if the correlators are exactly those of the
    fitted couplings at one Lambda.
    """
    if not found.fit.accepted:
        nan = np.full(1, np.nan)
        return Beta(nan, nan, found.fit.replicates, nan)
    slope = (found.modes @ (-720 * I6_slope))[:, None]
    own = beta_function(found.fit, found.data, found.samples, found.design, slope, cutoff)
    to_kappa = pseudo_inverse(found.fit.whitening @ found.design) @ found.fit.whitening @ found.modes  # (1, q)

    def running(g: Array, beta: Array) -> Array:
        """M dD / dlog Lambda (..., 1)."""
        change = 2 * np.einsum("...i,qij,...j->...q", g, trees, beta, optimize=True)
        return -(change + cutoff * tree_level(g, trees_slope)) @ to_kappa.T

    values = own.values + running(quartic.values, quartic_beta.values)
    theory = own.theory + running(quartic.values, quartic_beta.theory)
    shifts = running(quartic.replicates, quartic_beta.replicates)
    refits = values + own.replicates - own.values + sqrt(found.fit.inflation) * (shifts - shifts.mean(axis=0))
    return Beta(values, stderr(refits), refits, theory)


def predicted(couplings: Array, kappa: Array | float, trees: Array, I6: Array) -> Array:
    """G6c (..., q) of quartic couplings (..., m) and kappa (...)."""
    return tree_level(couplings, trees) - 720 * np.multiply.outer(np.asarray(kappa), I6)
