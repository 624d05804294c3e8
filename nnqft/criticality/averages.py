"""Gaussian averages of one preactivation: <g> = E g(sqrt(q) z), z ~ N(0, 1), for arrays of variances q.

Smooth activations: the trapezoid rule of nnqft.core.gaussian with steps that shrink as 1 / sqrt(1/4 + q), which for
poles as near the real axis as those of tanh leaves about 1e-14. Piecewise linear ones: Gauss-Legendre panels from the
kink outwards. Derivatives in q need no derivatives of g: d^k <g> / dq^k = <g He_2k(z)> / (2 q)^k (Price's theorem and
partial integration), with rounding errors of relative size eps / q^(k - 1) for g that starts as z^2.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.core.gaussian import QuadratureError, trapezoid_rule
from nnqft.nets.activations import Activation
from nnqft.nets.kernels import evaluate
from nnqft.nets.registry import activations

Array = NDArray[np.float64]
Integrand = Callable[[Array, list[Array]], Sequence[Array]]
"""z (m,) and [phi, phi', ...], each (points, m), -> integrands that broadcast to (points, m)."""

RADIUS = 12.5
"""The rules stop here: a weight of 1e-34."""
STEP = 0.4
"""Step of the lattice at q = 0."""
ENTRIES = 1 << 21
"""Numbers in memory at a time."""
AGREEMENT = 1e-11
"""Relative change under a halved step up to which a step is small enough."""
HALVINGS = 3


@lru_cache(maxsize=64)
def resolved(activation: Activation | str) -> Activation:
    """The activation of that name, or itself.

    Raises ValueError for unknown names and for `gauss`, which has infinite variance beyond one layer; QuadratureError
    for `smooth` activations on which the rule does not converge.
    """
    if isinstance(activation, str):
        known = activations()
        if activation not in known:
            raise ValueError(f"no activation {activation!r}: use one of {', '.join(known)}")
        return resolved(known[activation])
    if activation.kind == "lognormal":
        raise ValueError(f"{activation.name}: its variance is infinite beyond one hidden layer")
    resolution(activation)
    return activation


def slopes(activation: Activation) -> tuple[float, float]:
    """phi(z) = a z for z > 0 and b z for z < 0 of a piecewise linear activation, and of `linear`."""
    positive, negative = evaluate(activation, np.array([1.0, -1.0]))
    return float(positive), -float(negative)


def piecewise_linear(activation: Activation) -> bool:
    """Whether phi(c z) = c phi(z) for c > 0: scale invariant."""
    return activation.kind == "homogeneous" or activation.name == "linear"


def line_averages(
    activation: Activation, q: ArrayLike, integrand: Integrand, derivatives: int = 0
) -> tuple[Array, ...]:
    """Averages of the integrands for every variance q >= 0, each of q's shape; phi up to that derivative is handed on.

    phi^(k) is taken at sqrt(q) z. NaN where q is NaN.
    """
    variance = np.asarray(q, dtype=np.float64)
    if variance.size == 0:
        return tuple(
            part[:0].reshape(variance.shape) for part in line_averages(activation, [0.0], integrand, derivatives)
        )
    flat = variance.ravel()
    level = np.where(np.isfinite(flat), np.ceil(np.log2(2 * np.sqrt(0.25 + np.nan_to_num(flat)))), -1).astype(int)
    found: list[Array] = []
    extra = resolution(activation)
    for bucket in np.unique(level):
        z, weights = _rule(activation.kind == "homogeneous", max(0, int(bucket)), STEP / 2**extra)
        where = np.flatnonzero(level == bucket)
        rows = max(1, ENTRIES // len(z))
        for start in range(0, len(where), rows):
            chosen = where[start : start + rows]
            values = _sums(activation, flat[chosen], z, weights, integrand, derivatives)
            found = found or [np.full(len(flat), np.nan) for _ in values]
            for target, value in zip(found, values, strict=True):
                target[chosen] = value if bucket >= 0 else np.nan
    return tuple(part.reshape(variance.shape) for part in found)


def hermite(order: int, z: Array) -> Array:
    """Probabilists' He_order(z)."""
    return np.asarray(np.polynomial.hermite_e.hermeval(z, [0.0] * order + [1.0]), dtype=np.float64)


def length_averages(activation: Activation, q: ArrayLike) -> tuple[Array, Array, Array]:
    """<phi^2>, <phi'^2> and d<phi^2>/dq at variances q >= 0, each of q's shape.

    Closed forms for linear, piecewise linear ones, erf, sin and cos; else <phi phi' z> / sqrt(q) is the derivative.
    """
    variance = np.asarray(q, dtype=np.float64)
    if piecewise_linear(activation):
        mean = np.full_like(variance, sum(slope**2 for slope in slopes(activation)) / 2)
        return (mean * variance).astype(np.float64), mean, mean.copy()
    if activation.name in CLOSED:
        return CLOSED[activation.name](variance)
    return length_quadrature(activation, variance)


def length_quadrature(activation: Activation, q: Array) -> tuple[Array, Array, Array]:
    """As length_averages, by quadrature."""
    root = np.sqrt(q)

    def integrand(z: Array, phi: list[Array]) -> list[Array]:
        return [phi[0] ** 2, phi[1] ** 2, phi[0] * phi[1] * z]

    square, slope, mixed = line_averages(activation, q, integrand, 1)
    derivative = np.divide(mixed, root, out=mixed.copy(), where=root > 0)
    if np.any(q == 0):
        value, first, second = (float(evaluate(activation, np.zeros(1), k)[0]) for k in range(3))
        derivative = np.where(q == 0, first**2 + value * second, derivative)
    return square, slope, derivative


def _erf(q: Array) -> tuple[Array, Array, Array]:
    slope = 4 / (np.pi * np.sqrt(1 + 4 * q))
    return 2 / np.pi * np.arcsin(2 * q / (1 + 2 * q)), slope, slope / (1 + 2 * q)


def _sin(q: Array) -> tuple[Array, Array, Array]:
    return -np.expm1(-2 * q) / 2, (1 + np.exp(-2 * q)) / 2, np.exp(-2 * q)


def _cos(q: Array) -> tuple[Array, Array, Array]:
    return (1 + np.exp(-2 * q)) / 2, -np.expm1(-2 * q) / 2, -np.exp(-2 * q)


CLOSED = {"erf": _erf, "sin": _sin, "cos": _cos}


def _sums(
    activation: Activation, q: Array, z: Array, weights: Array, integrand: Integrand, derivatives: int
) -> list[Array]:
    inputs = np.sqrt(np.nan_to_num(q))[:, None] * z
    values = integrand(z, [evaluate(activation, inputs, k) for k in range(derivatives + 1)])
    return [np.broadcast_to(value, inputs.shape) @ weights for value in values]


@lru_cache(maxsize=32)
def _rule(kinked: bool, level: int, step: float = STEP) -> tuple[Array, Array]:
    """Nodes (m,) and weights (m,); level: the powers of two by which the step is divided."""
    if kinked:
        points, gauss = np.polynomial.legendre.leggauss(16)
        half = ((np.arange(16)[:, None] + (points + 1) / 2) * (RADIUS / 16)).ravel()
        density = np.tile(gauss / 2, 16) * (RADIUS / 16) * np.exp(-(half**2) / 2) / np.sqrt(2 * np.pi)
        return np.concatenate([-half, half]), np.concatenate([density, density])
    chunks = list(trapezoid_rule(np.array([step / 2**level]), RADIUS))
    return np.concatenate([nodes[:, 0] for nodes, _ in chunks]), np.concatenate([weights for _, weights in chunks])


@lru_cache(maxsize=64)
def resolution(activation: Activation) -> int:
    """How often the step must be halved besides: 0 for poles no nearer to the real axis than those of tanh.

    QuadratureError where three times are not enough: the activation is not analytic, or only very near the axis.
    """
    if activation.kind != "smooth":
        return 0
    for extra in range(HALVINGS + 1):
        if all(_converged(activation, level, STEP / 2**extra) for level in range(4)):
            return extra
    raise QuadratureError(f"averages of {activation.name} do not converge: is it smooth?")


def _converged(activation: Activation, level: int, step: float) -> bool:
    q = np.array([4.0**level / 4])

    def integrand(z: Array, phi: list[Array]) -> list[Array]:
        return [phi[0] * (1 + z), phi[0] ** 2, phi[0] ** 4]

    rules = (_rule(False, level, h) for h in (step, step / 2))
    coarse, fine = (np.array(_sums(activation, q, *rule, integrand, 0)) for rule in rules)
    return bool(np.all(np.abs(coarse - fine) <= AGREEMENT * (np.abs(fine) + np.sqrt(fine[1]))))
