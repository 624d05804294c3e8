"""Elementary functions from additions, multiplications and a few selections, which compilers vectorise whole.

On a CPU they are 5 to 30 times faster than XLA's sine and cosine (either precision) and error function (float64).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class _Precision:
    """Constants of one type: sin r = r + r^3 S(r^2), cos r = 1 - r^2 / 2 + r^4 C(r^2) for |r| <= pi / 4.

    half_pi: pi / 2 in three parts, of which the first two have so few bits that their multiples are exact. magic: once
    added to an integer, the last bits of the sum are that integer.
    """

    half_pi: tuple[float, float, float]
    sin: tuple[float, ...]
    cos: tuple[float, ...]
    magic: float
    integer: type[np.integer]


_PRECISIONS = {
    np.dtype(np.float32): _Precision(
        (1.5703125, 4.837512969970703125e-4, 7.549789954891882e-8),
        (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1),
        (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2),
        1.5 * 2**23,
        np.uint32,
    ),
    np.dtype(np.float64): _Precision(
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
"""Polynomials: Cephes (Moshier), sinf.c; FDLIBM (Sun Microsystems), k_sin.c and k_cos.c."""

_ERF = (
    (
        9.60497373987051638749,
        90.0260197203842689217,
        2232.00534594684319226,
        7003.32514112805075473,
        55592.3013010394962768,
    ),
    (
        1.0,
        33.5617141647503099647,
        521.357949780152679795,
        4594.32382970980127987,
        22629.0000613890934246,
        49267.3942608635921086,
    ),
)
"""erf x = x T(x^2) / U(x^2) for |x| < 1: Cephes, ndtr.c."""
_ERFC = (
    (
        2.46196981473530512524e-10,
        0.564189564831068821977,
        7.46321056442269912687,
        48.6371970985681366614,
        196.520832956077098242,
        526.445194995477358631,
        934.528527171957607540,
        1027.55188689515710272,
        557.535335369399327526,
    ),
    (
        1.0,
        13.2281951154744992508,
        86.7072140885989742329,
        354.937778887819891062,
        975.708501743205489753,
        1823.90916687909736289,
        2246.33760818710981792,
        1656.66309194161350182,
        557.535340817727675546,
    ),
)
"""1 - erf x = exp(-x^2) P(x) / Q(x) for 1 <= x < 8: the same."""


@jax.custom_jvp
def sin(z: jax.Array) -> jax.Array:
    """The sine of z, float32 or float64: right to 1.2e-7 or 2.5e-16 for |z| <= 1e4, useless beyond 1e6."""
    return _wave(z, 0)


@jax.custom_jvp
def cos(z: jax.Array) -> jax.Array:
    """The cosine of z: see :func:`sin`."""
    return _wave(z, 1)


@jax.custom_jvp
def erf(z: jax.Array) -> jax.Array:
    """The error function, float32 or float64: right to 5e-16 of its value in float64."""
    z = jnp.asarray(z)
    if z.dtype != jnp.float64:
        return jax.lax.erf(z)
    size = jnp.minimum(jnp.abs(z), 6.0)
    square, small = size * size, size < 1
    above = jnp.where(small, size * polynomial(_ERF[0], square), jnp.exp(-square) * polynomial(_ERFC[0], size))
    ratio = above / jnp.where(small, polynomial(_ERF[1], square), polynomial(_ERFC[1], size))
    return jnp.copysign(jnp.where(small, ratio, 1 - ratio), z)


@sin.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return sin(*primals), cos(*primals) * tangents[0]


@cos.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    return cos(*primals), -sin(*primals) * tangents[0]


@erf.defjvp
def _(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    slope = 2 / np.sqrt(np.pi) * jnp.exp(-(primals[0] ** 2))
    return erf(*primals), slope.astype(tangents[0].dtype) * tangents[0]


def sin_cos(r: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sine and cosine of |r| <= pi / 4, each right to two units in its last place."""
    constants, square = _PRECISIONS[r.dtype], r * r
    sine = r + r * square * polynomial(constants.sin, square)
    cosine = 1 - square / 2 + square * square * polynomial(constants.cos, square)
    return sine, cosine


def polynomial(coefficients: tuple[float, ...], t: jax.Array) -> jax.Array:
    """Horner's rule, highest power first."""
    value = t * t.dtype.type(coefficients[0]) + t.dtype.type(coefficients[1])
    for c in coefficients[2:]:
        value = value * t + t.dtype.type(c)
    return value


def _wave(z: jax.Array, quarter: int) -> jax.Array:
    """sin(z + quarter pi / 2): z = q pi / 2 + r, |r| <= pi / 4 (Cody and Waite), then the polynomial that q selects."""
    z = jnp.asarray(z)
    constants = _PRECISIONS[z.dtype]
    number, integer = z.dtype.type, constants.integer
    multiple, r = jnp.round(z * number(2 / np.pi)), z
    for part in constants.half_pi:
        r = r - multiple * number(part)
    q = jax.lax.bitcast_convert_type(multiple + number(constants.magic), integer) + integer(quarter)
    sine, cosine = sin_cos(r)
    wave = jax.lax.bitcast_convert_type(jnp.where((q & integer(1)) != 0, cosine, sine), integer)
    sign = (q & integer(2)) << integer(np.iinfo(integer).bits - 2)
    return jax.lax.bitcast_convert_type(wave ^ sign, z.dtype)
