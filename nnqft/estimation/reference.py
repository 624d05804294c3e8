"""The fixed centre and scale of an ensemble's statistics: its infinite-width kernel."""

import numpy as np
from numpy.typing import NDArray

from nnqft.core.gaussian import QuadratureError
from nnqft.core.packing import multisets, pack
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.kernels import gp_kernel


def centre_and_scale(
    activation: str, depth: int, sigma_w: float, sigma_b: float, x: NDArray[np.float64], estimator: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Packed centre c and scale s of the matrix entries, each (pairs,) float64.

    s_ab = sqrt(K_aa K_bb) makes points comparable in the tail diagnostics. c = K keeps digits in sums of powers of
    Khat - c; the product estimator needs raw moments, c = 0. Any values are right: where the kernel is out of reach of
    quadrature or overflows, c = 0 and s = 1.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            kernel = gp_kernel(ACTIVATIONS[activation], x, depth, sigma_w, sigma_b)
    except QuadratureError:
        kernel = np.full((len(x), len(x)), np.nan)
    if not np.isfinite(kernel).all():
        kernel = np.zeros((len(x), len(x)))
    rows, columns = multisets(len(x), 2).T
    variance = np.diag(kernel)
    scale = np.sqrt(variance[rows] * variance[columns])
    scale = np.where(scale > 0, scale, 1.0)
    return (pack(kernel) if estimator == "marginal" else np.zeros(len(rows))), scale
