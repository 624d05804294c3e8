"""Normalised preactivations, epsilon = 0: what LayerNorm and RMSNorm do to the kernel and to its fluctuations.

    rms:    z_i / sqrt(mean_j z_j^2),    layer:    (z_i - mean_j z_j) / sqrt(mean_j z_j^2 - (mean_j z_j)^2)

at every input, over the neurons of a layer (Zhang and Sennrich 1910.07467; Ba, Kiros and Hinton 1607.06450). At
infinite width only the correlations rho_ab = K_ab / sqrt(K_aa K_bb) enter, K' = F(rho). At order 1/N, dividing by the
measured scale and subtracting the measured mean add to psi = C_W (phi phi^T - <phi phi^T>), of a neuron u ~ N(0, rho),

    - J_ab,cd (u_c^2 + u_d^2 - 2) rho_cd / 2      and      - (m_ab u_a + m_ba u_b),    m_ab = C_W <phi'_a phi_b>

(the second for `layer` only; zero for odd phi). By Stein's lemma Cov(psi, u u^T) = J Q with Q = Cov(u u^T, u u^T). So
with T: u u^T -> (u_a^2 + u_b^2) rho_ab / 2, D: delta K -> delta K_ab / sqrt(K_aa K_bb) and M: u -> m_ab u_a + m_ba u_b,

    S_rms = S - J Q J^T + J (1 - T) Q (1 - T)^T J^T,    S_layer = S_rms - M rho M^T,    dK'/dK = J (1 - T) D.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import multisets
from nnqft.nets.activations import Activation
from nnqft.nets.deep import Step, plain_step
from nnqft.nets.influence import moment_fluctuation
from nnqft.nets.kernels import kernel_map, map_derivatives
from nnqft.nets.maps import quadrature

Array = NDArray[np.float64]
Norm = Literal["none", "rms", "layer"]


def normalise(norm: Norm, z: jax.Array) -> jax.Array:
    """Normalised preactivations (networks, neurons, n); zero where all neurons of a layer are alike (zero)."""
    if norm == "none":
        return z
    centred = z - z.mean(axis=-2, keepdims=True) if norm == "layer" else z
    square = jnp.mean(centred**2, axis=-2, keepdims=True)
    return centred * jnp.where(square > 0, jax.lax.rsqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def correlations(kernel: Array) -> Array:
    """Rho (n, n): kernel (n, n) over the square roots of its diagonal; zero where that is zero."""
    return kernel * np.outer(_inverse_root(kernel), _inverse_root(kernel))


def normalised_kernel(activation: Activation, kernel: Array, depth: int, sigma_w: float, sigma_b: float) -> Array:
    """Kernel of the output (n, n) after `depth` normalised layers, the first of kernel (n, n)."""
    for _ in range(depth):
        kernel = kernel_map(activation, correlations(kernel), sigma_w, sigma_b)
    return kernel


def rms_step(activation: Activation, kernel: Array, sigma_w: float, sigma_b: float, fluctuates: bool) -> Step:
    """A layer with RMSNorm: kernel (n, n). The 1/N correction of the kernel is not derived."""
    rho = correlations(kernel)
    plain = plain_step(activation, rho, sigma_w, sigma_b, False)
    J = map_derivatives(activation, rho, sigma_w).jacobian()
    a, b = multisets(len(rho), 2).T
    own = np.flatnonzero(a == b)
    reduced = np.eye(len(a))
    np.add.at(reduced, (np.arange(len(a)), own[a]), -rho[a, b] / 2)
    np.add.at(reduced, (np.arange(len(a)), own[b]), -rho[a, b] / 2)
    Q = rho[np.ix_(a, a)] * rho[np.ix_(b, b)] + rho[np.ix_(a, b)] * rho[np.ix_(b, a)]
    source = plain.source - J @ Q @ J.T + J @ reduced @ Q @ reduced.T @ J.T
    scale = _inverse_root(kernel)
    return Step(plain.following, source, plain.quartic, J @ reduced * (scale[a] * scale[b]))


def layer_step(activation: Activation, kernel: Array, sigma_w: float, sigma_b: float, fluctuates: bool) -> Step:
    """As :func:`rms_step`, with LayerNorm."""
    step, rho = rms_step(activation, kernel, sigma_w, sigma_b, fluctuates), correlations(kernel)
    slope = sigma_w**2 * np.asarray(mean_slope(activation, jnp.asarray(rho)))
    a, b = multisets(len(rho), 2).T
    mean = np.zeros((len(a), len(rho)))
    np.add.at(mean, (np.arange(len(a)), a), slope[a, b])
    np.add.at(mean, (np.arange(len(a)), b), slope[b, a])
    return Step(step.following, step.source - mean @ rho @ mean.T, step.quartic, step.jacobian)


def fluctuation(
    norm: Norm, activation: Activation, kernel: jax.Array, paths: jax.Array, variance: jax.Array, earlier: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """One normalised layer of an influence function: <phi phi^T>_rho (n, n) and its fluctuation (paths, n, n).

    kernel (n, n): K; paths (paths, n): u ~ N(0, rho); variance (n,): the activation's; earlier (paths, n, n): delta K.
    """
    own = jnp.diagonal(kernel)
    scale = jnp.where(own > 0, jax.lax.rsqrt(jnp.where(own > 0, own, 1.0)), 0.0)
    rho = kernel * jnp.outer(scale, scale)
    average, psi, jacobian = moment_fluctuation(activation, rho, activation(paths, variance))
    relative = earlier * jnp.outer(scale, scale)
    squares = jnp.diagonal(relative, axis1=1, axis2=2) + paths**2 - 1
    psi = psi + jacobian(relative - rho * (squares[:, :, None] + squares[:, None, :]) / 2)
    if norm == "layer":
        mean = mean_slope(activation, rho) * paths[:, :, None]
        psi = psi - mean - jnp.swapaxes(mean, 1, 2)
    return average, psi


def mean_slope(activation: Activation, rho: jax.Array) -> jax.Array:
    """<phi'(u_a) phi(u_b)> (n, n) for unit variances."""
    if activation.odd:
        return jnp.zeros_like(rho)
    if activation.name == "relu":
        return (1 + rho) / np.sqrt(8 * np.pi)
    one = jnp.ones_like(rho)
    return quadrature(activation, 1, 0)(one, rho, one)


def _inverse_root(kernel: Array) -> Array:
    variance = np.diag(kernel)
    return np.divide(1.0, np.sqrt(variance), out=np.zeros_like(variance), where=variance > 0)
