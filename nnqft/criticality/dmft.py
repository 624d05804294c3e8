"""Two-time dynamic mean-field theory of recurrent networks in discrete time.

    h_(t+1) = (1 - gamma) h_t + W phi(h_t) + b + sqrt(D) eta_t,    W_ij ~ N(0, sigma_w^2 / N), b_i ~ N(0, sigma_b^2).

Averaging exp(i h~ (h_(t+1) - ...)) over W and b gives the MSRDJ action; its saddle at N -> infinity makes neurons
independent Gaussian processes with C(t, s) = <h_t h_s> driven by x_t, <x_t x_s> = X(t, s) (Sompolinsky, Crisanti and
Sommers, PRL 61 (1988) 259; Helias and Dahmen, arXiv:1901.10416, chapter 10; Grosvenor and Jefferson 2109.13247):

    X(t, s) = sigma_w^2 <phi(h_t) phi(h_s)>_C + sigma_b^2 + D delta_ts,
    C = A X A^T + q_0 (1 - gamma)^(t + s),    A_tk = (1 - gamma)^(t - 1 - k) for k < t, else 0,

which for gamma = 1 is C(t + 1, s + 1) = X(t, s), C(0, s > 0) = 0. A layered network has fresh W and b at every step:
then X(t, s) vanishes for t != s, and without leak so does C. Initial values are iid N(0, q_0).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nnqft.core.errors import InputError
from nnqft.criticality.pairs import Pairs, pairs
from nnqft.nets.activations import Activation

Array = NDArray[np.float64]
Source = Callable[[int, Array], Array]
"""(t, covariance of times up to t) -> X(t, s) for s = 0..t."""


def correlator(
    activation: str | Activation,
    steps: int,
    sigma_w: float,
    sigma_b: float = 0.0,
    noise: float = 0.0,
    *,
    initial: float = 1.0,
    gamma: float = 1.0,
    tied: bool = True,
    scale: float = 1.0,
) -> Array:
    """C(t, s) at infinite width, shape (steps + 1, steps + 1), float64; `initial` is q_0 = C(0, 0), `noise` is D.

    Raises:
        InputError: for numbers that no network can have.
        UndefinedError: for activations whose averages are not known.
    """
    checked(steps, sigma_w, sigma_b, noise, initial)
    averages = pairs(activation, scale)

    def source(t: int, C: Array) -> Array:
        return _drive(averages, C, C, t, tied, sigma_w, sigma_b, noise)

    return propagate(source, initial, steps, gamma)


def replica_correlator(
    activation: str | Activation,
    steps: int,
    sigma_w: float,
    sigma_b: float = 0.0,
    noise: float = 0.0,
    *,
    distance: float,
    initial: float = 1.0,
    gamma: float = 1.0,
    tied: bool = True,
    scale: float = 1.0,
) -> tuple[Array, Array]:
    """C^11(t, s) and C^12(t, s) of two replicas with the same W, b and noise, shape (steps + 1, steps + 1) each.

    Their initial values have variance `initial` and mean squared difference `distance` a neuron; later it is
    2 [C^11(t, t) - C^12(t, t)]. Raises as `correlator`, and InputError for a distance beyond 4 times the variance.
    """
    checked(steps, sigma_w, sigma_b, noise, initial)
    if not 0 <= distance <= 4 * initial:
        raise InputError("distance", f"must be in [0, {4 * initial}], got {distance}", "bring the replicas closer")
    averages = pairs(activation, scale)
    single = correlator(
        activation, steps, sigma_w, sigma_b, noise, initial=initial, gamma=gamma, tied=tied, scale=scale
    )

    def source(t: int, cross: Array) -> Array:
        return _drive(averages, single, cross, t, tied, sigma_w, sigma_b, noise)

    return single, propagate(source, initial - distance / 2, steps, gamma)


def tangent_correlator(
    activation: str | Activation, C: Array, sigma_w: float, *, gamma: float = 1.0, tied: bool = True, scale: float = 1.0
) -> Array:
    """k(t, s) = <v_t v_s> of an infinitesimal difference, k(0, 0) = 1, along the solution C; shape of C.

    The linearised two-replica equation: k = A X A^T + (1 - gamma)^(t + s), X(t, s) = sigma_w^2 <phi'_t phi'_s>_C
    k(t, s); static bias and common noise drop out. At gamma = 1 equal times decouple, k(t + 1, t + 1) = chi_1(C_tt)
    k(t, t).
    """
    averages, variance = pairs(activation, scale), np.diagonal(C)

    def source(t: int, k: Array) -> Array:
        s = _times(t, tied)
        row = np.zeros(t + 1)
        row[s] = sigma_w**2 * averages.slopes(variance[t], C[t, s], variance[s]) * k[t, s]
        return row

    return propagate(source, 1.0, len(C) - 1, gamma)


def propagate(source: Source, start: float, steps: int, gamma: float) -> Array:
    """C = A X A^T + start (1 - gamma)^(t + s), where X(t, s <= t) follows from C at times up to t."""
    keep, times = 1.0 - gamma, np.arange(steps + 1)
    lag = times[:, None] - 1 - times[None, :steps]
    A = np.where(lag >= 0, keep ** np.maximum(lag, 0), 0.0)
    X, C = np.zeros((steps, steps)), np.zeros((steps + 1, steps + 1))
    C[0, 0] = start
    for t in range(steps):
        X[t, : t + 1] = X[: t + 1, t] = source(t, C)
        row = A[t + 1, : t + 1] @ X[: t + 1, : t + 1] @ A[: t + 2, : t + 1].T + start * keep ** (t + 1 + times[: t + 2])
        C[t + 1, : t + 2] = C[: t + 2, t + 1] = row
    return C


def checked(steps: int, sigma_w: float, sigma_b: float, noise: float, initial: float = 1.0) -> None:
    """InputError for numbers that no network can have."""
    for name, value in (("sigma_w", sigma_w), ("sigma_b", sigma_b), ("noise", noise), ("initial", initial)):
        if not (np.isfinite(value) and value >= 0):
            raise InputError(name, f"must not be negative, got {value}", "use zero or more")
    if steps < 1:
        raise InputError("steps", f"must be at least 1, got {steps}", "raise it")


def _times(t: int, tied: bool) -> slice:
    """Earlier times s that the drive at time t is correlated with, t included."""
    return slice(0, t + 1) if tied else slice(t, t + 1)


def _drive(
    averages: Pairs, single: Array, cross: Array, t: int, tied: bool, sigma_w: float, sigma_b: float, noise: float
) -> Array:
    """X(t, s <= t) from variances `single` and covariances `cross`."""
    variance, s = np.diagonal(single), _times(t, tied)
    row = np.zeros(t + 1)
    row[s] = sigma_w**2 * averages.values(variance[t], cross[t, s], variance[s]) + sigma_b**2
    row[t] += noise
    return row
