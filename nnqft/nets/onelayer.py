"""Exact cumulants of one-hidden-layer perceptrons at any width.

f(x) = sum_i w_i s_i(x) + b with iid hidden units s_i, Var w = sigma_w^2 / N, Var b = sigma_b^2. With E_k the moments of
order k of one unit, P = sigma_w^2 s s the contribution of a unit to the kernel,

    G2 = sigma_b^2 + sigma_w^2 E_2,      N G4c = sum over 3 pairings of cov(P, P),
    N^2 G6c = sum over 15 pairings of the third joint cumulant of (P, P, P),

and neither the bias nor 1/N corrections enter further: HMS 2008.08601 section 3, Yaida 1910.00019.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nnqft.core.gaussian import homogeneous_moments, smooth_moments
from nnqft.core.packing import multisets, pack, splits, wick
from nnqft.nets.activations import Activation
from nnqft.nets.kernels import evaluate, first_factor, first_kernel, has_closed_kernel, kernel_map

Array = NDArray[np.float64]
Status = Literal["exact", "quadrature"]


@dataclass(frozen=True)
class OneLayer:
    """Cumulants at depth 1, packed, free of N: G2 (P,), N G4c (Q,) and N^2 G6c (S,), and how each order was found."""

    G2: Array
    N_G4c: Array
    N2_G6c: Array
    status: dict[int, Status]


def one_layer(activation: Activation, x: Array, sigma_w: float, sigma_b: float) -> OneLayer:
    """Cumulants of the outputs at x (n_x, d_in).

    Raises ValueError where the unit's moments need quadrature in more than four dimensions (min(d_in + 1, n_x) > 4,
    see `closed_moments`).
    """
    factor = first_factor(x, sigma_w, sigma_b)
    moments = unit_moments(activation, factor, (2, 4, 6))
    closed = closed_moments(activation, factor)
    if has_closed_kernel(activation):
        kernel = pack(kernel_map(activation, first_kernel(x, sigma_w, sigma_b), sigma_w, sigma_b))
    else:
        kernel = sigma_b**2 + sigma_w**2 * moments[2]
    higher: Status = "exact" if closed else "quadrature"
    return OneLayer(
        G2=kernel,
        N_G4c=sigma_w**4 * fourth_cumulant(moments, len(x)),
        N2_G6c=sigma_w**6 * sixth_cumulant(moments, len(x)),
        status={2: "exact" if has_closed_kernel(activation) else "quadrature", 4: higher, 6: higher},
    )


def closed_moments(activation: Activation, factor: Array) -> bool:
    """Whether `unit_moments` is closed form: linear, gauss, and homogeneous units of one Gaussian variable (a ray)."""
    one_variable = activation.kind == "homogeneous" and factor.shape[1] <= 1
    return activation.name == "linear" or activation.kind == "lognormal" or one_variable


def unit_moments(activation: Activation, factor: Array, orders: Sequence[int]) -> dict[int, Array]:
    """Packed moments E[s_a s_b ...] of even orders of one unit s = phi(z), z = factor @ u, factor (n, r).

    ValueError for r > 4 unless the moments are closed form at any r (linear, gauss).
    """
    kernel, n = factor @ factor.T, len(factor)
    if activation.name == "linear":
        return {k: wick(pack(kernel), n, k) for k in orders}
    if activation.kind == "lognormal":
        return {k: _lognormal_moments(kernel, k) for k in orders}
    if activation.kind == "homogeneous":
        return homogeneous_moments(lambda z: evaluate(activation, z), factor, orders)
    return smooth_moments(lambda z: evaluate(activation, z), factor, orders, odd=activation.odd)


def fourth_cumulant(moments: dict[int, Array], n: int) -> Array:
    """Sum over the 3 pairings of the covariance of the pair products, from packed moments of orders 2 and 4."""
    return 3 * moments[4] - wick(moments[2], n, 4)


def sixth_cumulant(moments: dict[int, Array], n: int) -> Array:
    """Sum over the 15 pairings of the third joint cumulant of the pair products.

    kappa_3(X, Y, Z) = E[XYZ] - E[X] E[YZ] - E[Y] E[XZ] - E[Z] E[XY] + 2 E[X] E[Y] E[Z]; every (pair | quad) split of
    the six legs occurs in three pairings.
    """
    pairs, quads = splits(n, 2, 4)
    mixed = np.sum(moments[2][pairs] * moments[4][quads], axis=-1)
    return 15 * moments[6] - 3 * mixed + 2 * wick(moments[2], n, 6)


def _lognormal_moments(kernel: Array, order: int) -> Array:
    """E prod_a exp(z_a - k_aa) = exp(sum_ab k_ab / 2 - sum_a k_aa) over the legs of every multiset."""
    legs = multisets(len(kernel), order)
    total = kernel[legs[:, :, None], legs[:, None, :]].sum(axis=(1, 2))
    return np.exp(total / 2 - np.diag(kernel)[legs].sum(axis=1))
