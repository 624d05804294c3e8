"""Moments of one hidden unit of a first layer of Gaussian weights: what all cumulants at one hidden layer are made of.

f(x) = sum_i w_i s_i(x) + b with iid units s_i = phi(z_i), z_i a Gaussian vector over the points. The cumulants of any
width follow (`nnqft.nets.weightlaws.neuron_cumulants`): HMS 2008.08601 section 3, Yaida 1910.00019.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nnqft.core.gaussian import homogeneous_moments, smooth_moments
from nnqft.core.packing import multisets, pack, wick
from nnqft.nets.activations import Activation
from nnqft.nets.kernels import evaluate

Array = NDArray[np.float64]


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


def _lognormal_moments(kernel: Array, order: int) -> Array:
    """E prod_a exp(z_a - k_aa) = exp(sum_ab k_ab / 2 - sum_a k_aa) over the legs of every multiset."""
    legs = multisets(len(kernel), order)
    total = kernel[legs[:, :, None], legs[:, None, :]].sum(axis=(1, 2))
    return np.exp(total / 2 - np.diag(kernel)[legs].sum(axis=1))
