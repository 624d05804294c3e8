"""Couplings component by component, as Halverson, Maiti, Stoner quote them: their mean and spread over components.

lambda = -G4c / (24 I4) and kappa = (24^2 lambda^2 sum tree - G6c) / (720 I6), with lambda the mean. Where one constant
coupling describes the data, the mean agrees with the correlated fit. Where it does not, a correlated fit answers for
the few combinations that are measured best and its value means little; the mean then says how large the coupling is,
and the spread by how much it is not constant.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnqft.estimation.jackknife import stderr

Array = NDArray[np.float64]

_ZERO = 1e-12  # integrals below this fraction of the largest have no component coupling


@dataclass(frozen=True)
class ComponentMean:
    """mean over components with its jackknife error and replicates (R,); spread = standard deviation / |mean|."""

    mean: float
    stderr: float
    spread: float
    replicates: Array


def component_mean(G4c: Array, replicates: Array, I4: Array) -> ComponentMean:
    """Mean of lambda over the components of G4c (q,) with replicates (R, q) and vertex integrals I4 (q,)."""
    return _mean(-G4c / 24, -replicates / 24, I4)


def sextic_mean(G6c: Array, replicates: Array, quartic: ComponentMean, trees: Array, I6: Array) -> ComponentMean:
    """Mean of kappa over the components of G6c (q,), replicates (R, q); trees (q,) = 24^2 sum over splits, I6 (q,)."""
    data = quartic.mean**2 * trees - G6c
    samples = np.multiply.outer(quartic.replicates**2, trees) - replicates
    return _mean(data / 720, samples / 720, I6)


def _mean(data: Array, samples: Array, integrals: Array) -> ComponentMean:
    """Mean over components of data / integrals."""
    seen = np.abs(integrals) > _ZERO * np.abs(integrals).max(initial=0.0)
    if not seen.any():
        return ComponentMean(np.nan, np.nan, np.nan, np.full(len(samples), np.nan))
    values = data[seen] / integrals[seen]
    mean, refits = float(values.mean()), (samples[:, seen] / integrals[seen]).mean(axis=1)
    return ComponentMean(mean, float(stderr(refits)), float(values.std() / abs(mean)) if mean else np.inf, refits)
