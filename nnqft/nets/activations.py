"""Activations by name, with what the samplers and the theory need to know about each of them.

An activation is called as ``function(z, variance)``: preactivations and their exact first-layer variance k(x, x).
Only HMS's normalised exponential (`gauss`) uses the second argument.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf

Kind = Literal["smooth", "homogeneous", "lognormal"]


@dataclass(frozen=True)
class Activation:
    """One activation function.

    kind: `smooth` is analytic near the real axis (trapezoid quadrature converges geometrically); `homogeneous` is
    piecewise linear with its only kink at zero; `lognormal` is HMS's exp unit, whose moments are closed form and
    which has infinite variance beyond one hidden layer.
    odd: f(-z) = -f(z).
    """

    name: str
    function: Callable[[jax.Array, jax.Array], jax.Array]
    kind: Kind = "smooth"
    odd: bool = False

    def __call__(self, z: jax.Array, variance: jax.Array) -> jax.Array:
        """Elementwise values; `variance` broadcasts against z.

        Evaluated with the axes of z reversed, which is how samplers keep them: there the compiler vectorises them.
        """
        z, variance = jnp.asarray(z), jnp.asarray(variance)
        return self.function(z.T, variance.reshape((1,) * (z.ndim - variance.ndim) + variance.shape).T).T


@dataclass(frozen=True)
class _Trigonometry:
    """Constants of one precision. sin r = r + r^3 S(r^2), cos r = 1 - r^2 / 2 + r^4 C(r^2) for |r| <= pi / 4.

    half_pi: pi / 2 in three parts, of which the first two have so few bits that their multiples are exact. magic: once
    added to an integer, the last bits of the sum are that integer.
    """

    half_pi: tuple[float, float, float]
    sin: tuple[float, ...]
    cos: tuple[float, ...]
    magic: float
    integer: type[np.integer]


_PRECISIONS = {
    np.dtype(np.float32): _Trigonometry(
        (1.5703125, 4.837512969970703125e-4, 7.549789954891882e-8),
        (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1),
        (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2),
        1.5 * 2**23,
        np.uint32,
    ),
    np.dtype(np.float64): _Trigonometry(
        (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21),
        (
            1.58969099521155010221e-10,
            -2.50507602534068634195e-8,
            2.75573137070700676789e-6,
            -1.98412698298579493134e-4,
            8.33333333332248946124e-3,
            -1.66666666666666324348e-1,
        ),
        (
            -1.13596475577881948265e-11,
            2.08757232129817482790e-9,
            -2.75573143513906633035e-7,
            2.48015872894767294178e-5,
            -1.38888888888741095749e-3,
            4.16666666666666019037e-2,
        ),
        1.5 * 2**52,
        np.uint64,
    ),
}
"""Polynomials: Cephes (Moshier), sinf and cosf; FDLIBM (Sun Microsystems), sin and cos."""


@jax.custom_jvp
def sin(z: jax.Array) -> jax.Array:
    """The sine of z, float32 or float64, for |z| <= 1e4, where its error is below 1.2e-7 or 2.5e-16; worse beyond.

    Ten times faster on a CPU than ``jnp.sin``, which serves any z; its derivatives are this and :func:`cos`.
    """
    return _wave(z, 0)


@jax.custom_jvp
def cos(z: jax.Array) -> jax.Array:
    """The cosine of z: see :func:`sin`."""
    return _wave(z, 1)


@sin.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return sin(*primals), cos(*primals) * tangents[0]


@cos.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return cos(*primals), -sin(*primals) * tangents[0]


def _wave(z: jax.Array, quarter: int) -> jax.Array:
    """sin(z + quarter pi / 2): z = q pi / 2 + r, |r| <= pi / 4, then a polynomial in r chosen by q."""
    z = jnp.asarray(z)
    constants = _PRECISIONS[z.dtype]
    number, integer = z.dtype.type, constants.integer
    multiple, r = jnp.round(z * number(2 / np.pi)), z
    q = jax.lax.bitcast_convert_type(multiple + number(constants.magic), integer) + integer(quarter)
    for part in constants.half_pi:
        r = r - multiple * number(part)
    square = r * r
    sine = r + r * square * _horner(constants.sin, square)
    cosine = 1 - square / 2 + square * square * _horner(constants.cos, square)
    wave = jnp.where((q & integer(1)) != 0, cosine, sine)
    sign = (q & integer(2)) << integer(8 * number(0).itemsize - 2)
    return jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(wave, integer) ^ sign, z.dtype)


def _horner(coefficients: tuple[float, ...], t: jax.Array) -> jax.Array:
    value = jnp.full_like(t, coefficients[0])
    for c in coefficients[1:]:
        value = value * t + t.dtype.type(c)
    return value


def _plain(function: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array, jax.Array], jax.Array]:
    return lambda z, variance: function(z)


def _gelu(z: jax.Array) -> jax.Array:
    return z * (1 + erf(z / jnp.sqrt(2.0).astype(z.dtype))) / 2


def _gauss(z: jax.Array, variance: jax.Array) -> jax.Array:
    """exp(z) / sqrt(exp(2 k(x,x))): HMS 2008.08601 section 2.2 (the Gauss-net)."""
    return jnp.exp(z - variance)


ACTIVATIONS: dict[str, Activation] = {
    a.name: a
    for a in (
        Activation("linear", _plain(lambda z: z), odd=True),
        Activation("relu", _plain(lambda z: jnp.maximum(z, 0)), kind="homogeneous"),
        Activation("erf", _plain(erf), odd=True),
        Activation("tanh", _plain(jnp.tanh), odd=True),
        Activation("sin", _plain(sin), odd=True),
        Activation("cos", _plain(cos)),
        Activation("gelu", _plain(_gelu)),
        Activation("softplus", _plain(jax.nn.softplus)),
        Activation("gauss", _gauss, kind="lognormal"),
    )
}
