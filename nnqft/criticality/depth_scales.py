"""Depth scales at order 1/n: eigenvalues of the exact chain of empirical kernels in the ordered phase (c* = 1).

The layer-to-layer operator of the chain is linear in expectations. To order 1/n its leading eigenvalues in the two
channels, what multiplies E delta K^_aa and E |z_a - z_b|^2 of a small perturbation in each layer, are

    lambda_par  = chi + (1/n) { F'' / (2 chi (1 - chi)) [S' + 3 chi F'' S / (1 - chi^2)] + F''' S / (2 (1 - chi^2)) },
    lambda_perp = X + (1/n) { X' M_1 + X'' M_2 / 2 + 2 X' R },
    M_2 = S / (1 - chi^2),
    M_1 = [(X' chi + F'' X / 2) M_2 + C_W^2 (<phi^2 phi'^2> - <phi^2> <phi'^2>)] / (X (1 - chi)),
    R = C_W^2 <phi^2 phi'^2> / (X - chi^2),

all at the infinite-width q*, chi = chi_par, X = chi_perp, primes d/dq; S = C_W^2 Var phi^2. R comes from the
covariance of a preactivation with the perturbation, of which lambda_perp describes the square: it needs X > chi^2.
Perturbation theory in the moments of K^ - q*, checked by simulating the chain (tests/criticality); 2109.13247 has the
same question for recurrent networks.

These are annealed: of expectations over networks. Typical exponents are smaller by half the asymptotic variance of the
logarithm per layer, for linear networks in all by -psi(n/2) - ln(2/n) = 1/n + ... (:func:`linear_exponents`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import digamma

from nnqft.criticality.averages import Array, hermite, line_averages, resolved
from nnqft.criticality.fixed_points import depth_scale, mean_field
from nnqft.criticality.layers import line_moments
from nnqft.nets.activations import Activation

CHAOTIC = "c* < 1: only the ordered phase is known"
CROSSED = "chi_perp <= chi_par^2: not a leading eigenvalue"
MARGINAL = "chi_par = 1: fluctuations grow with depth"


@dataclass(frozen=True)
class Corrected:
    """Coefficients of 1/n, of the shape of (sigma_w, sigma_b) broadcast, and what they correct.

    d_par, d_perp: of lambda_par and lambda_perp; d_q: of the stationary E K^_aa. NaN with the reason in status.
    """

    q_star: Any
    chi_par: Any
    chi_perp: Any
    d_par: Any
    d_perp: Any
    d_q: Any
    status: Any

    def lambda_par(self, width: ArrayLike) -> Array:
        """chi_par + d_par / n."""
        return self.chi_par + self.d_par / np.asarray(width)

    def lambda_perp(self, width: ArrayLike) -> Array:
        """chi_perp + d_perp / n."""
        return self.chi_perp + self.d_perp / np.asarray(width)

    def xi_q(self, width: ArrayLike) -> Array:
        """-1 / ln |lambda_par|, annealed; NaN where lambda_par > 1."""
        return depth_scale(np.abs(self.lambda_par(width)))

    def xi_c(self, width: ArrayLike) -> Array:
        """-1 / ln lambda_perp, annealed; NaN where lambda_perp > 1, which is where order ends at width n."""
        return depth_scale(self.lambda_perp(width))


def corrected(activation: Activation | str, sigma_w: ArrayLike, sigma_b: ArrayLike) -> Corrected:
    """Corrections at order 1/n at arrays of (sigma_w, sigma_b); zero at q* = 0, where networks are linear.

    The derivatives in q lose digits as 1 / q*^2: six are left at q* = 1e-5.
    """
    phi = resolved(activation)
    w, b = np.broadcast_arrays(np.asarray(sigma_w, dtype=np.float64), np.asarray(sigma_b, dtype=np.float64))
    at = mean_field(phi, w, b)
    q, X, chi = np.asarray(at.q_star), np.asarray(at.chi_perp), np.asarray(at.chi_par)
    positive = np.where(q > 0, q, np.nan)
    m = line_moments(phi, positive, w, b)
    slope, curvature, mixed, product = _perpendicular(phi, positive, w)
    with np.errstate(divide="ignore", invalid="ignore"):
        M_2 = m.S / (1 - chi**2)
        d_q = m.curvature * M_2 / (2 * (1 - chi))
        d_par = m.curvature / (2 * chi * (1 - chi)) * (m.S_slope + 3 * chi * m.curvature * M_2) + m.third * M_2 / 2
        M_1 = ((slope * chi + m.curvature * X / 2) * M_2 + mixed) / (X * (1 - chi))
        d_perp = slope * M_1 + curvature * M_2 / 2 + 2 * slope * product / (X - chi**2)
    found = [np.where(q == 0, 0.0, part) for part in (d_par, d_perp, d_q)]
    status = np.where(q > 0, "", np.asarray(at.status)).astype(object)
    status[np.abs(chi - 1) <= 1e-10] = MARGINAL
    status[(status == "") & ~(np.asarray(at.c_star) == 1)] = CHAOTIC
    for part in found:
        part[status == MARGINAL] = np.nan
    found[1][status == CHAOTIC] = np.nan
    crossed = (status == "") & (chi**2 >= X)
    status[crossed], found[1][crossed] = CROSSED, np.nan
    return Corrected(*(part[()] for part in (q, chi, X, *found, status)))


def linear_exponents(width: ArrayLike, sigma_w: ArrayLike) -> tuple[Array, Array]:
    """Rates ln E K^ and E ln K^ per layer of a linear network without biases: annealed and typical, exact at any width.

    K^ is multiplied by C_W chi^2_n / n in each layer, so these are ln C_W and ln C_W + psi(n/2) + ln(2/n).
    """
    n, w = np.broadcast_arrays(np.asarray(width, dtype=np.float64), np.asarray(sigma_w, dtype=np.float64))
    return 2 * np.log(w), 2 * np.log(w) + digamma(n / 2) + np.log(2 / n)


def _perpendicular(phi: Activation, q: Array, w: Array) -> tuple[Array, Array, Array, Array]:
    """X', X'', C_W^2 Cov(phi^2, phi'^2) and C_W^2 <phi^2 phi'^2> at q."""

    def integrand(z: Array, f: list[Array]) -> list[Array]:
        square, slope = f[0] ** 2, f[1] ** 2
        return [square, slope, slope * hermite(2, z), slope * hermite(4, z), square * slope]

    square, mean, first, second, product = line_averages(phi, q, integrand, 1)
    C_W = w**2
    covariance = C_W**2 * (product - square * mean)
    return C_W * first / (2 * q), C_W * second / (2 * q) ** 2, covariance, C_W**2 * product
