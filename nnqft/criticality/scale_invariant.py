"""Scale-invariant networks without biases to all orders in 1/n: linear, relu, leaky relu.

Given the layer below, K^ = K^_- (C_W / n) sum_i phi(g_i)^2 with independent standard normal g_i, so the moments of one
input are products over layers of the moments of a mean of n iid variables x = phi(g)^2 / <phi^2>: rational numbers for
rational slopes. For linear networks: E K^^p = (C_W^m K)^p prod_layers prod_{k<p} (1 + 2k/n), and for several inputs K^
is a product of Wishart matrices (Hanin 2204.01058; Yaida 1910.00019; cumulants of the output: nnqft.nets.linear).
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.core.packing import multisets
from nnqft.criticality.averages import piecewise_linear, resolved, slopes
from nnqft.nets.activations import Activation

Array = NDArray[np.float64]


def unit_moments(activation: Activation | str, top: int) -> list[Fraction]:
    """E x^p for p = 0 ... top of x = phi(g)^2 / <phi^2>: (2p - 1)!! (a^2p + b^2p) / 2 over ((a^2 + b^2) / 2)^p.

    ValueError for activations that are not scale invariant.
    """
    phi = resolved(activation)
    if not piecewise_linear(phi):
        raise ValueError(f"{phi.name} is not scale invariant")
    a, b = (Fraction(slope).limit_denominator(10**6) ** 2 for slope in slopes(phi))
    mean, double, found = (a + b) / 2, 1, [Fraction(1)]
    for p in range(1, top + 1):
        double *= 2 * p - 1
        found.append(double * (a**p + b**p) / 2 / mean**p)
    return found


def layer_moments(activation: Activation | str, width: int, top: int) -> list[Fraction]:
    """E [(1/n) sum_i x_i]^p, p = 0 ... top: relu 1, 1, 1 + 5/n, 1 + 15/n + 44/n^2; linear prod_{k<p} (1 + 2k/n).

    From cumulants: those of the mean are n^(1 - p) those of x.
    """
    single = unit_moments(activation, top)
    cumulants = [Fraction(0)] * (top + 1)
    for p in range(1, top + 1):
        cumulants[p] = single[p] - sum(comb(p - 1, k - 1) * cumulants[k] * single[p - k] for k in range(1, p))
    found = [Fraction(1)]
    for p in range(1, top + 1):
        parts = (comb(p - 1, k - 1) * cumulants[k] / Fraction(width) ** (k - 1) * found[p - k] for k in range(1, p + 1))
        found.append(sum(parts, Fraction(0)))
    return found


def kernel_moments(activation: Activation | str, widths: Sequence[int], top: int) -> Array:
    """E K^^p / (E K^)^p for p = 0 ... top after hidden layers of these widths, one input, no bias; float64."""
    total = np.ones(top + 1)
    for width, count in Counter(int(width) for width in widths).items():
        total *= np.array([float(value) for value in layer_moments(activation, width, top)]) ** count
    return total


def relative_variance(activation: Activation | str, layers: ArrayLike, width: ArrayLike) -> Array:
    """Var K^ / (E K^)^2 = (1 + v/n)^m - 1 after m hidden layers of width n, exact: v = 2 (linear), 5 (relu).

    In the double-scaling limit it is e^{v T/n} - 1, a function of T/n alone (:func:`collapse`); to first order V / K^2
    over n is v T/n.
    """
    v = float(unit_moments(activation, 2)[2]) - 1
    return np.expm1(np.asarray(layers) * np.log1p(v / np.asarray(width, dtype=np.float64)))


def collapse(activation: Activation | str, ratio: ArrayLike) -> Array:
    """Var K^ / (E K^)^2 against T/n, T hidden layers, in the double-scaling limit: e^{v T/n} - 1."""
    v = float(unit_moments(activation, 2)[2]) - 1
    return np.expm1(v * np.asarray(ratio, dtype=np.float64))


def lognormal(activation: Activation | str, ratio: float, top: int) -> tuple[float, float, Array]:
    """The limit m, n -> infinity at fixed ratio m/n of K^ / E K^: ln ~ N(-v r / 2, v r), v as above.

    Returns its mean, its variance and E (K^ / E K^)^p = e^{p (p - 1) v r / 2} for p = 0 ... top: heavy tails.
    """
    v = float(unit_moments(activation, 2)[2]) - 1
    p = np.arange(top + 1)
    return -v * ratio / 2, v * ratio, np.exp(p * (p - 1) * v * ratio / 2)


def linear_second_moments(kernel: ArrayLike, layers: int, width: int, sigma_w: float = 1.0) -> Array:
    """E K^_ab K^_cd of a linear network, no bias, packed pairs (P, P), after `layers` hidden layers of width n.

    With A = K_ab K_cd, B = K_ac K_bd, C = K_ad K_bc, m layers:
    C_W^2m [(1 + 2/n)^m (A + B + C) + (1 - 1/n)^m (2A - B - C)] / 3.
    """
    K = np.asarray(kernel, dtype=np.float64)
    a, b = multisets(len(K), 2).T
    direct = np.outer(K[a, b], K[a, b])
    crossed = K[np.ix_(a, a)] * K[np.ix_(b, b)] + K[np.ix_(a, b)] * K[np.ix_(b, a)]
    grown, shrunk = (1 + 2 / width) ** layers, (1 - 1 / width) ** layers
    return sigma_w ** (4 * layers) * (grown * (direct + crossed) + shrunk * (2 * direct - crossed)) / 3


def linear_quartic(kernel: ArrayLike, widths: Sequence[int], sigma_w: float = 1.0) -> Array:
    """G4c of a linear network, no bias, packed over four inputs: C_W^2m [prod_i (1 + 2/n_i) - 1] (A + B + C)."""
    K = np.asarray(kernel, dtype=np.float64)
    a, b, c, d = multisets(len(K), 4).T
    pairings = K[a, b] * K[c, d] + K[a, c] * K[b, d] + K[a, d] * K[b, c]
    return sigma_w ** (4 * len(widths)) * (np.prod([1 + 2 / n for n in widths]) - 1) * pairings
