"""What the measurement of deep perceptrons is told beforehand: infinite-width kernels, when layers are stationary.

Nothing here changes what is measured: the centre and the rates keep digits, the tables lower the noise, and burn and
window only have to be long enough.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.core.packing import pack
from nnqft.criticality.averages import Array, hermite, length_averages, line_averages, piecewise_linear, resolved
from nnqft.criticality.fixed_points import MeanField, depth_scale, mean_field
from nnqft.nets.activations import Activation
from nnqft.nets.kernels import kernel_map

TERMS = 32
"""Terms of the Chebyshev series."""
REACH = 8.0
"""The series hold for q from q* / REACH to q* REACH; where a network leaves it, its factors stand for themselves."""
SETTLED = 1e-3
"""Relative distance from the fixed point below which a layer is stationary."""
SHORTEST, LONGEST = 4, 32
"""Windows."""


class Tables(NamedTuple):
    """coefficients (3, TERMS): Chebyshev series in ln q of chi_par / C_W, X / C_W, X' / C_W; span (2,): of ln q.

    rate (3,): infinite-width |chi_par|, chi_perp, chi_c, by which products of factors are divided; 1 where unknown.
    """

    coefficients: Any
    span: Any
    rate: Any


@dataclass(frozen=True)
class Reference:
    """centre (depth + 1, P): K of every layer at infinite width. burn, window (3,): of the rates par, perp, pair.

    See :func:`prepared`.
    """

    centre: Array
    burn: NDArray[np.int64]
    window: NDArray[np.int64]
    tables: Tables
    mean_field: MeanField


def prepared(activation: Activation | str, depth: int, sigma_w: float, sigma_b: float, kernel: ArrayLike) -> Reference:
    """From the first-layer kernel (points, points) or a number.

    burn: the layers that lengths (for `pair` lengths and correlations) need to come within SETTLED of the fixed point,
    and 3 xi_q more, at least 3, in which fluctuations build up and differences fall by another e^-3; for `pair` 3 xi_c,
    at most half the depth. window: 5 xi, between 4 and 32, xi the mixing time of the chain: what a product of factors
    remembers of where it started falls as chi_par^w (perp: as max(chi_par, chi_par^2 / chi_perp)^w, pair: as chi_c^w),
    while its variance grows with w / n. Without a stable fixed point burn is 3 and window 8: rates are then of the
    layers at hand.

    Raises ValueError as `mean_field` does.
    """
    phi = resolved(activation)
    first = np.atleast_2d(np.asarray(kernel, dtype=np.float64))
    K = [first]
    for _ in range(depth):
        K.append(kernel_map(phi, K[-1], sigma_w, sigma_b))
    layers, at = np.array(K), mean_field(phi, sigma_w, sigma_b)
    found = np.array([float(at.chi_par), float(at.chi_perp), float(at.chi_c)])
    rate = np.where(np.isfinite(found) & (found != 0), np.abs(found), 1.0)
    burn, window = _schedule(layers, at)
    return Reference(pack(layers), burn, window, Tables(*tables(phi, float(at.q_star)), rate), at)


def tables(phi: Activation, q_star: float) -> tuple[Array, Array]:
    """Coefficients and span around q_star (around 1 where there is none): right to 1e-10 for the built-in ones."""
    if piecewise_linear(phi):
        _, slope, derivative = length_averages(phi, np.ones(1))
        coefficients = np.zeros((3, TERMS))
        coefficients[0, 0], coefficients[1, 0] = derivative[0], slope[0]
        return coefficients, np.array([-600.0, 600.0])
    centre = np.log(q_star) if np.isfinite(q_star) and q_star > 0 else 0.0
    span = centre + np.array([-1.0, 1.0]) * np.log(REACH)
    nodes = np.cos(np.pi * (np.arange(TERMS) + 0.5) / TERMS)
    q = np.exp(centre + np.log(REACH) * nodes)
    _, slope, derivative = length_averages(phi, q)

    def integrand(z: Array, values: list[Array]) -> list[Array]:
        return [values[1] ** 2 * hermite(2, z)]

    change = line_averages(phi, q, integrand, 1)[0] / (2 * q)
    at_nodes = np.stack([derivative, slope, change])
    modes = np.cos(np.arange(TERMS)[:, None] * np.arccos(nodes))
    coefficients = 2 / TERMS * at_nodes @ modes.T
    coefficients[:, 0] /= 2
    return coefficients, span


def _schedule(layers: Array, at: MeanField) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Burn and window (3,) of par, perp, pair, from kernels (depth + 1, points, points)."""
    q, chi, X, depth = float(at.q_star), float(at.chi_par), float(at.chi_perp), len(layers) - 1
    burn, window = np.full(3, 3), np.full(3, 8)
    if not (np.isfinite(q) and q > 0 and abs(chi) < 1 - 1e-6):
        return burn, window
    mixing = [depth_scale(np.array(rate)) for rate in (abs(chi), max(abs(chi), chi**2 / X), float(at.chi_c))]
    window[:] = [_layers(5 * float(scale), SHORTEST, LONGEST) for scale in mixing]
    lengths = np.abs(np.diagonal(layers, axis1=1, axis2=2) / q - 1).max(axis=1)
    settled = _first_below(lengths)
    burn[:] = settled + _layers(3 * float(at.xi_q), 3, 10 * depth)
    if layers.shape[1] > 1 and float(at.c_star) < 1:
        c = layers[:, 0, 1] / np.sqrt(layers[:, 0, 0] * layers[:, 1, 1])
        wanted = max(settled, _first_below(np.abs(c - float(at.c_star)))) + _layers(3 * float(at.xi_c), 3, 10 * depth)
        burn[2] = max(burn[0], min(wanted, depth // 2))
    return burn, window


def _first_below(distance: Array) -> int:
    """Layers after which the distance stays below SETTLED; all of them if it never does."""
    above = np.flatnonzero(distance > SETTLED)
    return int(above[-1]) + 1 if above.size else 0


def _layers(scale: float, least: int, most: int) -> int:
    return int(np.clip(np.ceil(scale), least, most)) if np.isfinite(scale) else most
