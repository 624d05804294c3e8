"""Recurrent networks: h_1 = U x + b, h_(t+1) = W phi(h_t) + b (+ U x), f = b_o + W_o phi(h_T), with one W, U and b.

W ~ N(0, sigma_w^2 / N), U ~ N(0, sigma_u^2 / d_in), b ~ N(0, sigma_b^2), the readout as everywhere. The bias enters at
every step, the input at every step (`inject: each`) or only in h_1 (`first`). The untied twin draws fresh W_t, U_t, b_t
at every step. At infinite width neurons are independent and Gaussian over times and points (Yang 1910.12478),

    C_(t+1)(s+1) = sigma_w^2 <phi(h_t) phi(h_s)>_C + sigma_b^2 (+ sigma_u^2 x.x / d_in),

for the twin with t = s only. So both have the same C_tt, the same output kernel and the same recursion of fluctuations,
A_(t+1) = psi_t + J_t A_t; but the psi_t of tied nets are correlated through C_ts, which changes G4c at leading order.

Exact sampler of tied nets: what the past P = [phi(h_1) ... phi(h_t)] tells of W is its values on span P. With P = Q R,
the columns of Z = W Q are iid N(0, sigma_w^2 / N) whatever the past, because column j of Q depends on the columns of P
up to j alone; so W phi(h_t) = Z R_t with R_t the last columns of R. Householder reflections, continued step by step,
keep Q orthonormal to rounding also for duplicate or vanishing columns, where Gram-Schmidt would not.
Q exists while (T - 1) n_x <= N; beyond, the N^2 weights are fewer numbers, and `conditional` draws them.
"""

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from nnqft.core.normals import normals, subkey
from nnqft.nets import base
from nnqft.nets.base import Array, Features, Independence, Known, Network
from nnqft.nets.draws import neurons, stacked
from nnqft.nets.influence import gaussian_paths, leading, moment_fluctuation
from nnqft.nets.kernels import kernel_map
from nnqft.nets.lanes import Lanes, first_units
from nnqft.nets.maps import pair_average
from nnqft.nets.mlp import EXAMPLE, MLP


class Options(base.Options):
    """Options of recurrent networks."""

    tied: bool = True
    """One W, U, b for all time steps, or fresh ones at every step."""
    inject: Literal["each", "first"] = "each"
    """The input enters at every step, or only in h_1."""
    sigma_u: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """Input weights have variance sigma_u^2 / d_in."""
    noise: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Variance D of white noise at every time step; for `measure: [criticality]` only."""
    leak: float = Field(default=1.0, gt=0, le=2, allow_inf_nan=False)
    """gamma of h_(t+1) = (1 - gamma) h_t + W phi(h_t) + b: 1 for none; for `measure: [criticality]` only."""


class Recurrent(Network):
    """`depth` time steps T of `width` neurons."""

    name: ClassVar[str] = "recurrent"
    Options: ClassVar[type[base.Options]] = Options
    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"x": EXAMPLE, "activation": "erf", "depth": 3, "sigma_w": 1.2, "sigma_b": 0.3},
        {"x": EXAMPLE, "activation": "relu", "depth": 2, "sigma_w": 0.9, "sigma_b": 0.2, "inject": "first"},
        {"x": EXAMPLE, "activation": "tanh", "depth": 2, "sigma_w": 1.2, "tied": False, "sigma_u": 1.5},
    )

    def features(
        self, key: jax.Array, network: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> Features:
        """phi(h_T): see :class:`nnqft.nets.base.Network`; covariance for untied nets."""
        if self._is_tied:
            return self._tied(key, network, x, sigma_w, sigma_b)
        weight = self.options.sigma_u**2 / x.shape[1]
        variance = self._first_variance(x, sigma_b).astype(self.dtype)
        matrix = stacked(x.T, weight, sigma_b**2)
        again = jnp.broadcast_to(jnp.sqrt(weight) * x.T, (len(network), *x.T.shape))
        h = neurons(subkey(key, 1), network, self.width, matrix, self.sampler, self.dtype)
        for step in range(2, self.depth + 1):
            matrix = stacked(self.activation(h, variance), sigma_w**2 / self.width, sigma_b**2)
            if self.options.inject == "each":
                matrix = jnp.concatenate([matrix, again], axis=-2)
            h = neurons(subkey(key, step), network, self.width, matrix, self.sampler, self.dtype)
        covariance = jnp.einsum("...ka,...kb->...ab", matrix, matrix, precision="highest")
        shape = len(network), x.shape[0], x.shape[0]
        return Features(self.activation(h, variance), jnp.broadcast_to(covariance, shape))

    def unit(
        self, lanes: Lanes, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> tuple[jax.Array, jax.Array | None]:
        """Neurons of a net of one step, one by one: see :class:`nnqft.nets.base.Network`."""
        law = self.options.sigma_u / sigma_w * x, sigma_w, sigma_b, self.sampler, self.dtype
        return first_units(self.activation, lanes, *law)

    def working_set(self, points: int) -> int:
        """The past of tied weights, and as much again for its reflections."""
        past = 3 * self.depth if self.options.tied else 0
        return self.width * points * (4 + past)

    @property
    def independence(self) -> Independence:
        """`iid` for one step; beyond, `given` for untied nets; the neurons of tied nets have memory."""
        if self._is_tied:
            return "none"
        return "iid" if self.depth == 1 else "given"

    def refuse(self, x: Array, sigma_b: float) -> tuple[str, str, str] | None:
        """The exponential unit has infinite variance beyond one step; noise and leaks are not sampled."""
        if self.options.noise or self.options.leak != 1:
            which = "noise" if self.options.noise else "leak"
            return (
                f"options.{which}",
                "correlators are not measured with it",
                "use measure: [criticality], or remove it",
            )
        if self.activation.kind == "lognormal" and self.depth > 1:
            problem = f"the {self.activation.name} unit has infinite variance beyond one time step"
            return "depth", f"{problem} (got {self.depth})", "use depth: 1, or another activation"
        return None

    def gp_kernel(self, x: Array, sigma_w: float, sigma_b: float) -> Array:
        """sigma_b^2 + sigma_w^2 <phi(h_T) phi(h_T)>, tied or not."""
        drive = self.options.sigma_u**2 * (x @ x.T) / x.shape[1]
        kernel = drive + sigma_b**2
        for _ in range(self.depth - 1):
            kernel = kernel_map(self.activation, kernel, sigma_w, sigma_b)
            if self.options.inject == "each":
                kernel = kernel + drive
        return kernel_map(self.activation, kernel, sigma_w, sigma_b)

    def known(self, x: Array, sigma_w: float, sigma_b: float, widths: Array) -> Known:
        """As of the perceptron of depth T where the net is one (untied, `first`); else G4c at leading order."""
        if self.depth == 1 or (self.options.inject == "first" and not self.options.tied):
            perceptron = MLP(self.activation, self.depth, self.width, self.sampler, self.dtype, MLP.Options())
            return perceptron.known(self.options.sigma_u / sigma_w * x, sigma_w, sigma_b, widths)
        return leading(self, x, sigma_w, sigma_b, widths)

    def influence(
        self, key: jax.Array, paths: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> jax.Array:
        """psi_T + J_T A_T along the history of one neuron: see :class:`nnqft.nets.base.Network`."""
        kernels = self._history(x, sigma_w, sigma_b)
        joint = kernels.transpose(0, 2, 1, 3).reshape(self.depth * len(x), -1)
        h = gaussian_paths(subkey(key, 1), paths, joint).reshape(len(paths), self.depth, len(x))
        phi = self.activation(h, self._first_variance(x, sigma_b))

        def step(t: jax.Array, fluctuation: jax.Array) -> jax.Array:
            _, psi, jacobian = moment_fluctuation(self.activation, kernels[t, t], phi[:, t])
            return sigma_w**2 * (psi + jacobian(fluctuation))

        return jax.lax.fori_loop(0, self.depth, step, jnp.zeros((len(paths), len(x), len(x))))

    @property
    def _is_tied(self) -> bool:
        """Whether anything is used twice."""
        return self.options.tied and self.depth > 1

    def _first_variance(self, x: jax.Array, sigma_b: jax.Array) -> jax.Array:
        return sigma_b**2 + self.options.sigma_u**2 * jnp.mean(x**2, axis=1)

    def _history(self, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array) -> jax.Array:
        """C_ts (T, T, n_x, n_x) at infinite width; zero for t != s in untied nets."""
        average, n = pair_average(self.activation), len(x)
        first = sigma_b**2 + self.options.sigma_u**2 * (x @ x.T) / x.shape[1]
        constant = first if self.options.inject == "each" else jnp.broadcast_to(sigma_b**2, (n, n))

        def row(t: jax.Array, kernels: jax.Array) -> jax.Array:
            """C_ts for s <= t from C_(t-1)s; the entries s > t mean nothing."""
            variance = jnp.einsum("ttaa->ta", kernels)
            legs = jnp.broadcast_arrays(variance[t - 1][:, None], kernels[t - 1], variance[:, None, :])
            return kernels.at[t].set(jnp.concatenate([constant[None], sigma_w**2 * average(*legs) + constant])[:-1])

        kernels = jnp.zeros((self.depth, self.depth, n, n)).at[0, 0].set(first)
        kernels = jax.lax.fori_loop(1, self.depth, row, kernels)
        t, s = np.indices((self.depth, self.depth, 1, 1))[:2]
        if not self.options.tied:
            return jnp.where(t == s, kernels, 0)
        return jnp.where(t >= s, kernels, kernels.transpose(1, 0, 3, 2))

    def _tied(
        self, key: jax.Array, network: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> Features:
        """W is drawn on an orthonormal basis of the past while there is one, else all of it."""
        variance = self._first_variance(x, sigma_b).astype(self.dtype)
        matrix = stacked(x.T, self.options.sigma_u**2 / x.shape[1], jnp.zeros(()))
        pulse = neurons(subkey(key, 1), network, self.width, matrix, self.sampler, self.dtype)
        bias = (sigma_b * normals(subkey(key, 2), network, self.width, 1)[0])[..., None].astype(self.dtype)
        h = pulse + bias
        drive = h if self.options.inject == "each" else bias
        columns = (self.depth - 1) * len(x)
        by_basis = self.sampler == "conditional" and columns <= self.width
        draws = normals(subkey(key, 3), network, self.width, columns if by_basis else self.width)
        Z = jnp.stack(draws, axis=-1).astype(self.dtype) * (sigma_w / np.sqrt(self.width)).astype(self.dtype)
        past = jnp.zeros((len(network), self.width, 0)), jnp.zeros((len(network), 0))
        for _ in range(self.depth - 1):
            phi = self.activation(h, variance)
            if by_basis:
                past, phi = continued_qr(*past, phi.astype(jnp.float64))
                phi = phi.astype(self.dtype)
            h = jnp.einsum("mik,mka->mia", Z[..., : phi.shape[1]], phi, precision="highest") + drive
        return Features(self.activation(h, variance))


def continued_qr(
    reflectors: jax.Array, tau: jax.Array, columns: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """Append `columns` (..., N, n) to a QR decomposition: ((reflectors, tau), the new columns of R (..., r + n, n)).

    Q = H_1 ... H_r with H_j = 1 - tau_j v_j v_j^T, held as v (..., N, r) and tau (..., r); r + n <= N. Q is applied
    through its compact form Q = 1 - V T V^T, 1 / T = diag(1 / tau) + the part of V^T V above the diagonal (Schreiber
    and Van Loan 1989), written so that tau = 0, a vanishing column, is a number like any other.
    """
    r, (N, n) = tau.shape[-1], columns.shape[-2:]
    transposed = jnp.swapaxes(reflectors, -1, -2)
    lower = (transposed @ reflectors) * tau[..., None, :]
    overlap = jax.lax.linalg.triangular_solve(
        lower, transposed @ columns, left_side=True, lower=True, unit_diagonal=True
    )
    rotated = columns - reflectors @ (tau[..., None] * overlap)
    packed, new_tau = jnp.linalg.qr(rotated[..., r:, :], mode="raw")
    packed = jnp.swapaxes(packed, -1, -2)
    new = jnp.tril(packed, -1) + jnp.eye(N - r, n)
    new = jnp.concatenate([jnp.zeros((*new.shape[:-2], r, n)), new], axis=-2)
    R = jnp.concatenate([rotated[..., :r, :], jnp.triu(packed[..., :n, :])], axis=-2)
    return (jnp.concatenate([reflectors, new], axis=-1), jnp.concatenate([tau, new_tau], axis=-1)), R
