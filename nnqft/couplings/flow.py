"""Running of the couplings with the cutoff.

The correlators do not know the cutoff, dG / dLambda = 0, so a coupling fitted at Lambda runs with the vertex integrals
(Halverson, Maiti, Stoner, arXiv:2008.08601, section 4): beta(g) = dg / dlog Lambda. All cutoffs share one set of data;
their errors come from the jackknife replicates, never from the scatter about a line.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.couplings.fit import CouplingFit, pseudo_inverse
from nnqft.estimation.jackknife import covariance as jackknife_covariance

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Beta:
    """beta(g) = dg / dlog Lambda of the couplings (m,) of one fit.

    values: exact derivative of the fitted couplings; stderr, replicates (R, m): its jackknife errors;
    theory: what it is if the correlators are exactly those of the fitted couplings; for a constant coupling
    -lambda dlog I4 / dlog Lambda, averaged over the components as the fit does. The two differ by the residuals.
    """

    values: Array
    stderr: Array
    replicates: Array
    theory: Array


@dataclass(frozen=True)
class Slope:
    """Least-squares slope of log |coupling| against log Lambda; NaN with a reason where the logarithm has none."""

    value: float
    stderr: float
    replicates: Array
    reason: str = ""


def beta_function(
    fit: CouplingFit, G4c: ArrayLike, replicates: ArrayLike | None, design: Array, design_slope: Array, cutoff: float
) -> Beta:
    """Exact beta function of a fit: G4c (q,), replicates (R, q) and design (q, m) as given to `fit_couplings`.

    `design_slope` (q, m) is d design / d Lambda, of :mod:`nnqft.couplings.vertices`. With X = W design and the
    residual r = W (G4c - design g), g' = (X^T X)^-1 (X'^T r - X^T X' g): the weights W do not depend on Lambda.
    A refused fit gives NaN.
    """
    data = np.asarray(G4c, dtype=np.float64)
    if not fit.accepted:
        return Beta(fit.values, fit.values, fit.replicates, fit.values)
    x, dx = fit.whitening @ design, cutoff * (fit.whitening @ design_slope)
    inverse = pseudo_inverse(x)
    running = -inverse @ dx  # what theory makes of g
    to_couplings = inverse @ fit.whitening
    to_residual = fit.whitening - x @ to_couplings
    linear_map = inverse @ inverse.T @ (dx.T @ to_residual) + running @ to_couplings  # beta = linear_map @ data
    values, theory = linear_map @ data, running @ fit.values
    if replicates is None:
        return Beta(values, np.full_like(values, np.nan), fit.replicates, theory)
    samples = np.asarray(replicates, dtype=np.float64)
    refits = values + np.sqrt(fit.inflation) * (samples - samples.mean(axis=0)) @ linear_map.T
    return Beta(values, np.sqrt(np.diagonal(jackknife_covariance(refits))), refits, theory)


def finite_difference_beta(cutoffs: ArrayLike, couplings: ArrayLike) -> Array:
    """Beta by central differences in log Lambda between cutoffs: couplings (n_cutoffs, ...) -> the same shape.

    Exact for power laws: log |g| is differenced where g keeps its sign over all cutoffs, g itself where it does not.
    The cutoffs must increase; fewer than two have no difference (ValueError).
    """
    logs, values = np.log(np.asarray(cutoffs, dtype=np.float64)), np.asarray(couplings, dtype=np.float64)
    if logs.ndim != 1 or len(logs) < 2 or len(logs) != len(values) or np.any(np.diff(logs) <= 0):
        raise ValueError("finite differences need at least two increasing cutoffs, one for each row of the couplings")
    edge = 2 if len(logs) > 2 else 1
    one_sign = np.all(values > 0, axis=0) | np.all(values < 0, axis=0)
    magnitude = np.where(one_sign, np.abs(values), 1.0)
    logarithmic = values * np.gradient(np.log(magnitude), logs, axis=0, edge_order=edge)
    return np.where(one_sign, logarithmic, np.gradient(values, logs, axis=0, edge_order=edge))


def slope(cutoffs: ArrayLike, coupling: ArrayLike, replicates: ArrayLike | None) -> Slope:
    """Slope of log |coupling| against log Lambda over all cutoffs, with its jackknife error.

    coupling (n_cutoffs,) and replicates (R, n_cutoffs) come from fits of the same data; each cutoff counts the same.
    Replicates None (noise-free couplings) leaves the error NaN. A coupling that vanishes or changes sign has no slope.
    """
    logs, values = np.log(np.asarray(cutoffs, dtype=np.float64)), np.asarray(coupling, dtype=np.float64)
    samples = np.empty((0, len(values))) if replicates is None else np.asarray(replicates, dtype=np.float64)
    if logs.shape != values.shape or samples.shape[1:] != values.shape:
        raise ValueError(f"cutoffs, coupling, replicates do not match: {logs.shape}, {values.shape}, {samples.shape}")
    if reason := _no_logarithm(logs, values, samples):
        return Slope(np.nan, np.nan, np.full(len(samples), np.nan), reason)
    centred = logs - logs.mean()
    weights = centred / np.sum(centred**2)
    value, refits = float(np.log(np.abs(values)) @ weights), np.log(np.abs(samples)) @ weights
    stderr = float(np.sqrt(jackknife_covariance(refits[:, None])[0, 0])) if len(refits) else np.nan
    return Slope(value, stderr, refits)


def relevance(fit: Slope, significance: float = 3.0) -> str:
    """What the slope s = dlog |g| / dlog Lambda makes of a coupling: relevant, marginal, irrelevant; empty if unknown.

    In Wilson's sense, as Lambda falls: a relevant coupling grows (s < 0), an irrelevant one dies out (s > 0); marginal
    is one whose |s| is below 1e-3, or below `significance` standard errors and 0.1. Of two relevant couplings the one
    with the larger |s| grows faster, and is the more suppressed at large Lambda: kappa before lambda (HMS, section 4).
    """
    if not np.isfinite(fit.value):
        return ""
    error = significance * fit.stderr if np.isfinite(fit.stderr) else 0.0
    if abs(fit.value) < 1e-3 or abs(fit.value) < min(error, 0.1):
        return "marginal"
    if abs(fit.value) < error:
        return ""
    return "relevant" if fit.value < 0 else "irrelevant"


def _no_logarithm(logs: Array, values: Array, samples: Array) -> str:
    """Why log |coupling| has no slope; empty if it has one."""
    if np.unique(logs).size < 2:
        return "a slope needs two different cutoffs"
    if not (np.isfinite(values).all() and np.isfinite(samples).all()):
        return "the coupling was not determined at every cutoff"
    if np.any(np.sign(values) != np.sign(values[0])) or values[0] == 0:
        return "the coupling changes sign between the cutoffs"
    if np.any(np.sign(samples) != np.sign(values[0])):
        return "the coupling is compatible with zero: some replicates have the other sign"
    return ""
