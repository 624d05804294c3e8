"""Largest Lyapunov exponents of recurrent networks at infinite width, and the criticality of leaky ones.

Two replicas with the same weights, biases and noise separate as exp(lambda t). In discrete time without leak their
equal-time distance obeys a closed equation,

    lambda = ln(chi_1(q*)) / 2,    chi_1(q) = sigma_w^2 <phi'^2>_q,    q* = sigma_w^2 <phi^2>_q* + sigma_b^2 + D

(Poole et al. 1606.05340; with noise Molgedey, Schuchhardt and Schuster, PRL 69 (1992) 3717; Schuecker et al. 2018):
weights tied over time or not. With a leak times do not decouple, see :mod:`nnqft.criticality.leaky`; in continuous
time it is -gamma + sqrt(gamma^2 - E_0), see :mod:`nnqft.criticality.continuous`.

Averages: at N -> infinity ln E delta / 2 (annealed) and E ln delta / 2 (quenched) per unit of time agree. At finite N
they differ at order 1 / N; :mod:`nnqft.criticality.simulate` returns both.
"""

from typing import Literal, NamedTuple

import numpy as np

from nnqft.core.errors import InputError
from nnqft.criticality import leaky
from nnqft.criticality.continuous import stationary
from nnqft.criticality.dmft import checked
from nnqft.criticality.pairs import Pairs, UndefinedError, fixed_point, pairs
from nnqft.nets.activations import Activation

Time = Literal["discrete", "continuous"]


def lyapunov_theory(
    activation: str | Activation,
    sigma_w: float,
    sigma_b: float,
    noise: float,
    time: Time = "discrete",
    *,
    gamma: float = 1.0,
    scale: float = 1.0,
    tied: bool = True,
) -> float:
    """The largest Lyapunov exponent at infinite width of a network with phi(scale x): `exponent`, NaN where undefined.

    noise: D, the variance of the noise per step or unit of time. gamma: the leak (1: none, in discrete time). tied: of
    leaky networks in discrete time; without leak weights may be tied or not, in continuous time they are.
    -inf where every difference dies at once.

    Raises:
        InputError: for names that do not exist and numbers that no network can have.
    """
    try:
        return exponent(activation, sigma_w, sigma_b, noise, time, gamma=gamma, scale=scale, tied=tied)
    except UndefinedError:
        return float("nan")


def exponent(
    activation: str | Activation,
    sigma_w: float,
    sigma_b: float,
    noise: float,
    time: Time = "discrete",
    *,
    gamma: float = 1.0,
    scale: float = 1.0,
    tied: bool = True,
) -> float:
    """As `lyapunov_theory`, but raises UndefinedError with the reason.

    Linear units, and relu in discrete time, have an exponent that does not depend on the variance: it is returned
    also where the variance grows without bound.
    """
    checked(1, sigma_w, sigma_b, noise)
    averages = pairs(activation, scale)
    if time not in ("discrete", "continuous"):
        raise InputError("time", f"no time {time!r}", "use discrete or continuous")
    if time == "continuous":
        if averages.activation.name == "linear" and gamma > 0:
            return sigma_w * scale - gamma
        return stationary(activation, sigma_w, sigma_b, noise, gamma=gamma, scale=scale).lyapunov
    if gamma != 1:
        return leaky.lyapunov(leaky.Law(averages, sigma_w, sigma_b, noise, gamma, tied))
    return discrete_exponent(averages, sigma_w, sigma_b, noise)


def discrete_exponent(averages: Pairs, sigma_w: float, sigma_b: float, noise: float) -> float:
    """ln(chi_1(q*)) / 2; UndefinedError where q grows without bound."""
    if averages.activation.name == "linear" or averages.activation.kind == "homogeneous":
        q = 1.0
    else:
        q = fixed_point(averages, sigma_w, sigma_b, noise)
    chi = sigma_w**2 * averages.slope_square(q)
    return float(np.log(chi)) / 2 if chi > 0 else float("-inf")


class Rates(NamedTuple):
    """Something that differs between networks with tied weights and with fresh ones at every step."""

    tied: float
    layered: float


def leaky_rates(slope: float, sigma_w: float, gamma: float) -> Rates:
    """Growth rates ln |h_(t+1)| / |h_t| of h_(t+1) = (1 - gamma) h_t + sigma_w phi'(0) J h_t at N -> infinity.

    Tied: the spectral radius of the sum, its eigenvalues fill a disc around 1 - gamma, ln(|1 - gamma| + sigma_w
    |phi'(0)|). Layered: norms multiply, ln[(1 - gamma)^2 + sigma_w^2 phi'(0)^2] / 2. They agree for gamma = 1 only.
    slope is phi'(0).
    """
    keep, gain = abs(1 - gamma), sigma_w * abs(slope)
    with np.errstate(divide="ignore"):
        return Rates(float(np.log(keep + gain)), float(np.log(np.hypot(keep, gain))))


def leaky_critical(slope: float, gamma: float) -> Rates:
    """The sigma_w at which these rates vanish, for 0 < gamma < 2: tied (1 - |1 - gamma|) / |phi'(0)|, layered larger.

    Raises:
        InputError: for other leaks, which are unstable by themselves, and a vanishing slope.
    """
    if not 0 < gamma < 2 or slope == 0:
        raise InputError("gamma", f"must be between 0 and 2, got {gamma}, slope {slope}", "change the leak")
    keep = abs(1 - gamma)
    return Rates((1 - keep) / abs(slope), float(np.sqrt(1 - keep**2)) / abs(slope))
