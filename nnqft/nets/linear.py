"""Deep linear networks: exact at every width and depth, to all orders in 1/N.

z^(l+1) = b + W z^(l) with Gaussian W and b. A sum over neurons with fixed coefficients a is distributed like |a| times
one neuron, so given the lengths of the rows of weights from the output downwards f is Gaussian, of covariance

    A + B K^(1)_ab,    (A, B) <- (C_b + chi A, chi B) layer by layer from (0, 1),    chi = (C_W / n) sum_{i<=n} w_i^2,

with independent chi: C_W times chi-squared_n / n for Gaussian weights w. Cumulants of f follow from those of (A, B),

    kappa_2k(f) = sum over pairings of kappa_k(A + B K_1, ..., A + B K_k),

K_1 ... K_k the pairs' K^(1). For C_b = 0 this is kappa_k(B) times the sum over pairings: E Khat^p / K^p = prod_layers
prod_{j<p} (1 + 2j/n) and G4c = [prod_layers (1 + 2/n) - 1] (K_ab K_cd + K_ac K_bd + K_ad K_bc) (Yaida 1910.00019;
Hanin 2204.01058). The weights of the readout may have any law: only the moments of w^2 enter.
"""

from collections.abc import Iterable
from decimal import Decimal, localcontext
from math import comb, factorial, isfinite
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from nnqft.core.packing import pack, pairing_legs
from nnqft.nets import base
from nnqft.nets.base import Array, Known
from nnqft.nets.kernels import first_kernel
from nnqft.nets.mlp import EXAMPLE, MLP
from nnqft.nets.weightlaws import LawName

Series = dict[tuple[int, int], Decimal]
"""Moments or cumulants E A^i B^j of (A, B) by (i, j)."""

DIGITS = 60
"""Cumulants of order 8 are 1/N^3 of the moments that they are differences of."""


class Options(base.Options):
    """Options of linear networks."""

    layer_widths: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = ()
    """Widths of the hidden layers as multiples of the scan's width (rounded, at least 1); all 1 if left out."""
    readout_law: LawName = "gaussian"
    """Law of the readout's weights."""
    norm: ClassVar[str] = "none"
    hidden_law: ClassVar[str] = "gaussian"
    first_law: ClassVar[str | None] = None


class Linear(MLP):
    """A perceptron with phi(z) = z."""

    name: ClassVar[str] = "linear"
    Options: ClassVar[type[base.Options]] = Options
    fixed_activation: ClassVar[str | None] = "linear"
    samplers: ClassVar[tuple[str, ...]] = ("conditional", "weights")
    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"x": EXAMPLE, "depth": 2, "sigma_w": 0.9, "sigma_b": 0.4, "layer_widths": [1, 0.5]},
    )

    def known(self, x: Array, sigma_w: float, sigma_b: float, widths: Array) -> Known:
        """Exact at all orders; those without a prediction need moments that the readout's weights do not have."""
        top = 1 + sum(isfinite(moment) for moment in self.readout_moments)
        mixture = [
            mixture_cumulants(self.layers(round(float(width))), self.readout_moments, sigma_w**2, sigma_b**2, top)
            for width in widths.ravel()
        ]
        kernel = pack(first_kernel(x, sigma_w, sigma_b))
        values = {2: pack(self.gp_kernel(x, sigma_w, sigma_b)) + 0 * widths}
        for k in range(2, top + 1):
            symmetric = _elementary(kernel[pairing_legs(len(x), 2 * k)])
            coefficients = np.array([[float(c[k - j, j]) for j in range(k + 1)] for c in mixture])
            values[2 * k] = coefficients @ symmetric.sum(axis=2)
        reason = "" if top == 4 else f"{self.readout_law.name} weights of the readout have no such moments"
        return Known(values, dict.fromkeys(values, "exact"), reason)


def mixture_cumulants(
    layers: tuple[int, ...], readout_moments: tuple[float, float, float], C_W: float, C_b: float, top: int
) -> Series:
    """Joint cumulants of (A, B) up to order `top` for hidden layers of n_1, ..., n_L neurons.

    readout_moments: standardised m_4, m_6, m_8 of the readout's weights; those up to order 2 top must be finite.
    """
    with localcontext() as context:
        context.prec = DIGITS
        bias = [Decimal(1), *(Decimal(C_b) ** k for k in range(1, top + 1))]
        laws = [(3.0, 15.0, 105.0)] * (len(layers) - 1) + [readout_moments]
        orders = [(i, k - i) for k in range(top + 1) for i in range(k + 1)]
        moments = {(i, j): Decimal(i == 0) for i, j in orders}
        for n, law in zip(layers, laws, strict=True):
            chi = [Decimal(C_W) ** k * m for k, m in enumerate(_mean_square_moments(n, law, top))]
            moments = {
                (i, j): _sum(comb(i, m) * bias[i - m] * chi[m + j] * moments[m, j] for m in range(i + 1))
                for i, j in orders
            }
        return _logarithm(moments, top)


def _mean_square_moments(n: int, law: tuple[float, float, float], top: int) -> list[Decimal]:
    """E [(1/n) sum_i w_i^2]^k for k = 0 ... top, from the standardised moments of w."""
    single = {(k, 0): Decimal(m) for k, m in enumerate((1.0, 1.0, *law)[: top + 1])}
    cumulants = _logarithm(single, top)
    mean = {key: value * Decimal(n) ** (1 - key[0]) for key, value in cumulants.items()}
    moments = [Decimal(1)]
    for k in range(1, top + 1):
        moments.append(_sum(comb(k - 1, m - 1) * mean[m, 0] * moments[k - m] for m in range(1, k + 1)))
    return moments


def _logarithm(moments: Series, top: int) -> Series:
    """Joint cumulants from joint moments: the coefficients of log sum m_ij s^i t^j / i! j! up to total order `top`."""
    scaled = {(i, j): m / (factorial(i) * factorial(j)) for (i, j), m in moments.items() if i + j > 0}
    power: Series = {(0, 0): Decimal(1)}
    total: Series = dict.fromkeys(scaled, Decimal(0))
    for r in range(1, top + 1):
        power = _product(power, scaled, top)
        for key, value in power.items():
            total[key] += (-1) ** (r + 1) * value / r
    return {(i, j): c * factorial(i) * factorial(j) for (i, j), c in total.items()}


def _product(left: Series, right: Series, top: int) -> Series:
    found: Series = {}
    for (i, j), a in left.items():
        for (k, m), b in right.items():
            if i + j + k + m <= top:
                found[i + k, j + m] = found.get((i + k, j + m), Decimal(0)) + a * b
    return found


def _sum(terms: Iterable[Decimal]) -> Decimal:
    return sum(terms, Decimal(0))


def _elementary(values: Array) -> Array:
    """Elementary symmetric polynomials e_0 ... e_k (k + 1, ...) of the last axis (..., k)."""
    k = values.shape[-1]
    found = np.zeros((k + 1, *values.shape[:-1]))
    found[0] = 1
    for position in range(k):
        found[1:] = found[1:] + values[..., position] * found[:-1]
    return found
