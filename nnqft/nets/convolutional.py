"""Convolutional networks: z_i(alpha) = b_i + sum_jk W_ijk phi_j(alpha + k), the same weights at every position alpha.

W ~ N(0, sigma_w^2 / (N k_s)) with k_s the number of filter taps and N the channels below (those of the input first),
b ~ N(0, sigma_b^2); zero padding does not renormalise the edges. Given the layer below, one channel at all points and
positions is a Gaussian vector, z = A^T g with A the patch matrix, and channels are independent. With P positions the
readout is

    vector: f = b + sum_i,alpha w_i,alpha phi_i(alpha),        Var w = sigma_w^2 / (N P),
    pool:   f = b + sum_i w_i (1/P) sum_alpha phi_i(alpha),    Var w = sigma_w^2 / N.

The kernel lives on pairs of (point, position) and is averaged over the taps between layers: Novak et al. 1810.05148,
Garriga-Alonso, Rasmussen and Aitchison 1808.05587. The width is the number of channels of every hidden layer. At one
hidden layer channels are iid, so that G2 = K and N G4c hold at every N.
"""

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, field_validator

from nnqft.core.gaussian import QuadratureError
from nnqft.core.normals import subkey
from nnqft.core.packing import multisets, pack, rank, unpack
from nnqft.nets import base
from nnqft.nets.averages import Estimate, gaussian_estimates, known_from
from nnqft.nets.base import Array, Features, Independence, Known, Network, Quality
from nnqft.nets.draws import neurons, stacked
from nnqft.nets.influence import PATHS, gaussian_paths, quartic, sum_over_pairings
from nnqft.nets.kernels import first_factor, first_kernel, has_closed_kernel, kernel_map
from nnqft.nets.lanes import Lanes, first_units
from nnqft.nets.maps import second_moment
from nnqft.nets.onelayer import closed_moments, unit_moments
from nnqft.nets.patches import Patches

DENSE = 48
"""Points times positions up to which closed moments are written out as a tensor of four legs."""
ENTRIES = 1 << 33
"""Entries of kernel matrices in one Monte Carlo average of the leading term."""
VALUES = 1 << 25
"""Activations in one quasi-Monte Carlo average."""


class Options(base.Options):
    """Options of convolutional networks."""

    shape: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1, max_length=2)]
    """Size of a signal [P] or of an image [H, W]; points are flattened, rows first, channels last."""
    channels: Annotated[int, Field(ge=1)] = 1
    """Channels of the input."""
    filter: Annotated[int, Field(ge=1)] = 3
    """Taps of a filter along each dimension, an odd number."""
    padding: Literal["circular", "zero"] = "circular"
    """What lies beyond the edges: the other side, or nothing."""
    readout: Literal["vector", "pool"] = "vector"
    """A weight for every position, or one for the average over positions."""

    @field_validator("filter")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"the filter must have a middle: give an odd number (got {value})")
        return value


_SIGNAL = {"x": [[1, 0.5, -0.3, 0.8, -0.6], [-0.4, 0.9, 0.2, -1, 0.3]], "shape": [5], "sigma_w": 1.2, "sigma_b": 0.3}
_IMAGE = {
    "x": [[1, 0.5, -0.3, 0.8, -0.6, 0.2], [-0.4, 0.9, 0.1, -0.4, 0.9, 0.2]],
    "shape": [2, 3],
    "sigma_w": 1.3,
    "sigma_b": 0.2,
}


class Convolutional(Network):
    """`depth` convolutions to `width` channels."""

    name: ClassVar[str] = "convolutional"
    Options: ClassVar[type[base.Options]] = Options
    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {**_SIGNAL, "activation": "erf", "depth": 1, "readout": "pool"},
        {**_SIGNAL, "activation": "erf", "depth": 2, "padding": "zero"},
        {**_IMAGE, "activation": "relu", "depth": 2, "padding": "circular", "readout": "pool"},
    )

    @property
    def patches(self) -> Patches:
        """The geometry of the filters."""
        return Patches(self.options.shape, self.options.filter, self.options.padding == "circular")

    def working_set(self, points: int) -> int:
        """The patches of all channels at all positions, and a factor over positions."""
        columns = points * self.patches.positions
        return columns * (columns + 4 * self.width + (self.depth > 1) * 2 * self.width * self.patches.taps)

    @property
    def units(self) -> int:
        """Channels, or channels times positions."""
        return self.width * (1 if self.options.readout == "pool" else self.patches.positions)

    @property
    def independence(self) -> Independence:
        """Position averages of a first layer are iid; in other cases positions or layers correlate the units."""
        return "iid" if self.depth == 1 and self.options.readout == "pool" else "none"

    def features(
        self, key: jax.Array, network: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> Features:
        """Phi at every position, channels first, or its average: see :class:`nnqft.nets.base.Network`."""
        patches, inputs = self.patches, self._inputs(x)
        variance = (sigma_b**2 + sigma_w**2 * jnp.mean(inputs**2, axis=0)).astype(self.dtype)
        matrix = stacked(inputs, sigma_w**2 / len(inputs), sigma_b**2)
        z = neurons(subkey(key, 1), network, self.width, matrix, self.sampler, self.dtype)
        for layer in range(2, self.depth + 1):
            below = patches.unfold(self.activation(z, variance))
            matrix = stacked(below, sigma_w**2 / below.shape[-2], sigma_b**2)
            z = neurons(subkey(key, layer), network, self.width, matrix, self.sampler, self.dtype)
        units = self.activation(z, variance).reshape(len(network), self.width, len(x), patches.positions)
        if self.options.readout == "pool":
            return Features(units.mean(axis=-1))
        return Features(units.swapaxes(-1, -2).reshape(len(network), self.units, len(x)))

    def unit(
        self, lanes: Lanes, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> tuple[jax.Array, jax.Array | None]:
        """Position averages of single channels at depth 1: see :class:`nnqft.nets.base.Network`."""
        law = self._inputs(x).T, sigma_w, sigma_b, self.sampler, self.dtype
        units, weight = first_units(self.activation, lanes, *law)
        return units.reshape(-1, len(x), self.patches.positions).mean(axis=-1), weight

    def refuse(self, x: Array, sigma_b: float) -> tuple[str, str, str] | None:
        """Points that are not such images, and the exponential unit beyond one hidden layer."""
        wanted = self.patches.positions * self.options.channels
        if x.shape[1] != wanted:
            size = " x ".join(str(s) for s in (*self.options.shape, self.options.channels))
            problem = f"points have {x.shape[1]} coordinates, not {size} = {wanted}"
            return "options.shape", problem, "give shape: [P] or [H, W], and channels"
        if self.activation.kind == "lognormal" and self.depth > 1:
            problem = f"the {self.activation.name} unit has infinite variance beyond one hidden layer"
            return "depth", f"{problem} (got {self.depth})", "use depth: 1, or another activation"
        return None

    def gp_kernel(self, x: Array, sigma_w: float, sigma_b: float) -> Array:
        """Kernel of the output, from that of all pairs of (point, position)."""
        kernel = first_kernel(np.asarray(self._inputs(x)).T, sigma_w, sigma_b)
        moment = kernel_map(self.activation, kernel, 1.0, 0.0)
        for _ in range(1, self.depth):
            kernel = sigma_b**2 + sigma_w**2 * np.asarray(self.patches.average(moment))
            moment = kernel_map(self.activation, kernel, 1.0, 0.0)
        return sigma_b**2 + sigma_w**2 * np.asarray(self._read(moment))

    def known(self, x: Array, sigma_w: float, sigma_b: float, widths: Array) -> Known:
        """One hidden layer: G2 and N G4c at any N. Deeper: N G4c at leading order."""
        if self.depth > 1:
            paths = int(np.clip(ENTRIES // (len(x) * self.patches.positions) ** 2, 1 << 10, PATHS))
            value, error = quartic(self, x, sigma_w, sigma_b, paths)
            reason = "the 1/N correction of order 2 and order 6 are not computed for convolutional networks"
            return Known({4: value / widths}, {4: "leading-1/N"}, reason, {4: error / widths})
        try:
            kernel = self.gp_kernel(x, sigma_w, sigma_b)
        except QuadratureError as error:
            return Known({}, {}, str(error))
        second: Quality = "exact" if has_closed_kernel(self.activation) else "quadrature"
        channel = self._channel_quartic(x, sigma_w, sigma_b)
        fourth = Estimate(sigma_w**4 * channel.value / widths, sigma_w**4 * channel.error / widths)
        found = known_from({4: fourth}, "order 6 is not computed for convolutional networks")
        values, quality = {2: pack(kernel) + 0 * widths} | found.values, {2: second} | found.quality
        return replace(found, values=values, quality=quality)

    def influence(
        self, key: jax.Array, paths: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> jax.Array:
        """Response of the output to what one channel of each layer adds to <phi phi^T>: see the base class.

        The response is a fixed linear form, found once by differentiating the recursion of kernels backwards.
        """
        inputs = self._inputs(x)
        first = sigma_b**2 + sigma_w**2 * (inputs.T @ inputs) / len(inputs)

        def output(added: jax.Array) -> tuple[jax.Array, list[tuple[jax.Array, jax.Array]]]:
            kernel, layers, moment, extra = first, [], jnp.zeros_like(first), jnp.zeros_like(first)
            for extra in added:
                moment = second_moment(self.activation, kernel)
                layers.append((kernel, moment))
                kernel = sigma_b**2 + sigma_w**2 * self.patches.average(moment + extra)
            return sigma_w**2 * self._read(moment + extra), layers

        response, layers = jax.jacrev(output, has_aux=True)(jnp.zeros((self.depth, *first.shape)))
        psi = jnp.zeros((len(paths), len(x), len(x)))
        for layer, (kernel, moment) in enumerate(layers):
            z = gaussian_paths(subkey(key, layer + 1), paths, kernel)
            phi, weight = self.activation(z, jnp.diagonal(first)), response[:, :, layer]
            psi = psi + jnp.einsum("pabj,pj->pab", jnp.einsum("pi,abij->pabj", phi, weight), phi)
            psi = psi - jnp.einsum("ij,abij->ab", moment, weight)
        return psi

    def _inputs(self, x: Array | jax.Array) -> jax.Array:
        """Patches of the input: (channels k_s, n_x P)."""
        images = jnp.asarray(x).reshape(len(x), self.patches.positions, self.options.channels)
        return self.patches.unfold(images.transpose(2, 0, 1).reshape(self.options.channels, -1))

    def _read(self, moment: Array | jax.Array) -> jax.Array:
        """What the readout makes of <phi phi^T> (..., n_x P, n_x P): (..., n_x, n_x)."""
        P = self.patches.positions
        blocks = jnp.asarray(moment).reshape(*moment.shape[:-2], moment.shape[-2] // P, P, moment.shape[-1] // P, P)
        if self.options.readout == "pool":
            return blocks.mean(axis=(-3, -1))
        return jnp.einsum("...apbp->...ab", blocks) / P

    def _channel_quartic(self, x: Array, sigma_w: float, sigma_b: float) -> Estimate:
        """N G4c / sigma_w^4 at depth 1, packed, at any N: the covariances of what one channel adds to the kernel.

        Closed form (linear, gauss) or an average over one filter's weights.
        """
        inputs, n, P = np.asarray(self._inputs(x)), len(x), self.patches.positions
        factor = first_factor(inputs.T, sigma_w, sigma_b)
        if closed_moments(self.activation, factor) and n * P <= DENSE:
            moments = unit_moments(self.activation, factor, (2, 4))
            tensor = moments[4][rank(np.moveaxis(np.indices((n * P,) * 4), 0, -1), n * P)]
            fourth = self._read(jnp.moveaxis(self._read(tensor), (-2, -1), (0, 1)))
            mean = pack(np.asarray(self._read(unpack(moments[2], n * P))))
            covariance = pack(np.moveaxis(pack(np.asarray(fourth)), -1, 0)) - np.outer(mean, mean)
            value = sum_over_pairings(covariance, n)
            return Estimate(value, 0 * value)
        return self._integrated_quartic(factor, n)

    def _integrated_quartic(self, factor: Array, n: int) -> Estimate:
        """The same by integration; factor (n_x P, r) of the first layer's kernel."""
        rows, columns = multisets(n, 2).T
        variance = jnp.asarray((factor**2).sum(axis=1))

        @jax.jit
        def contribution(g: jax.Array) -> jax.Array:
            phi = self.activation(g @ factor.T, variance).reshape(len(g), n, -1)
            phi = phi.mean(axis=-1, keepdims=True) if self.options.readout == "pool" else phi
            return (phi[:, rows] * phi[:, columns]).mean(axis=-1)

        def integrand(g: Array) -> tuple[Array, Array]:
            return np.asarray(contribution(jnp.asarray(g))), np.empty((len(g), 0))

        def summary(mean: Array, covariance: Array, more: Array) -> tuple[Array]:
            return (sum_over_pairings(covariance, n),)

        kind = {"smooth": self.activation.kind == "smooth", "even": self.activation.odd}
        amplitudes = np.max(np.abs(factor), axis=0)
        return gaussian_estimates(integrand, summary, amplitudes, VALUES // len(factor), **kind)[0]
