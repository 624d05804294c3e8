"""The stationary state of discrete-time networks at infinite width, with or without leak, and its largest exponent.

With kappa = 1 - gamma and sources X(tau) = sigma_w^2 <phi phi>_C(tau) + sigma_b^2 + D delta_tau0, the two-time theory
(:mod:`nnqft.criticality.dmft`) stands still where

    (1 + kappa^2) C(tau) - kappa [C(tau + 1) + C(tau - 1)] = X(tau).

The tangent correlator k(t, s) along it obeys the same recursion with the source S(tau) k(t, s),
S = sigma_w^2 <phi' phi'>_C(tau). Put k(t, s) = mu^(t + s) psi(t - s):

    kappa mu [psi(tau + 1) + psi(tau - 1)] + [S(tau) - kappa^2] psi(tau) = mu^2 psi(tau),

a Schroedinger equation on the lattice (for small leaks that of Sompolinsky, Crisanti and Sommers, PRL 61 (1988) 259).
k(t, t) grows with the largest mu that has a solution: lambda = ln mu is the Lyapunov exponent. Constant S: mu =
|kappa| + sqrt(S), a fixed point's continuum. No leak: mu^2 = S(0). Layered networks keep S at tau = 0 only:
mu^2 = kappa^2 + S(0), C(tau) = kappa^|tau| q.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnqft.core.errors import InputError
from nnqft.criticality.continuous import Particle, stationary
from nnqft.criticality.dmft import checked, correlator
from nnqft.criticality.pairs import Pairs, UndefinedError, fixed_point

Array = NDArray[np.float64]

MARGINAL = 1e-12
"""Instability of fixed points that counts as rounding."""
SETTLED = 1e-8
"""Change of the exponent on doubling the largest lag at which it is taken."""
FALLEN = 1e-4
"""C - C_inf at the end of a first guess, relative to C_0."""
SLOW = 0.25
"""|kappa| above which continuous time is a guess. (Close to 0 every lag has several solutions of its own.)"""
LONGEST = 16384
"""Lags beyond which no state is sought."""


@dataclass(frozen=True)
class Law:
    """A recurrent network at infinite width; tied weights have a leak 0 < gamma < 2."""

    averages: Pairs
    sigma_w: float
    sigma_b: float
    noise: float
    gamma: float
    tied: bool = True

    @property
    def kappa(self) -> float:
        """What is kept of h in a step."""
        return 1 - self.gamma


def autocorrelation(law: Law, lags: int) -> Array:
    """C(tau) of the stationary state, tau = 0..lags, float64.

    Raises:
        InputError: for numbers that no network can have.
        UndefinedError: where there is no stationary state.
    """
    C = _state(law)
    return C[np.minimum(np.arange(lags + 1), len(C) - 1)] if law.tied else C[0] * law.kappa ** np.arange(lags + 1.0)


def lyapunov(law: Law) -> float:
    """The largest Lyapunov exponent per step; raises as `autocorrelation`.

    Linear units have one that does not depend on the state: it is returned also where the variance grows.
    """
    checked(1, law.sigma_w, law.sigma_b, law.noise)
    if law.averages.activation.name == "linear":
        slope = np.array([law.sigma_w**2 * law.averages.slope_square(1.0)])
        return _growth(law, slope)
    C = _state(law)
    value = _growth(law, _stiffness(law, C))
    while len(C) > 1:
        try:
            C = _longer(law, C)
        except _FailedError:
            raise UndefinedError(f"no stationary state is found at {2 * len(C)} lags") from None
        value, before = _growth(law, _stiffness(law, C)), value
        if abs(value - before) < SETTLED:
            break
        if len(C) > LONGEST:
            raise UndefinedError(f"the exponent has not settled at {len(C)} lags")
    return value


def _state(law: Law) -> Array:
    """C(tau), tau = 0, 1, ...; constant beyond its end (tied; a single number if constant), C(0) alone (layered)."""
    checked(1, law.sigma_w, law.sigma_b, law.noise)
    if not abs(law.kappa) < 1:
        raise InputError("gamma", f"must be between 0 and 2, got {law.gamma}", "change the leak")
    averages, sigma_w, sigma_b, noise = law.averages, law.sigma_w, law.sigma_b, law.noise
    if not law.tied:
        unit = 1 - law.kappa**2
        return np.array([fixed_point(averages, sigma_w / np.sqrt(unit), sigma_b / np.sqrt(unit), noise / unit)])
    if noise == 0:
        q = fixed_point(averages, sigma_w / law.gamma, sigma_b / law.gamma, 0)
        if q == 0 and averages.activation.kind == "homogeneous" and law.kappa != 0:
            raise UndefinedError(f"{averages.activation.name} has no scale: nothing is stationary while h dies out")
        if law.kappa and _growth(law, _stiffness(law, np.array([q]))) <= MARGINAL:
            return np.array([q])
    if law.kappa == 0:
        q = fixed_point(averages, sigma_w, sigma_b, noise)
        plateau = Particle(averages, sigma_w, sigma_b, 1.0).top(q)
        return np.array([q, q if plateau is None else plateau])
    return _found(law)


def _found(law: Law) -> Array:
    """Newton's method from the first guess that it converges from."""
    for guess in _guesses(law):
        try:
            return _solved(law, guess)
        except _FailedError:
            continue
    raise UndefinedError("the two-time theory does not settle")


def _guesses(law: Law) -> Iterator[Array]:
    """C(tau), tau = 0..L, nearly: from continuous time, then from the two-time theory after some time.

    The stationary equation is (gamma^2 - kappa Delta^2) C = X with Delta^2 the second difference: that of continuous
    time with all variances and gamma^2 over kappa where C varies slowly, as it does close to transitions. For
    kappa < 0, odd phi and no bias it holds for (-1)^tau C(tau).
    """
    averages, kappa, steps = law.averages, law.kappa, int(40 + 20 / (1 - abs(law.kappa)))
    mirrored = kappa < 0 and averages.activation.odd and law.sigma_b == 0
    if abs(kappa) > SLOW and (kappa > 0 or mirrored):
        unit, sign = np.sqrt(abs(kappa)), -1.0 if mirrored else 1.0
        numbers = law.sigma_w / unit, law.sigma_b / unit, law.noise / abs(kappa)
        leak = (1 - abs(kappa)) / unit
        with suppress(UndefinedError):
            state = stationary(averages.activation, *numbers, gamma=leak, scale=averages.scale)
            lags = steps
            while (state.correlator(lags) - state.plateau) > FALLEN * state.variance and lags < LONGEST:
                lags *= 2
            tau = np.arange(lags + 1)
            yield state.correlator(tau) * sign**tau
    start = fixed_point(averages, law.sigma_w / law.gamma, law.sigma_b / law.gamma, law.noise)
    for times in (steps, 2 * steps, 4 * steps):
        C = correlator(
            averages.activation,
            times,
            law.sigma_w,
            law.sigma_b,
            law.noise,
            initial=max(start, 1e-3),
            gamma=law.gamma,
            scale=averages.scale,
        )
        if not np.isfinite(C).all():
            return
        yield C[times, times // 2 :][::-1]


def _longer(law: Law, C: Array) -> Array:
    """The same state at twice as many lags."""
    if law.kappa == 0:
        return C
    plateau, ratio = _tail(law, C[0])
    beyond = plateau + (C[-1] - plateau) * ratio ** np.arange(1, len(C))
    return _solved(law, np.append(C, beyond))


class _FailedError(ArithmeticError):
    """Newton's method has not converged."""


def _solved(law: Law, C: Array) -> Array:
    """The stationary equation by Newton's method from C(tau), tau = 0..L; C - C_inf is exponential beyond.

    A reflecting end would admit periodic solutions too.
    """
    from scipy.linalg import solve_banded

    start, kappa, L = C, law.kappa, len(C) - 1
    left, right = np.full(L, kappa), np.full(L, kappa)
    right[0] *= 2
    for _ in range(40):
        plateau, ratio = _tail(law, C[0])
        hops = np.append(right * C[1:], kappa * (plateau + ratio * (C[-1] - plateau))) + np.append(0, left * C[:-1])
        X, h = _source(law, C[0], C), 1e-6 * C[0]
        missing = (1 + kappa**2) * C - hops - X
        own = (_source(law, C[0] + h, C) - X) / h
        slopes = _stiffness(law, C)
        own[0] += slopes[0]
        slopes[0] = 0
        middle = 1 + kappa**2 - slopes
        middle[-1] -= kappa * ratio
        bands = np.stack([np.append(0, -right), middle, np.append(-left, 0)])
        plain, bordered = solve_banded((1, 1), bands, np.stack([missing, own], axis=1)).T
        step = plain + bordered * plain[0] / (1 - bordered[0])
        C = C - step
        C = np.clip(C, -C[0], C[0])
        if not (np.isfinite(C).all() and np.abs(C - start).max() < start[0] / 3):
            break
        if np.abs(step).max() <= 1e-11 * C[0]:
            return C
    raise _FailedError


def _tail(law: Law, q: float) -> tuple[float, float]:
    """C_inf and r in C(tau + 1) - C_inf = r [C(tau) - C_inf]: r + 1 / r = (1 + kappa^2 - S_inf) / kappa, |r| < 1."""
    plateau = Particle(law.averages, law.sigma_w, law.sigma_b, law.gamma).top(q)
    if plateau is None:
        raise _FailedError
    slope = law.sigma_w**2 * float(law.averages.slopes(q, plateau, q))
    half = (1 + law.kappa**2 - slope) / (2 * abs(law.kappa))
    if half < 1:
        raise _FailedError
    return plateau, float(np.sign(law.kappa) / (half + np.sqrt(half**2 - 1)))


def _source(law: Law, q: float, C: Array) -> Array:
    """X(tau) at variance q; the entry of tau = 0 has covariance C(0) as given."""
    X = law.sigma_w**2 * law.averages.values(q, np.clip(C, -q, q), q) + law.sigma_b**2
    X[0] += law.noise
    return X


def _stiffness(law: Law, C: Array) -> Array:
    """S(tau)."""
    return law.sigma_w**2 * law.averages.slopes(C[0], C, C[0])


def _growth(law: Law, S: Array) -> float:
    """Logarithm of the largest mu, with S(L + 1) = S(L - 1)."""
    from scipy.linalg import eigh_tridiagonal
    from scipy.optimize import brentq

    kappa, low, high = abs(law.kappa), np.sqrt(max(S.min(), 0.0)), np.sqrt(S.max())
    with np.errstate(divide="ignore"):
        if not law.tied:
            return float(np.log(kappa**2 + S[0])) / 2
        if kappa == 0 or high - low <= 1e-15 * high:
            return float(np.log(kappa + np.sqrt(S[0])))
    hop = np.ones(len(S) - 1)
    hop[0] *= np.sqrt(2)
    hop[-1] *= np.sqrt(2)

    def excess(mu: float) -> float:
        last = len(S) - 1
        largest = eigh_tridiagonal(
            S - kappa**2, kappa * mu * hop, eigvals_only=True, select="i", select_range=(last, last)
        )
        return float(np.asarray(largest)[0]) - mu**2

    ends = (kappa + low) * (1 - 1e-12), (kappa + high) * (1 + 1e-12)
    return float(np.log(brentq(excess, ends[0], ends[1], xtol=1e-14, rtol=1e-13)))  # pyright: ignore
