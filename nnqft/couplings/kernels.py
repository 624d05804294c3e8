"""The legs of the effective vertices: K_w(x, y) = K(x, y) - sigma_b^2 of the one-hidden-layer Gaussian process.

The output bias is a zero mode of the free theory and is left out of the legs (Halverson, Maiti, Stoner,
arXiv:2008.08601, section 3), so K_w(x, y) = sigma_w^2 E[s(x) s(y)] with s the hidden unit. Its preactivations are
Gaussian with covariance k(x, y) = sigma_b^2 + sigma_w^2 x.y / d_in.
"""

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.nets.activations import ACTIVATIONS, Activation
from nnqft.nets.maps import CLOSED

Array = NDArray[np.float64]

_OUTER_STEP = 0.08  # trapezoid in t of xi = sinh(t) / spread: the strip of analyticity is pi / 4, error e^-61
_INNER_STEP = 0.25  # trapezoid in eta, for poles of the activation at distance pi / 2 and unit variance, error e^-39
_REACH = 9.0  # standard deviations kept: the Gaussian beyond is 3e-18
_AGREEMENT = 1e-6  # between a step and its double
_CHUNK = 1 << 21  # quadrature nodes evaluated at a time


def leg_kernel(activation: str, sigma_w: float, sigma_b: float, x: ArrayLike, y: ArrayLike, *, depth: int = 1) -> Array:
    """K_w(x_a, y_i) for points x (n, d_in) and y (m, d_in): shape (n, m), float64.

    Closed forms where :mod:`nnqft.nets.kernels` has one; for every other smooth activation of the registry quadrature,
    slow but accurate to 1e-12 (:func:`pair_expectation`): y may be far away, where a fixed lattice fails.
    Raises ValueError for an unknown activation, for depth > 1 and where E[s s'] has no known form.
    """
    if depth != 1:
        raise ValueError(
            f"legs exist for one hidden layer only: the kernel of depth {depth} has no closed K - sigma_b^2"
        )
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}: choose one of {', '.join(sorted(ACTIVATIONS))}")
    k_xx, k_yy, k_xy = preactivation_covariance(sigma_w, sigma_b, x, y)
    if activation in CLOSED:
        return sigma_w**2 * np.asarray(CLOSED[activation](k_xx, k_xy, k_yy))
    if ACTIVATIONS[activation].kind != "smooth":
        raise ValueError(f"no kernel for the activation {activation!r}: it is not smooth and has no closed form")
    return sigma_w**2 * pair_expectation(ACTIVATIONS[activation], k_xx, k_yy, k_xy)


def propagator(activation: str, sigma_w: float, sigma_b: float, y: ArrayLike, z: ArrayLike) -> Array:
    """K_w(y_i, z_i) for points (..., d_in) that broadcast, in closed form; ValueError for what has none.

    Quadrature (:func:`pair_expectation`) would fail here: both points may be far away.
    """
    if activation not in CLOSED:
        raise ValueError(f"a tree needs K(y, z) in closed form, which {activation!r} has not")
    y, z = np.asarray(y, dtype=np.float64), np.asarray(z, dtype=np.float64)
    a = sigma_w**2 / y.shape[-1]
    k_yy, k_zz, k_yz = (sigma_b**2 + a * np.einsum("...i,...i->...", p, q) for p, q in ((y, y), (z, z), (y, z)))
    k_yy, k_zz = (np.broadcast_to(k, k_yz.shape) for k in (k_yy, k_zz))
    return sigma_w**2 * np.asarray(CLOSED[activation](k_yy, k_yz, k_zz))


def preactivation_covariance(sigma_w: float, sigma_b: float, x: ArrayLike, y: ArrayLike) -> tuple[Array, Array, Array]:
    """First-layer covariances k(x, x) (n, 1), k(y, y) (1, m) and k(x, y) (n, m) of points (n, d_in) and (m, d_in)."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(f"points must be (n, d_in) and (m, d_in), not {x.shape} and {y.shape}")
    a = sigma_w**2 / x.shape[1]
    k_xx = sigma_b**2 + a * np.sum(x * x, axis=1)[:, None]
    k_yy = sigma_b**2 + a * np.sum(y * y, axis=1)[None, :]
    return k_xx, k_yy, sigma_b**2 + a * (x @ y.T)


def pair_expectation(activation: Activation, k_xx: Array, k_yy: Array, k_xy: Array) -> Array:
    """E[s(u) s(v)] for Gaussian u, v of variances k_xx (n, 1), k_yy (1, m) and covariance k_xy (n, m), by quadrature.

    With rho the correlation, v = sqrt(k_yy) xi and u = sqrt(k_xx) (rho xi + sqrt(1 - rho^2) eta). Trapezoid rules in
    eta and in t, xi = sinh(t) / spread, resolve the unit however steep it is in xi (y far away); they converge
    geometrically for activations analytic in a strip around the real axis. The rule of double step must agree to the
    square root of the accuracy, 1e-6 of the integral of the absolute value: RuntimeError otherwise (an oscillating
    activation at far points), and where JAX is not in 64 bits.
    """
    spread = max(1.0, float(np.sqrt(k_yy.max())))
    t, weight = _trapezoid(_OUTER_STEP, float(np.arcsinh(_REACH * spread)))
    xi = np.sinh(t) / spread
    weight = weight * np.cosh(t) / spread * _normal_density(xi)
    far = _evaluate(activation, np.sqrt(k_yy).T * xi, k_yy.T) * weight  # (m, xi)
    value = np.empty_like(k_xy)
    for i, variance in enumerate(k_xx[:, 0]):
        eta, inner = _trapezoid(_INNER_STEP / max(1.0, np.sqrt(variance)), _REACH)
        inner = inner * _normal_density(eta)
        size = max(1, _CHUNK // (xi.size * eta.size))
        for start in range(0, k_xy.shape[1], size):
            part = slice(start, start + size)
            scale = np.sqrt(variance * k_yy[0, part])
            rho = np.divide(k_xy[i, part], scale, out=np.zeros_like(scale), where=scale > 0).clip(-1.0, 1.0)
            u = np.sqrt(variance) * ((rho[:, None] * xi)[..., None] + np.sqrt(1 - rho**2)[:, None, None] * eta)
            near = _evaluate(activation, u, np.full((1, 1, 1), variance))
            terms = far[part] * (near @ inner)
            value[i, part] = terms.sum(axis=1)
            coarse = 4 * np.sum(far[part, ::2] * (near[:, ::2, ::2] @ inner[::2]), axis=1)
            size_of_terms = np.sum(np.abs(far[part]) * (np.abs(near) @ inner), axis=1)
            if np.any(np.abs(coarse - value[i, part]) > _AGREEMENT * size_of_terms):
                raise RuntimeError(
                    f"the kernel of {activation.name!r} has not converged: it varies too fast to integrate"
                )
    return value


def _trapezoid(step: float, end: float) -> tuple[Array, Array]:
    """Nodes 0, +-step, ... just beyond +-end, an even number either side, and their weights."""
    count = 2 * np.ceil(end / step / 2)
    nodes = np.arange(-count, count + 1) * step
    return nodes, np.full(nodes.shape, step)


def _normal_density(z: Array) -> Array:
    return np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)


def _evaluate(activation: Activation, z: Array, variance: Array) -> Array:
    value = np.asarray(activation(jnp.asarray(z), jnp.asarray(variance)))
    if value.dtype != np.float64:
        raise RuntimeError("kernels by quadrature need 64 bits: set JAX_ENABLE_X64=1 (or jax_enable_x64) before use")
    return value
