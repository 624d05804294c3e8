"""The Gaussian average <phi(z_a) phi(z_b)> as a differentiable JAX function: the one step of every layer recursion.

(z_a, z_b) is a centred Gaussian pair of covariance [[K_aa, K_ab], [K_ab, K_bb]]. Closed forms where they are known;
otherwise Gauss-Hermite quadrature, whose derivatives follow from Price's theorem d<f>/dK_ab = <d_a d_b f>,
d<f>/dK_aa = <d_a^2 f> / 2, so that coincident and collinear points need no special care.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nnqft.nets.activations import Activation

PairAverage = Callable[[Any, Any, Any], Any]
"""<phi(z_a) phi(z_b)> from K_aa, K_ab, K_bb, elementwise; closed forms give NumPy's arrays for NumPy's."""

NODES = 48
"""Gauss-Hermite nodes in each of the two dimensions. Of coincident tanh, the worst case, the average is off by 6e-8 at
variance 1, 1e-5 at 2 and 1e-3 at 5, its first derivatives by 2e-6, 2e-4 and 6e-3; of softplus, the average by 2e-15,
9e-13 and 2e-8. Poles near the real axis decide; `nnqft.nets.kernels` integrates to rounding."""


def kernel_map(activation: Activation, kernel: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array) -> jax.Array:
    """F_ab(K) = sigma_b^2 + sigma_w^2 <phi(z_a) phi(z_b)>_K for kernels (..., n, n), float64."""
    return sigma_b**2 + sigma_w**2 * second_moment(activation, kernel)


def second_moment(activation: Activation, kernel: jax.Array) -> jax.Array:
    """<phi(z_a) phi(z_b)>_K, shape (..., n, n), differentiable in the kernel (..., n, n)."""
    variance = jnp.diagonal(kernel, axis1=-2, axis2=-1)
    aa, bb = jnp.broadcast_arrays(variance[..., :, None], variance[..., None, :])
    return pair_average(activation)(aa, kernel, bb)


def pair_average(activation: Activation) -> PairAverage:
    """<phi(z_a) phi(z_b)> as a function of K_aa, K_ab, K_bb (arrays of one shape)."""
    return CLOSED[activation.name] if activation.name in CLOSED else quadrature(activation, 0, 0)


@lru_cache(maxsize=256)
def quadrature(activation: Activation, i: int, j: int) -> PairAverage:
    """<phi^(i)(z_a) phi^(j)(z_b)> by Gauss-Hermite quadrature, derivatives by Price's theorem."""
    first, second = _derivative(activation, i), _derivative(activation, j)
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / weights.sum()

    @jax.custom_jvp
    def average(aa: jax.Array, ab: jax.Array, bb: jax.Array) -> jax.Array:
        root = jnp.sqrt(jnp.maximum(aa, 0))
        slope = jnp.where(root > 0, ab / jnp.where(root > 0, root, 1.0), 0.0)
        rest = jnp.sqrt(jnp.maximum(bb - slope**2, 0))
        left = first(root[..., None] * nodes)
        right = second(slope[..., None, None] * nodes[:, None] + rest[..., None, None] * nodes)
        return jnp.einsum("...u,...uv,u,v->...", left, right, weights, weights)

    @average.defjvp
    def _(primals, tangents):
        aa, ab, bb = primals
        daa, dab, dbb = tangents
        slope = (
            quadrature(activation, i + 2, j)(aa, ab, bb) * daa / 2
            + quadrature(activation, i + 1, j + 1)(aa, ab, bb) * dab
            + quadrature(activation, i, j + 2)(aa, ab, bb) * dbb / 2
        )
        return average(aa, ab, bb), slope

    return average


def _derivative(activation: Activation, order: int) -> Callable[[jax.Array], jax.Array]:
    def scalar(z: jax.Array) -> jax.Array:
        return activation(z, jnp.zeros_like(z))

    function = scalar
    for _ in range(order):
        function = jax.grad(function)
    return jnp.vectorize(function)


def _linear(aa: jax.Array, ab: jax.Array, bb: jax.Array) -> jax.Array:
    return ab


def _relu(aa: jax.Array, ab: jax.Array, bb: jax.Array) -> jax.Array:
    """Arc-cosine kernel of degree 1, Cho and Saul 2009."""
    return _arc_cosine(aa, ab, bb) if _module(ab) is np else _differentiable_relu(aa, ab, bb)


def _arc_cosine(aa: jax.Array, ab: jax.Array, bb: jax.Array) -> jax.Array:
    xp = _module(ab)
    root = xp.sqrt(relu_determinant(aa, ab, bb))
    return (root + (xp.pi - xp.arctan2(root, ab)) * ab) / (2 * xp.pi)


@jax.custom_jvp
def _differentiable_relu(aa: jax.Array, ab: jax.Array, bb: jax.Array) -> jax.Array:
    return _arc_cosine(aa, ab, bb)


@_differentiable_relu.defjvp
def _(primals, tangents):
    aa, ab, bb = primals
    daa, dab, dbb = tangents
    root = jnp.sqrt(relu_determinant(aa, ab, bb))
    alive = (aa > 0) & (bb > 0)
    along = root / jnp.where(alive, aa, 1.0) / 2 * daa + root / jnp.where(alive, bb, 1.0) / 2 * dbb
    return _differentiable_relu(aa, ab, bb), (along + (jnp.pi - jnp.arctan2(root, ab)) * dab) / (2 * jnp.pi)


def relu_determinant(aa: jax.Array, ab: jax.Array, bb: jax.Array) -> jax.Array:
    """K_aa K_bb - K_ab^2, zero where it is rounding noise."""
    determinant = aa * bb - ab**2
    return _module(ab).where(determinant > 4 * np.finfo(float).eps * aa * bb, determinant, 0.0)


def _module(array: jax.Array) -> Any:
    """NumPy for NumPy's arrays, which need no compiler; else jax.numpy."""
    return np if isinstance(array, np.ndarray) else jnp


def _erf(aa: jax.Array, ab: jax.Array, bb: jax.Array) -> jax.Array:
    """Williams 1997."""
    xp = _module(ab)
    return 2 / xp.pi * xp.arcsin(2 * ab / (xp.sqrt(1 + 2 * aa) * xp.sqrt(1 + 2 * bb)))


def _sin(aa: jax.Array, ab: jax.Array, bb: jax.Array) -> jax.Array:
    xp = _module(ab)
    return (xp.exp(-(aa + bb) / 2 + ab) - xp.exp(-(aa + bb) / 2 - ab)) / 2


def _cos(aa: jax.Array, ab: jax.Array, bb: jax.Array) -> jax.Array:
    xp = _module(ab)
    return (xp.exp(-(aa + bb) / 2 + ab) + xp.exp(-(aa + bb) / 2 - ab)) / 2


def _gelu(aa: jax.Array, ab: jax.Array, bb: jax.Array) -> jax.Array:
    """<x y g> = K_ab <g> + (K_aa K_bb + K_ab^2) <g_xy> + K_ab (K_aa <g_xx> + K_bb <g_yy>), g = Phi(x) Phi(y).

    By Stein's lemma twice; <g> = 1/4 + arcsin(s) / 2 pi and Price's theorem gives the rest as its derivatives.
    """
    xp = _module(ab)
    product = (1 + aa) * (1 + bb)
    root = xp.sqrt(product - ab**2)
    g = 0.25 + xp.arcsin(ab / xp.sqrt(product)) / (2 * xp.pi)
    curvature = aa / (1 + aa) + bb / (1 + bb)
    return ab * g + (aa * bb + ab**2 - ab**2 * curvature) / (2 * xp.pi * root)


def _gauss(aa: jax.Array, ab: jax.Array, bb: jax.Array) -> jax.Array:
    """<exp(z_a - K_aa) exp(z_b - K_bb)>, HMS 2008.08601 section 2.2."""
    xp = _module(ab)
    return xp.exp(ab - (aa + bb) / 2)


CLOSED: dict[str, PairAverage] = {
    "linear": _linear,
    "relu": _relu,
    "erf": _erf,
    "sin": _sin,
    "cos": _cos,
    "gelu": _gelu,
    "gauss": _gauss,
}
