"""Residual perceptrons: h^1 = b + W^0 x, h^(l+1) = h^l + b^l + W^l phi(h^l) for l = 1 ... R, f = b + W phi(h^(R+1)).

Embedding and readout have the variances of a perceptron, W^0 ~ N(0, sigma_w^2 / d_in), W ~ N(0, sigma_w^2 / N) and
biases N(0, sigma_b^2); the branches W^l ~ N(0, c_w / N), b^l ~ N(0, c_b), with (c_w, c_b) = (sigma_w^2, sigma_b^2) or
that divided by R (Yang and Schoenholz 1712.08969; Hayou et al. 2010.12859 for the scaling with depth). At infinite
width the increments are independent Gaussians, Cov(h^l, h^m) = K^min(l,m),

    K^(l+1) = K^l + c_b + c_w <phi phi>_{K^l},

and to leading order in 1/N every neuron fluctuates with its own history,

    A^1 = 0,    A^(l+1) = A^l + psi^l + J^l A^l,    delta Khat = psi^(R+1) + J^(R+1) A^(R+1).

Linear networks are known exactly at any width: h^(l+1) is Gaussian given h^l, so for Ghat = (1/N) sum_i h_i h_i^T with
mean E and covariance V, X = (1 + c_w) E + c_b and {A}_abcd = A_acbd + A_adbc,

    E' = X,    V' = (1 + c_w)^2 V + ({X X} - {E E} + ((1 + c_w)^2 - 1) {V}) / N,    starting from E = V = 0, X = K^1.
"""

from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from nnqft.core.normals import subkey
from nnqft.core.packing import multisets, pack
from nnqft.nets import base
from nnqft.nets.base import Array, Features, Known, Network
from nnqft.nets.draws import neurons, stacked
from nnqft.nets.influence import gaussian_paths, leading, moment_fluctuation, sum_over_pairings
from nnqft.nets.kernels import first_kernel, kernel_map
from nnqft.nets.mlp import EXAMPLE


class Options(base.Options):
    """Options of residual networks."""

    scaling: Literal["none", "depth"] = "none"
    """Variances of the branches: as everywhere (`none`), or divided by the number of branches (`depth`)."""


class Residual(Network):
    """`depth` residual branches on `width` neurons."""

    name: ClassVar[str] = "residual"
    Options: ClassVar[type[base.Options]] = Options
    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"x": EXAMPLE, "activation": "erf", "depth": 2, "sigma_w": 1.2, "sigma_b": 0.3},
        {"x": EXAMPLE, "activation": "linear", "depth": 3, "sigma_w": 0.8, "sigma_b": 0.4, "scaling": "depth"},
    )

    @property
    def scale(self) -> float:
        """Variances of the branches in units of sigma_w^2 and sigma_b^2."""
        return 1 / self.depth if self.options.scaling == "depth" else 1.0

    def features(
        self, key: jax.Array, network: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> Features:
        """phi(h^(R+1)): see :class:`nnqft.nets.base.Network`. Increments are drawn, h itself is carried."""
        variance = (sigma_b**2 + sigma_w**2 * jnp.mean(x**2, axis=1)).astype(self.dtype)
        matrix = stacked(x.T, sigma_w**2 / x.shape[1], sigma_b**2)
        h = neurons(subkey(key, 1), network, self.width, matrix, self.sampler, self.dtype)
        weight, bias = self.scale * sigma_w**2 / self.width, self.scale * sigma_b**2

        def branch(number: int, h: jax.Array) -> jax.Array:
            matrix = stacked(self.activation(h, variance), weight, bias)
            return h + neurons(subkey(key, number + 1), network, self.width, matrix, self.sampler, self.dtype)

        h = jax.lax.fori_loop(1, self.depth + 1, branch, h)
        return Features(self.activation(h, variance))

    def refuse(self, x: Array, sigma_b: float) -> tuple[str, str, str] | None:
        """The exponential unit has infinite variance on anything but a first layer."""
        if self.activation.kind == "lognormal":
            problem = f"the {self.activation.name} unit has infinite variance in residual networks"
            return "activation", problem, "use another activation, or network: mlp with depth: 1"
        return None

    def gp_kernel(self, x: Array, sigma_w: float, sigma_b: float) -> Array:
        """Kernel of the output: the recursion of the module's docstring and one map for the readout."""
        root = np.sqrt(self.scale)
        kernel = first_kernel(x, sigma_w, sigma_b)
        for _ in range(self.depth):
            kernel = kernel + kernel_map(self.activation, kernel, root * sigma_w, root * sigma_b)
        return kernel_map(self.activation, kernel, sigma_w, sigma_b)

    def known(self, x: Array, sigma_w: float, sigma_b: float, widths: Array) -> Known:
        """Linear: exact at any width, orders 2 and 4. Otherwise G4c at leading order."""
        if self.activation.name != "linear":
            return leading(self, x, sigma_w, sigma_b, widths)
        covariance = _linear_covariance(x, sigma_w, sigma_b, self.scale, self.depth, widths[:, :, None, None, None])
        a, b = multisets(len(x), 2).T
        pairs = covariance[:, a[:, None], b[:, None], a, b]
        values = {2: pack(self.gp_kernel(x, sigma_w, sigma_b)) + 0 * widths, 4: sum_over_pairings(pairs, len(x))}
        return Known(values, {2: "exact", 4: "exact"}, "order 6 is not derived for residual networks")

    def influence(
        self, key: jax.Array, paths: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> jax.Array:
        """psi^(R+1) + J^(R+1) A^(R+1) along the history of one neuron: see :class:`nnqft.nets.base.Network`."""
        variance = sigma_b**2 + sigma_w**2 * jnp.mean(x**2, axis=1)
        kernel = sigma_b**2 + sigma_w**2 * (x @ x.T) / x.shape[1]
        h = gaussian_paths(subkey(key, 1), paths, kernel)

        def branch(
            number: int, state: tuple[jax.Array, jax.Array, jax.Array]
        ) -> tuple[jax.Array, jax.Array, jax.Array]:
            h, kernel, fluctuation = state
            average, psi, jacobian = moment_fluctuation(self.activation, kernel, self.activation(h, variance))
            increment = self.scale * (sigma_b**2 + sigma_w**2 * average)
            h = h + gaussian_paths(subkey(key, number + 1), paths, increment)
            fluctuation = fluctuation + self.scale * sigma_w**2 * (psi + jacobian(fluctuation))
            return h, kernel + increment, fluctuation

        state = h, kernel, jnp.zeros((len(paths), *kernel.shape))
        h, kernel, fluctuation = jax.lax.fori_loop(1, self.depth + 1, branch, state)
        _, psi, jacobian = moment_fluctuation(self.activation, kernel, self.activation(h, variance))
        return sigma_w**2 * (psi + jacobian(fluctuation))


def _linear_covariance(x: Array, sigma_w: float, sigma_b: float, scale: float, branches: int, widths: Array) -> Array:
    """sigma_w^4 V of the last layer, (n_widths, n_x, n_x, n_x, n_x), for widths (n_widths, 1, 1, 1, 1)."""
    growth, bias = 1 + scale * sigma_w**2, scale * sigma_b**2
    mean = first_kernel(x, sigma_w, sigma_b)
    covariance = _crossed(np.multiply.outer(mean, mean)) / widths
    for _ in range(branches):
        following = growth * mean + bias
        gained = np.multiply.outer(following, following) - np.multiply.outer(mean, mean)
        gained = gained + (growth**2 - 1) * covariance
        covariance = growth**2 * covariance + _crossed(gained) / widths
        mean = following
    return sigma_w**4 * covariance


def _crossed(tensor: Array) -> Array:
    """{A}_abcd = A_acbd + A_adbc."""
    return np.einsum("...acbd->...abcd", tensor) + np.einsum("...adbc->...abcd", tensor)
