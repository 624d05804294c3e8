"""Stationary correlator and largest Lyapunov exponent of recurrent networks in continuous time, N -> infinity.

    dh = (-gamma h + W phi(h) + b) dt + sqrt(D) dB,
    (gamma^2 - d^2/dtau^2) C = sigma_w^2 <phi phi>_C + sigma_b^2 + D delta(tau),

Sompolinsky, Crisanti and Sommers, PRL 61 (1988) 259; with noise Schuecker, Goedeke and Helias, PRX 8 (2018) 041029.
C(tau) is a particle in the potential V(C) = -gamma^2 C^2 / 2 + sigma_w^2 int <phi phi> dC + sigma_b^2 C, at fixed
C_0 = C(0): it starts with velocity -D / 2 and comes to rest on the top C_inf, so that

    D^2 / 8 = V(C_inf) - V(C_0),    V'(C_inf) = 0,    C'^2 = (C - C_inf)^2 h(C),
    h(C) = 2 int_0^1 (1 - t) [gamma^2 - sigma_w^2 <phi' phi'>] dt at C_inf + t (C - C_inf),

where h, from Taylor's formula, has no cancellation at the top. The distance of two replicas grows as

    lambda = -gamma + sqrt(gamma^2 - E_0),    [-d^2/dtau^2 + gamma^2 - sigma_w^2 <phi' phi'>_C(tau)] psi = E psi

with E_0 the ground state. At D = 0 the first excited state is dC/dtau with E_1 = 0 (translation in time).
Without noise and with stable fixed points (sigma_w^2 <phi'^2> < gamma^2) C is constant, E_0 the bottom of a continuum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.core.errors import InputError
from nnqft.criticality.dmft import checked
from nnqft.criticality.pairs import Pairs, UndefinedError, bracketed_root, fixed_point, pairs
from nnqft.nets.activations import Activation

Array = NDArray[np.float64]

LENGTH = 12.0
"""End of the u axis, tau ~ 2 u / kappa: C - C_inf has fallen by exp(-24), and is exponential beyond."""
BASIS, NODES, INNER = 64, 140, 80
"""Legendre polynomials on the u axis, Gauss nodes there, and nodes of the t integral."""
MARGINAL = 1e-12
"""Instability of fixed points, relative to gamma^2, that counts as rounding."""
SMOOTH = 1e-3
"""Floor, relative to gamma^2, below which h / tanh^2 u is fitted by a polynomial of degree 5: C_0 is so small that h is
nearly a parabola, and so little is left of its terms that division by tanh^2 u would amplify rounding."""
MOST_STRETCHED = 7.0
"""Largest shift u_0: C - C_inf is exponential in u to 1e-6 there."""


@dataclass(frozen=True)
class Particle:
    """The motion of C(tau) in V at given parameters."""

    averages: Pairs
    sigma_w: float
    sigma_b: float
    gamma: float

    def force(self, C: ArrayLike, q: float) -> Array:
        """V'(C) at C_0 = q; convex for C >= 0, as Mehler's coefficients are squares."""
        C = np.asarray(C, dtype=np.float64)
        return self.sigma_w**2 * self.averages.values(q, C, q) + self.sigma_b**2 - self.gamma**2 * C

    def stiffness(self, C: ArrayLike, q: float) -> Array:
        """-V''(C) = gamma^2 - sigma_w^2 <phi' phi'>, the potential of the Schroedinger equation."""
        return self.gamma**2 - self.sigma_w**2 * self.averages.slopes(q, C, q)

    def top(self, q: float) -> float | None:
        """C_inf in [0, q), the first zero of V'; None if there is none. Newton's method, monotone from the left."""
        C = 0.0
        for _ in range(200):
            force, stiffness = float(self.force(C, q)), float(self.stiffness(C, q))
            if stiffness <= 0:
                return None
            step = force / stiffness
            C += step
            if q <= C:
                return None
            if abs(step) <= 1e-15 * q:
                return C
        return C

    def steepness(self, C: ArrayLike, top: float, q: float) -> Array:
        """h(C), shape of C: C'^2 = (C - C_inf)^2 h."""
        t, weights = _legendre(INNER)
        t, weights = (1 + t) / 2, weights / 2
        path = top + t * (np.asarray(C, dtype=np.float64)[..., None] - top)
        return 2 * self.stiffness(path, q) @ (weights * (1 - t))

    def missing(self, q: float, noise: float) -> float:
        """[V(C_inf) - V(C_0) - D^2 / 8] at C_0 = q, h alone without noise; negative where nothing comes to rest."""
        top = self.top(q)
        if top is None:
            return -1.0
        h = float(self.steepness(q, top, q))
        return h if noise == 0 else ((q - top) ** 2 * h - noise**2 / 4) / 2


@dataclass(frozen=True)
class Stationary:
    """A stationary state: variance C_0, plateau C_inf (the Edwards-Anderson order parameter), both float.

    `is_static`: C(tau) is constant, every network at a fixed point of its own.
    """

    particle: Particle
    noise: float
    variance: float
    plateau: float

    @property
    def is_static(self) -> bool:
        """Whether C(tau) is constant."""
        return self.variance == self.plateau

    def correlator(self, tau: ArrayLike) -> Array:
        """C(tau), shape of tau, float64."""
        tau = np.abs(np.asarray(tau, dtype=np.float64))
        if self.is_static:
            return np.full(tau.shape, self.variance)
        series, (_, _, _, covariance) = self._clock, self._grid
        u = np.interp(tau, series(self._nodes), self._nodes)
        for _ in range(30):
            u = np.clip(u - (series(u) - tau) / series.deriv()(u), 0, LENGTH)
        late = np.exp(-np.sqrt(self.floor) * np.maximum(tau - series(LENGTH), 0.0))
        return self.plateau + (covariance(u) - self.plateau) * late

    @property
    def floor(self) -> float:
        """Bottom of the continuum, gamma^2 - sigma_w^2 <phi' phi'> at C_inf."""
        return float(self.particle.stiffness(self.plateau, self.variance))

    @cached_property
    def ground_energy(self) -> float:
        """E_0; the bottom of the continuum for a static state."""
        return self.floor if self.is_static else self._energy(odd=False)

    @cached_property
    def first_energy(self) -> float:
        """E_1 of the lowest odd state: 0 without noise; NaN where it is not bound, or the state is static."""
        if self.is_static:
            return float("nan")
        energy = self._energy(odd=True)
        return energy if energy < self.floor else float("nan")

    @property
    def lyapunov(self) -> float:
        """-gamma + sqrt(gamma^2 - E_0), per unit of time."""
        gamma = self.particle.gamma
        return -gamma + float(np.sqrt(max(gamma**2 - self.ground_energy, 0.0)))

    @property
    def _nodes(self) -> Array:
        return LENGTH * (1 + _legendre(NODES)[0]) / 2

    @cached_property
    def _grid(self) -> tuple[Array, Array, Array, Callable[[Array], Array]]:
        """Weights, m = dtau/du and the potential at the nodes, and C(u) = C_inf + A / cosh^2(u + u_0).

        u_0 is chosen such that m = 2 tanh(u + u_0) / sqrt(h) is smooth: h continued linearly beyond C_0 vanishes at
        u = -u_0, which is 0 without noise.
        """
        q, top, particle = self.variance, self.plateau, self.particle
        gap = q - top
        h0, h1 = particle.steepness(np.array([q, q - 1e-4 * gap]), top, q)
        ratio = 1e-4 * max(h0, 0.0) / max(h1 - h0, 1e-300) if self.noise > 0 else 0.0
        shift = min(np.arccosh(np.sqrt(1 + ratio)), MOST_STRETCHED)

        def covariance(u: Array) -> Array:
            return top + gap * (np.cosh(shift) / np.cosh(u + shift)) ** 2

        u = self._nodes
        C = covariance(u)
        h, fall = particle.steepness(C, top, q), np.tanh(u + shift) ** 2
        if self.noise == 0 and self.floor < SMOOTH * particle.gamma**2:
            x = (C - top) / gap
            ratio, *_ = np.linalg.lstsq(fall[:, None] * np.vander(x, 6), h, rcond=None)
            h = fall * (np.vander(x, 6) @ ratio)
        m = 2 * np.sqrt(fall / np.maximum(h, 1e-16 * particle.gamma**2 * fall))
        return _legendre(NODES)[1] * LENGTH / 2, m, particle.stiffness(C, q), covariance

    @cached_property
    def _clock(self) -> np.polynomial.Legendre:
        """tau(u), a Legendre series."""
        weights, m, *_ = self._grid
        table, _ = _polynomials()
        norms = (2 * np.arange(BASIS) + 1) / LENGTH
        return np.polynomial.Legendre(norms * (table.T @ (weights * m)), [0, LENGTH]).integ(lbnd=0)

    def _energy(self, *, odd: bool) -> float:
        """Lowest even or odd energy: Galerkin in u, psi ~ exp(-k tau), k^2 = floor - E, beyond the end."""
        from scipy.linalg import eigh
        from scipy.optimize import brentq

        weights, m, potential, _ = self._grid
        table, slopes = _polynomials()
        if odd:
            u = self._nodes / LENGTH
            table, slopes = u[:, None] * table, u[:, None] * slopes + table / LENGTH
        kinetic = slopes.T @ ((weights / m)[:, None] * slopes)
        stiffness = kinetic + table.T @ ((weights * m * potential)[:, None] * table)
        mass = table.T @ ((weights * m)[:, None] * table)
        end = np.ones((BASIS, BASIS))

        def energy(k: float) -> float:
            return float(eigh(stiffness + k * end, mass, eigvals_only=True, subset_by_index=[0, 0])[0])

        lowest = energy(0.0)
        if lowest >= self.floor:
            return lowest
        steepest = float(np.sqrt(self.floor - lowest))
        k = brentq(lambda k: energy(k) + k**2 - self.floor, 0.0, 2 * steepest, xtol=1e-11)
        return self.floor - float(k) ** 2  # pyright: ignore[reportArgumentType]


def stationary(
    activation: str | Activation,
    sigma_w: float,
    sigma_b: float = 0.0,
    noise: float = 0.0,
    *,
    gamma: float = 1.0,
    scale: float = 1.0,
) -> Stationary:
    """The stationary state of phi(scale x); `noise` is D.

    Raises:
        InputError: for numbers that no network can have.
        UndefinedError: where no stationary state exists (unbounded activations at large sigma_w), or averages are
            not known.
    """
    checked(1, sigma_w, sigma_b, noise)
    if not (np.isfinite(gamma) and gamma > 0):
        raise InputError("gamma", f"must be positive, got {gamma}", "use a positive leak")
    particle = Particle(pairs(activation, scale), sigma_w, sigma_b, gamma)
    if noise == 0:
        q = fixed_point(particle.averages, sigma_w / gamma, sigma_b / gamma, 0.0)
        if q == 0 and particle.averages.activation.kind == "homogeneous":
            raise UndefinedError(f"{particle.averages.activation.name} without bias and noise: the state dies out")
        if particle.stiffness(q, q) >= -MARGINAL * gamma**2:
            return Stationary(particle, 0.0, q, q)
    else:
        q = noise / (2 * gamma)
        if _grows(particle):
            raise UndefinedError(f"no stationary state of {particle.averages.activation.name} at sigma_w = {sigma_w:g}")
    q = bracketed_root(lambda q: -particle.missing(q, noise), q)
    top = particle.top(q)
    if q == 0 or top is None:
        raise UndefinedError("no stationary state found")
    return Stationary(particle, noise, q, top)


def _grows(particle: Particle) -> bool:
    """Whether the linear network has no stationary state."""
    return (
        particle.averages.activation.name == "linear" and particle.sigma_w * particle.averages.scale >= particle.gamma
    )


@lru_cache(maxsize=8)
def _legendre(nodes: int) -> tuple[Array, Array]:
    x, weights = np.polynomial.legendre.leggauss(nodes)
    return np.asarray(x, dtype=np.float64), np.asarray(weights, dtype=np.float64)


@lru_cache(maxsize=1)
def _polynomials() -> tuple[Array, Array]:
    """P_k and dP_k/du at the nodes of the u axis, shape (NODES, BASIS) each; P_k = 1 at its end."""
    x = _legendre(NODES)[0]
    table = np.asarray(np.polynomial.legendre.legvander(x, BASIS - 1), dtype=np.float64)
    slopes = [np.polynomial.legendre.Legendre.basis(k).deriv()(x) * 2 / LENGTH for k in range(BASIS)]
    return table, np.array(slopes, dtype=np.float64).T
