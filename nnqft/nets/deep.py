"""Perceptrons of any depth at leading order in 1/N.

Given the kernel of one layer the neurons of the next are iid Gaussian, so the empirical kernels form a Markov chain
E K^ = K + G1 / N, Cov K^ = V / N on the coordinates K_ab with a <= b. With F the infinite-width map, J and H its
derivatives, and the layer that is summed over of width n = f N (f = 1 unless told otherwise),

    K' = F(K),   V' = S / f + J V J^T,   G1' = J G1 + H : (V + kappa M / (3 f_-)) / 2,   V = G1 = 0 at the first layer,
    S[ab, cd] = sigma_w^4 (<phi_a phi_b phi_c phi_d> - <phi_a phi_b> <phi_c phi_d>):

Yaida 1910.00019, Roberts, Yaida and Hanin 2106.10165 chapter 4. kappa is the excess kurtosis of the weights into the
layer and M[ab, cd] = sigma_w^4 <phi_a phi_b phi_c phi_d> of the layer before it, of width n = f_- N: the preactivations
have the fourth cumulant kappa M / n, and E phi phi moves by its fourth derivative over 4! (a Gram-Charlier series),
which is H contracted with kappa M / 3 over 2. V does not see kappa at this order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nnqft.core.gaussian import factor_kernel
from nnqft.core.packing import multisets, pack, rank
from nnqft.nets.activations import Activation
from nnqft.nets.influence import sum_over_pairings
from nnqft.nets.kernels import MapDerivatives, checked_depth, kernel_map, map_derivatives
from nnqft.nets.onelayer import closed_moments, unit_moments

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """One layer of the chain: from the kernel K of its preactivations to that of the next.

    following (n, n): F(K). source (P, P): S. quartic (P, P): M. jacobian (P, P): J, None where the step before has
    no fluctuations. derivatives: of F, None where H is not known.
    """

    following: Array
    source: Array
    quartic: Array
    jacobian: Array | None = None
    derivatives: MapDerivatives | None = None


StepRule = Callable[[Activation, Array, float, float, bool], Step]
"""(activation, kernel, sigma_w, sigma_b, whether the kernel fluctuates) -> the layer's step."""


@dataclass(frozen=True)
class FiniteWidth:
    """The chain of kernels, first layer to output: K (depth + 1, P), V (depth + 1, P, P), G1 (depth + 1, P), packed.

    Row l is the kernel of the (l + 1)-th preactivations; the last row that of the output. G1 is NaN where it is not
    known.
    """

    K: Array
    V: Array
    G1: Array

    def output_kernel(self, widths: Array) -> Array:
        """G2 = K + G1 / N of the output, shape (n_widths, P), for widths (n_widths, 1)."""
        return self.K[-1] + self.G1[-1] / widths

    def output_quartic(self) -> Array:
        """N G4c of the output: the sum of V over the 3 pairings, packed over four legs."""
        n = (int(np.sqrt(8 * self.K.shape[1] + 1)) - 1) // 2
        return sum_over_pairings(self.V[-1], n)


@dataclass(frozen=True)
class Chain:
    """All layers at infinite width: what the 1/N corrections of any widths are made of."""

    first: Array
    """K^(1), (n, n)."""
    steps: tuple[Step, ...]

    def finite_width(self, fractions: Sequence[float] | None = None, kappa: float = 0.0) -> FiniteWidth:
        """K, V and G1 of every layer; fractions: f of every hidden layer, kappa: of the weights between them."""
        widths = fractions or [1.0] * len(self.steps)
        pairs = len(multisets(len(self.first), 2))
        K, V, G1 = [self.first], [np.zeros((pairs, pairs))], [np.zeros(pairs)]
        for layer, (step, fraction) in enumerate(zip(self.steps, widths, strict=True)):
            variance, shift = step.source / fraction, np.zeros(pairs)
            if layer > 0:
                assert step.jacobian is not None
                variance = variance + step.jacobian @ V[-1] @ step.jacobian.T
                shift = np.full(pairs, np.nan)
            if layer > 0 and step.jacobian is not None and step.derivatives is not None:
                spread = V[-1] + kappa / 3 * self.steps[layer - 1].quartic / widths[layer - 1]
                shift = step.jacobian @ G1[-1] + step.derivatives.hessian_trace(spread) / 2
            K.append(step.following)
            V.append(variance)
            G1.append(shift)
        return FiniteWidth(pack(np.array(K)), np.array(V), np.array(G1))


def plain_step(activation: Activation, kernel: Array, sigma_w: float, sigma_b: float, fluctuates: bool) -> Step:
    """A layer of a perceptron: kernel (n, n)."""
    following = kernel_map(activation, kernel, sigma_w, sigma_b)
    second = (following - sigma_b**2) / sigma_w**2
    source, quartic = source_and_quartic(activation, kernel, second, sigma_w)
    if not fluctuates:
        return Step(following, source, quartic)
    derivatives = map_derivatives(activation, kernel, sigma_w)
    return Step(following, source, quartic, derivatives.jacobian(), derivatives)


def chain(
    activation: Activation, sigma_w: float, sigma_b: float, kernel: Array, depth: int, rule: StepRule = plain_step
) -> Chain:
    """The steps of `depth` hidden layers from the first-layer kernel (n, n); errors as for :func:`finite_width`."""
    steps: list[Step] = []
    for layer in range(checked_depth(activation, depth)):
        entering = steps[-1].following if steps else kernel
        steps.append(rule(activation, entering, sigma_w, sigma_b, layer > 0))
    return Chain(kernel, tuple(steps))


def finite_width(activation: Activation, sigma_w: float, sigma_b: float, kernel: Array, depth: int) -> FiniteWidth:
    """K, V and G1 of every layer from the first-layer kernel (n, n), all layers of width N.

    Raises ValueError for depth < 1 and for `gauss`, whose kernel's derivatives exist but describe a network of infinite
    variance.
    """
    return chain(activation, sigma_w, sigma_b, kernel, depth).finite_width()


def source_and_quartic(activation: Activation, kernel: Array, second: Array, sigma_w: float) -> tuple[Array, Array]:
    """S and M, (P, P) each, at K = kernel (n, n); second (n, n) = <phi phi>_K."""
    n = len(kernel)
    pairs = multisets(n, 2)
    legs = np.concatenate(np.broadcast_arrays(pairs[:, None, :], pairs[None, :, :]), axis=-1)
    average = pack(second)
    quartic = sigma_w**4 * fourth_moments(activation, kernel)[rank(legs, n)]
    return quartic - sigma_w**4 * np.outer(average, average), quartic


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
