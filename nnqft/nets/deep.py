"""Perceptrons of any depth at leading order in 1/N.

Given the kernel of one layer the neurons of the next are iid Gaussian, so the empirical kernels form a Markov chain
E K^ = K + G1 / N, Cov K^ = V / N on the coordinates K_ab with a <= b, and with F the infinite-width map, J and H its
derivatives,

    K' = F(K),    V' = S + J V J^T,    G1' = J G1 + H : V / 2,    V = G1 = 0 at the first layer,
    S[ab, cd] = sigma_w^4 (<phi_a phi_b phi_c phi_d> - <phi_a phi_b> <phi_c phi_d>):

Yaida 1910.00019, Roberts, Yaida and Hanin 2106.10165 chapter 4.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nnqft.core.gaussian import factor_kernel
from nnqft.core.packing import multisets, pack, pairing_legs, rank
from nnqft.nets.activations import Activation
from nnqft.nets.kernels import checked_depth, kernel_map, map_derivatives
from nnqft.nets.onelayer import closed_moments, unit_moments

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FiniteWidth:
    """The chain of kernels, first layer to output: K (depth + 1, P), V (depth + 1, P, P), G1 (depth + 1, P), packed.

    Row l is the kernel of the (l + 1)-th preactivations; the last row that of the output.
    """

    K: Array
    V: Array
    G1: Array

    def output_kernel(self, widths: Array) -> Array:
        """G2 = K + G1 / N of the output, shape (n_widths, P), for widths (n_widths, 1)."""
        return self.K[-1] + self.G1[-1] / widths

    def output_quartic(self) -> Array:
        """N G4c of the output: the sum of V over the 3 pairings, packed over four legs."""
        n = _points(self.K.shape[1])
        legs = pairing_legs(n, 4)
        return self.V[-1][legs[..., 0], legs[..., 1]].sum(axis=-1)


def finite_width(activation: Activation, sigma_w: float, sigma_b: float, kernel: Array, depth: int) -> FiniteWidth:
    """K, V and G1 of every layer from the first-layer kernel (n, n).

    Raises ValueError for depth < 1 and for `gauss`, whose kernel's derivatives exist but describe a network of infinite
    variance.
    """
    pairs = len(multisets(len(kernel), 2))
    K, V, G1 = [kernel], [np.zeros((pairs, pairs))], [np.zeros(pairs)]
    for layer in range(checked_depth(activation, depth)):
        following = kernel_map(activation, K[-1], sigma_w, sigma_b)
        variance, shift = source(activation, K[-1], (following - sigma_b**2) / sigma_w**2, sigma_w), np.zeros(pairs)
        if layer > 0:
            derivatives = map_derivatives(activation, K[-1], sigma_w)
            jacobian = derivatives.jacobian()
            variance = variance + jacobian @ V[-1] @ jacobian.T
            shift = jacobian @ G1[-1] + derivatives.hessian_trace(V[-1]) / 2
        K.append(following)
        V.append(variance)
        G1.append(shift)
    return FiniteWidth(pack(np.array(K)), np.array(V), np.array(G1))


def source(activation: Activation, kernel: Array, second: Array, sigma_w: float) -> Array:
    """S (P, P) at K = kernel (n, n); second (n, n) = <phi phi>_K."""
    n = len(kernel)
    pairs = multisets(n, 2)
    legs = np.concatenate(np.broadcast_arrays(pairs[:, None, :], pairs[None, :, :]), axis=-1)
    average = pack(second)
    return sigma_w**4 * (fourth_moments(activation, kernel)[rank(legs, n)] - np.outer(average, average))


def fourth_moments(activation: Activation, kernel: Array) -> Array:
    """<phi_a phi_b phi_c phi_d>_K, packed, for kernels (n, n) of any rank.

    Kernels of low rank are done at once. Otherwise every component is integrated over its distinct points only, at
    most four, so that components on fewer points have the accuracy of fewer dimensions: the subsets overwrite one
    another from large to small.
    """
    n, factor = len(kernel), factor_kernel(kernel)
    at_once = 3 if activation.kind == "homogeneous" else 4
    if closed_moments(activation, factor) or factor.shape[1] <= at_once:
        return unit_moments(activation, factor, (4,))[4]
    moments = np.empty(len(multisets(n, 4)))
    for size in (4, 3, 2, 1):
        for subset in combinations(range(n), size):
            part = factor_kernel(kernel[np.ix_(subset, subset)])
            positions = rank(np.array(subset)[multisets(size, 4)], n)
            moments[positions] = unit_moments(activation, part, (4,))[4]
    return moments


def _points(pairs: int) -> int:
    """N from n (n + 1) / 2."""
    return (int(np.sqrt(8 * pairs + 1)) - 1) // 2
