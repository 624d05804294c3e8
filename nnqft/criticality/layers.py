"""Kernels of perceptrons layer by layer at leading order in 1/n: mean, covariance, shift and third cumulant.

Given the empirical kernel K^ of one layer the neurons of the next are iid Gaussian, so K^ is a Markov chain in the
layer. With E K^ = K + G1 / n, Cov K^ = V / n and, on the diagonal, E (K^ - E K^)^3 = U / n^2,

    V' = S + J V J^T,    G1' = J G1 + H : V / 2,    U' = C_W^3 kappa_3(phi^2) + 3 chi S' V + chi^3 U + 3 chi^2 F'' V^2,

all zero at the first layer; S = C_W^2 Cov(phi phi, phi phi), chi = F', for one input. V and G1 are the recursion of
nnqft.nets.deep (Yaida 1910.00019; Roberts, Yaida and Hanin 2106.10165 sections 4.3 and 5.4); U is the next cumulant of
the same chain: kappa_3 of the sum over neurons, the change of their variance with K^, and F'' from the mean.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from nnqft.core.packing import Indices, multisets
from nnqft.criticality.averages import Array, hermite, line_averages, piecewise_linear, resolved
from nnqft.criticality.boundaries import universality
from nnqft.criticality.fixed_points import mean_field
from nnqft.nets.activations import Activation
from nnqft.nets.deep import Step, chain, plain_step
from nnqft.nets.kernels import MapDerivatives


@dataclass(frozen=True)
class Layers:
    """The chain of kernels; row l holds the preactivations of layer l + 1, the last row the output.

    K (depth + 1, P), V (depth + 1, P, P) and G1 (depth + 1, P) are packed over pairs of inputs a <= b in the order of
    nnqft.core.packing. U (depth + 1, inputs) is the third cumulant of every K^_aa. layer (depth + 1,) counts from 1.
    """

    K: Array
    V: Array
    G1: Array
    U: Array
    layer: Indices


@dataclass(frozen=True)
class LineMoments:
    """Moments of one layer of one input at variance q, units of C_W left in: every array has q's shape.

    F = C_b + C_W <phi^2>; chi, curvature, third: F', F'', F'''; S = C_W^2 Var phi^2 and its derivative in q;
    skewness: C_W^3 kappa_3(phi^2).
    """

    F: Array
    chi: Array
    curvature: Array
    third: Array
    S: Array
    S_slope: Array
    skewness: Array


def finite_width(activation: Activation | str, sigma_w: float, sigma_b: float, kernel: ArrayLike, depth: int) -> Layers:
    """K, V, G1 and U of every layer from the first-layer kernel (inputs, inputs), or a number; all layers of width n.

    depth counts hidden layers, so that there are depth + 1 layers of preactivations, the output's included.
    Raises ValueError for depth < 1, for kernels that are no covariance, for `gauss`.
    """
    phi, first = resolved(activation), np.atleast_2d(np.asarray(kernel, dtype=np.float64))
    if first.shape != (len(first), len(first)) or not np.allclose(first, first.T, rtol=1e-12, atol=0):
        raise ValueError(f"kernel must be a symmetric matrix or a number, got shape {np.shape(kernel)}")
    if np.linalg.eigvalsh(first)[0] < -1e-12 * np.trace(first):
        raise ValueError("kernel must be positive semidefinite")
    single = len(first) == 1 and (piecewise_linear(phi) or phi.kind == "smooth")
    found = chain(phi, sigma_w, sigma_b, first, depth, single_step if single else plain_step).finite_width()
    pairs = multisets(len(first), 2)
    diagonal = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    U = third_cumulants(phi, sigma_w, found.K[:, diagonal], found.V[:, diagonal, diagonal])
    return Layers(found.K, found.V, found.G1, U, np.arange(1, len(found.K) + 1))


def third_cumulants(activation: Activation, sigma_w: float, K: Array, V: Array) -> Array:
    """U from K and V of every layer, each (layers, inputs)."""
    at = line_moments(activation, K, sigma_w, 0.0)
    U = np.zeros_like(K)
    for layer in range(len(K) - 1):
        source, slope, chi, curvature = (part[layer] for part in (at.skewness, at.S_slope, at.chi, at.curvature))
        mixed = 3 * chi * slope * V[layer] + 3 * chi**2 * curvature * V[layer] ** 2
        U[layer + 1] = source + mixed + chi**3 * U[layer]
    return U


def line_moments(activation: Activation, q: ArrayLike, sigma_w: ArrayLike, sigma_b: ArrayLike) -> LineMoments:
    """The moments at variances q > 0; sigma_w, sigma_b broadcast against q."""
    variance, C_W = np.asarray(q, dtype=np.float64), np.asarray(sigma_w, dtype=np.float64) ** 2

    def integrand(z: Array, phi: list[Array]) -> list[Array]:
        square = phi[0] ** 2
        second, fourth, sixth = (hermite(k, z) for k in (2, 4, 6))
        return [square, square * second, square * fourth, square * sixth, square**2, square**2 * second, square**3]

    m2, d1, d2, d3, m4, d4, m6 = line_averages(activation, variance, integrand)
    with np.errstate(divide="ignore", invalid="ignore"):
        d1, d2, d3, d4 = d1 / (2 * variance), d2 / (2 * variance) ** 2, d3 / (2 * variance) ** 3, d4 / (2 * variance)
    if piecewise_linear(activation):
        d2, d3 = np.zeros_like(d2), np.zeros_like(d3)
    return LineMoments(
        F=np.asarray(sigma_b) ** 2 + C_W * m2,
        chi=C_W * d1,
        curvature=C_W * d2,
        third=C_W * d3,
        S=C_W**2 * (m4 - m2**2),
        S_slope=C_W**2 * (d4 - 2 * m2 * d1),
        skewness=C_W**3 * (m6 - 3 * m4 * m2 + 2 * m2**3),
    )


def single_step(activation: Activation, kernel: Array, sigma_w: float, sigma_b: float, fluctuates: bool) -> Step:
    """nnqft.nets.deep.plain_step for one input, kernel (1, 1), by averages in one dimension: for deep chains."""
    at = line_moments(activation, kernel[0, 0], sigma_w, sigma_b)
    first, second = np.zeros((1, 3)), np.zeros((1, 3, 3))
    first[0, 0], second[0, 0, 0] = at.chi, at.curvature
    derivatives = MapDerivatives(np.zeros((1, 3), dtype=np.int64), first, second)
    quartic = at.S + (at.F - sigma_b**2) ** 2
    step = Step(np.full((1, 1), at.F), np.full((1, 1), at.S), np.full((1, 1), quartic))
    return Step(step.following, step.source, step.quartic, derivatives.jacobian(), derivatives) if fluctuates else step


@dataclass(frozen=True)
class Stationary:
    """Fluctuations of K^_aa in deep layers, at q*: V = S / (1 - chi^2), G1 = F'' V / (2 (1 - chi)), and U.

    NaN without a fixed point, and where chi = 1: they grow with depth there (:func:`depth_slopes`).
    """

    q_star: Array
    V: Array
    G1: Array
    U: Array


def stationary(activation: Activation | str, sigma_w: ArrayLike, sigma_b: ArrayLike) -> Stationary:
    """The fixed point of the recursions for V, G1 and U of one input, at arrays of (sigma_w, sigma_b)."""
    phi = resolved(activation)
    q = np.asarray(mean_field(phi, sigma_w, sigma_b).q_star)
    at = line_moments(phi, np.where(q > 0, q, np.nan), sigma_w, sigma_b)
    chi = np.where(np.abs(at.chi) < 1 - 1e-10, at.chi, np.nan)
    V = at.S / (1 - chi**2)
    U = (at.skewness + 3 * chi * at.S_slope * V + 3 * chi**2 * at.curvature * V**2) / (1 - chi**3)
    shift = at.curvature * V / (2 * (1 - chi))
    zero = (q == 0) & (np.asarray(sigma_w) > 0)
    V, shift, U = (np.where(zero, 0.0, part) for part in (V, shift, U))
    return Stationary(q, V, shift, U)


@dataclass(frozen=True)
class DepthSlopes:
    """Leading growth with the layer l at criticality: V / K^2 -> v l, G1 / K -> g l^power, U / K^3 -> u l^2."""

    v: float
    g: float
    power: int
    u: float


def depth_slopes(activation: Activation | str) -> DepthSlopes:
    """The slopes at criticality, from the class of the activation.

    K*=0 (2106.10165 section 5.4): V' = 2 K^2 + (1 + 4 a_1 K) V with K = 1 / (-a_1 l) gives v = 2/3, whatever a_1; the
    same balance gives g = -1/3 and u = 16/15. At fixed K* with chi = 1: v = S / K*^2, u = 3 S' v / (2 K*), which is
    3 v^2 where F'' = 0 and S is proportional to K^2, and g = F'' v K* / 4 with power 2 (0 and 1 where F'' = 0). With
    F'' != 0 (half-stable) U grows as l^3, and u is NaN.
    Raises ValueError for activations that cannot be critical.
    """
    phi = resolved(activation)
    at = universality(phi)
    if at.kind == "none":
        raise ValueError(f"{phi.name} is critical nowhere")
    if at.kind == "K*=0":
        return DepthSlopes(2 / 3, -1 / 3, 1, 16 / 15)
    K = 1.0 if at.kind == "scale-invariant" else at.q_star
    moments = line_moments(phi, K, at.sigma_w, at.sigma_b)
    v = float(moments.S) / K**2
    if at.kind == "scale-invariant":
        return DepthSlopes(v, 0.0, 1, 1.5 * float(moments.S_slope) * v / K)
    return DepthSlopes(v, float(moments.curvature) * v * K / 4, 2, np.nan)
