"""The fixed centre and scale of an ensemble's statistics: its infinite-width kernel."""

import numpy as np
from numpy.typing import NDArray

from nnqft.core.gaussian import QuadratureError
from nnqft.core.packing import multisets, pack
from nnqft.nets.base import Network


def centre_and_scale(
    net: Network, kind: str, sigma_w: float, sigma_b: float, x: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Packed centre c and scale s of the matrix entries, each (P,) float64.

    s_ab = sqrt(K_aa K_bb) makes points comparable in the tail diagnostics. c is what is subtracted from the matrices
    (K, which keeps digits in sums of powers; nothing for `product`) or, for pooled `neurons`, what is left out of them
    (the variance of the readout's bias). Where the kernel is out of reach of quadrature or overflows, s = 1 and c = 0
    do as well.
    """
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            kernel = net.gp_kernel(x, sigma_w, sigma_b)
    except QuadratureError:
        kernel = np.full((len(x), len(x)), np.nan)
    if not np.isfinite(kernel).all():
        kernel = np.zeros((len(x), len(x)))
    rows, columns = multisets(len(x), 2).T
    variance = np.diag(kernel)
    scale = np.sqrt(variance[rows] * variance[columns])
    scale = np.where(scale > 0, scale, 1.0)
    if kind == "neurons":
        bias = np.asarray(net.readout(np.float64(sigma_w), np.float64(sigma_b))[1], dtype=np.float64)  # type: ignore[arg-type]
        return np.full(len(rows), bias), scale
    return (np.zeros(len(rows)) if kind == "product" else pack(kernel)), scale
