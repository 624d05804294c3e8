"""The coupling component by component, as Halverson, Maiti, Stoner quote it: lambda = -G4c / (24 I4), mean, spread.

Where one constant coupling describes the data, the mean agrees with the correlated fit. Where it does not, a correlated
fit answers for the few combinations that are measured best and its value means little; the mean then says how large the
coupling is, and the spread by how much it is not constant.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnqft.estimation.jackknife import stderr

Array = NDArray[np.float64]

_ZERO = 1e-12  # integrals below this fraction of the largest have no component coupling


@dataclass(frozen=True)
class ComponentMean:
    """mean over components with its jackknife error; spread = standard deviation over components / |mean|."""

    mean: float
    stderr: float
    spread: float


def component_mean(G4c: Array, replicates: Array, I4: Array) -> ComponentMean:
    """Mean of the couplings of the components of G4c (q,) with replicates (R, q) and vertex integrals I4 (q,)."""
    seen = np.abs(I4) > _ZERO * np.abs(I4).max(initial=0.0)
    if not seen.any():
        return ComponentMean(np.nan, np.nan, np.nan)
    weights = -1 / (24 * I4[seen])
    values = G4c[seen] * weights
    mean = float(values.mean())
    error = float(stderr((replicates[:, seen] * weights).mean(axis=1)))
    return ComponentMean(mean, error, float(values.std() / abs(mean)) if mean else np.inf)
