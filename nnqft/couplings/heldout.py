"""Do couplings fitted on some points predict the correlators on others?

The two sets of points are measured on independent networks. The prediction error r = G4c(held out) - X' g has
covariance C' + X' C_g X'^T, both from jackknife replicates: those of r are theirs, added in pairs. Halverson, Maiti and
Stoner (arXiv:2008.08601, section 4) quote the mean and the largest absolute percentage error; chi^2 says whether these
are more than noise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.couplings.fit import prediction_errors
from nnqft.estimation.agreement import Agreement, agreement

Array = NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """|G - prediction| / |G|, mean and largest percentage error; agreement: pulls, chi2 and p of the prediction."""

    nrms: float
    mape: float
    max_ape: float
    agreement: Agreement


def predict_heldout(
    G4c: ArrayLike, replicates: ArrayLike, prediction: ArrayLike, predicted: ArrayLike, zeros: ArrayLike | None = None
) -> HeldOut:
    """Measured G4c (q,), replicates (R, q) against a prediction (q,) with replicates (R, q) of independent networks.

    zeros (q,): components without a percentage error. R must be the same on both sides (ValueError).
    """
    data, samples = np.asarray(G4c, dtype=np.float64), np.asarray(replicates, dtype=np.float64)
    expected, refits = np.asarray(prediction, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if samples.shape != refits.shape:
        raise ValueError(f"both sides need the same number of replicates, not {samples.shape} and {refits.shape}")
    joint = samples - (refits - refits.mean(axis=0))
    return HeldOut(*prediction_errors(data, expected, zeros), agreement(data, joint, expected))
