"""The cosine network f(x) = sum_i w_i cos(b_i . x + c_i), exact at every width (Halverson 2112.04527 section 3.2).

b_i ~ N(0, sigma_w^2 / d_in), phases c_i uniform on the circle, w_i of variance amplitude^2 / N: translation-invariant.
Averages over the phase leave sign patterns of sum zero, those over b their characteristic function,

    <s_1 ... s_2k> = 2^-2k sum over epsilon in {-1, 1}^2k, sum 0, of exp(-sigma_w^2 |sum_j epsilon_j x_j|^2 / (2 d_in)),

for one s = cos(b . x + c); the correlators are N^(1-k) times the cumulants of one neuron, exactly. With amplitude
sqrt 2 the variance at a point is 1; `readout_law: sign` makes all |w_i| equal (Demirtas et al. 2307.03223 section 5).
"""

from dataclasses import replace
from itertools import product
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from nnqft.core.normals import lane_normals, threefry
from nnqft.core.packing import multisets
from nnqft.nets import base
from nnqft.nets.base import Array, Features, Independence, Known, Network
from nnqft.nets.lanes import Lanes
from nnqft.nets.weightlaws import LawName, WeightLaw, neuron_cumulants

ORDERS = (2, 4, 6, 8)


class Options(base.Options):
    """Options of cosine networks."""

    amplitude: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    """Weights of the readout have variance amplitude^2 / N."""
    readout_law: LawName = "gaussian"
    """Law of the readout's weights: gaussian, uniform, sign, student-NU or sparse-P."""


class Cosine(Network):
    """One layer of cosines with random phases."""

    name: ClassVar[str] = "cosine"
    Options: ClassVar[type[base.Options]] = Options
    fixed_activation: ClassVar[str | None] = "cos"
    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"x": [[0.0, 0.0], [0.5, 0.0], [-0.5, 0.3]], "sigma_w": 1.3, "amplitude": 1.5},
    )

    def features(
        self, key: jax.Array, network: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> Features:
        """cos(b . x + c): see :class:`nnqft.nets.base.Network`."""
        index = jnp.arange(self.width, dtype=jnp.uint32)
        return Features(self.unit(Lanes(key, network[:, None], index, self.width), x, sigma_w, sigma_b)[0])

    def unit(
        self, lanes: Lanes, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> tuple[jax.Array, jax.Array | None]:
        """Single neurons, of one broadcast shape of network and index: see :class:`nnqft.nets.base.Network`."""
        matrix = x.T * (sigma_w / np.sqrt(x.shape[1]))
        if self.sampler == "conditional" and matrix.shape[0] > matrix.shape[1]:
            matrix = jnp.linalg.qr(matrix, mode="r")
        g = jnp.stack(lane_normals(*lanes.salted(1), matrix.shape[0])).astype(self.dtype)
        z = jnp.einsum("k...,ka->...a", g, matrix.astype(self.dtype), precision="highest")
        phase = threefry(lanes.salted(2).key, *jnp.broadcast_arrays(lanes.network, lanes.neuron))[0].astype(self.dtype)
        return jnp.cos(z + (phase * np.asarray(2 * np.pi / 2**32, self.dtype))[..., None]), None

    @property
    def readout_law(self) -> WeightLaw:
        """Law of the readout's weights."""
        return WeightLaw(self.options.readout_law)

    def readout(self, sigma_w: jax.Array, sigma_b: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(amplitude^2, 0)."""
        return jnp.asarray(self.options.amplitude**2, dtype=jnp.float64), jnp.zeros((), dtype=jnp.float64)

    @property
    def independence(self) -> Independence:
        """Neurons are iid."""
        return "iid"

    def refuse(self, x: Array, sigma_b: float) -> tuple[str, str, str] | None:
        """There is one hidden layer, and its phases leave no place for biases."""
        if self.depth > 1:
            return "depth", f"a cosine network has one hidden layer (got {self.depth})", "use depth: 1"
        if sigma_b != 0:
            return "sigma_b", f"a cosine network has random phases and no bias (got {sigma_b})", "use sigma_b: 0"
        return None

    def gp_kernel(self, x: Array, sigma_w: float, sigma_b: float) -> Array:
        """amplitude^2 / 2 exp(-sigma_w^2 |x_a - x_b|^2 / (2 d_in))."""
        square = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
        return self.options.amplitude**2 / 2 * np.exp(-(sigma_w**2) * square / (2 * x.shape[1]))

    def known(self, x: Array, sigma_w: float, sigma_b: float, widths: Array) -> Known:
        """Exact at every width up to order 8, as far as the readout's weights have moments."""
        moments = {order: unit_moments(x, sigma_w, order) for order in ORDERS}
        values = {
            order: self.options.amplitude**order * found / widths ** (order // 2 - 1)
            for order, found in neuron_cumulants(moments, len(x), self.readout_moments).items()
        }
        missing = len(values) < len(ORDERS)
        reason = f"{self.readout_law.name} weights of the readout have no such moments" if missing else ""
        return Known(values, dict.fromkeys(values, "exact"), reason)

    def influence(
        self, key: jax.Array, paths: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> jax.Array:
        """amplitude^2 (s s^T - <s s^T>): see :class:`nnqft.nets.base.Network`."""
        s = replace(self, width=1).features(key, paths, x, sigma_w, sigma_b).units[:, 0].astype(jnp.float64)
        square = ((x[:, None] - x[None]) ** 2).sum(axis=-1)
        average = jnp.exp(-(sigma_w**2) * square / (2 * x.shape[1])) / 2
        return self.options.amplitude**2 * (s[:, :, None] * s[:, None, :] - average)


def unit_moments(x: Array, sigma_w: float, order: int) -> Array:
    """Packed moments <s_1 ... s_order> of s = cos(b . x + c) at x (n_x, d_in)."""
    signs = np.array([e for e in product((-1, 1), repeat=order) if sum(e) == 0])
    centred = x - x.mean(axis=0)
    momenta = np.einsum("sj,cjd->csd", signs, centred[multisets(len(x), order)])
    return np.exp(-(sigma_w**2) * (momenta**2).sum(axis=-1) / (2 * x.shape[1])).sum(axis=1) / 2**order
