"""Multilayer perceptrons: z^(1) = b + W x, z^(l+1) = b + W phi(z^(l)), f = b + W phi(z^(L)), everything independent.

W ~ N(0, sigma_w^2 / fan_in), b ~ N(0, sigma_b^2), the readout's too (Halverson, Maiti, Stoner 2008.08601; Yaida
1910.00019; Roberts, Yaida and Hanin 2106.10165). Options: a width for every layer, normalised preactivations
(:mod:`nnqft.nets.normalised`), and weights of the same variance that are not Gaussian (:mod:`nnqft.nets.weightlaws`).
Non-Gaussian weights of the readout change G4c at leading order and those between hidden layers only G2 - K; in the
first layer, whose fan-in is fixed, they change the infinite-width kernel itself.
"""

from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from nnqft.core.gaussian import MAX_DIMENSION, QuadratureError
from nnqft.core.normals import subkey
from nnqft.core.packing import pack, unpack
from nnqft.nets import base
from nnqft.nets.base import Array, Features, Independence, Known, Network, NotKnownError, Quality
from nnqft.nets.deep import FiniteWidth, chain, fourth_moments, plain_step
from nnqft.nets.influence import gaussian_paths, moment_fluctuation, sum_over_pairings
from nnqft.nets.kernels import evaluate, first_factor, first_kernel, gp_kernel, has_closed_kernel, kernel_map
from nnqft.nets.lanes import Lanes, first_units, radial_moments
from nnqft.nets.normalised import Norm, correlations, fluctuation, layer_step, normalise, normalised_kernel, rms_step
from nnqft.nets.onelayer import closed_moments, unit_moments
from nnqft.nets.weightlaws import (
    LawName,
    WeightLaw,
    draw_layer,
    draw_units,
    enumerable,
    first_moments,
    neuron_cumulants,
)

EXAMPLE = [[1.0, 0.5], [-0.3, 0.8], [0.6, -1.0]]
STEPS = {"none": plain_step, "rms": rms_step, "layer": layer_step}
EIGHTH = 2
"""Order 8 of one hidden layer is integrated in up to this many dimensions: beyond, it takes minutes."""
CONVERGED = 1e-6
"""Largest last change of a quadrature over non-Gaussian first weights that counts as a prediction."""


class Options(base.Options):
    """Options of multilayer perceptrons."""

    layer_widths: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = ()
    """Widths of the hidden layers as multiples of the scan's width (rounded, at least 1); all 1 if left out."""
    norm: Norm = "none"
    """Normalisation of the preactivations over the neurons of a layer: none, rms (RMSNorm) or layer (LayerNorm)."""
    hidden_law: LawName = "gaussian"
    """Law of the weights between the hidden layers: gaussian, uniform, sign, student-NU or sparse-P."""
    first_law: LawName | None = None
    """Law of the first layer's weights; that of `hidden_law` if left out."""
    readout_law: LawName = "gaussian"
    """Law of the readout's weights."""


class MLP(Network):
    """`depth` hidden layers of `width` neurons, or of the multiples of it that `layer_widths` says."""

    name: ClassVar[str] = "mlp"
    Options: ClassVar[type[base.Options]] = Options
    samplers: ClassVar[tuple[str, ...]] = ("conditional", "weights", "tilted")
    examples: ClassVar[tuple[dict[str, Any], ...]] = (
        {"x": EXAMPLE, "activation": "erf", "sigma_w": 1.2, "sigma_b": 0.3},
        {"x": EXAMPLE, "activation": "tanh", "depth": 3, "sigma_w": 1.3, "layer_widths": [1, 0.5, 2]},
        {"x": EXAMPLE, "activation": "gelu", "depth": 2, "sigma_w": 1.2, "sigma_b": 0.3, "norm": "layer"},
    )

    def layers(self, width: int) -> tuple[int, ...]:
        """Neurons of every hidden layer when the scan's width is `width`."""
        return tuple(max(1, round(f * width)) for f in self.options.layer_widths or (1,) * self.depth)

    @property
    def units(self) -> int:
        """Neurons of the last hidden layer."""
        return self.layers(self.width)[-1]

    @property
    def hidden_law(self) -> WeightLaw:
        """Law of the weights between hidden layers."""
        return WeightLaw(self.options.hidden_law)

    @property
    def first_law(self) -> WeightLaw:
        """Law of the weights of the first layer."""
        return WeightLaw(self.options.first_law or self.options.hidden_law)

    @property
    def readout_law(self) -> WeightLaw:
        """Law of the weights of the readout."""
        return WeightLaw(self.options.readout_law)

    def features(
        self, key: jax.Array, network: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> Features:
        """phi(z^(L)): see :class:`nnqft.nets.base.Network`."""
        variance = self._variance(x, sigma_w, sigma_b)
        units, law, square = x.T, self.first_law, None
        for number, count in enumerate(self.layers(self.width), start=1):
            own, weight, bias = subkey(key, number), sigma_w**2 / units.shape[-2], sigma_b**2
            z, square = draw_layer(law, own, network, count, units, weight, bias, self.sampler, self.dtype)
            units, law = self.activation(normalise(self.options.norm, z), variance), self.hidden_law
        if self.options.norm != "none" or square is None:
            return Features(units)
        return Features(units, jnp.broadcast_to(square, (len(network), *square.shape[-2:])))

    def unit(
        self, lanes: Lanes, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> tuple[jax.Array, jax.Array | None]:
        """Neurons of the only hidden layer, one by one: see :class:`nnqft.nets.base.Network`."""
        if not self.first_law.gaussian:
            weight = sigma_w**2 / x.shape[1]
            z = draw_units(self.first_law, lanes.salted(1), x.T, weight, sigma_b**2, self.dtype)
            return self.activation(z, self._variance(x, sigma_w, sigma_b)), None
        law = sigma_w, sigma_b, self.sampler, self.dtype
        return first_units(self.activation, lanes, x, *law, self._directions)

    def common_moments(self, points: int, dimension: int) -> tuple[float, float, float]:
        """Of the length of a neuron's weights, where only their direction is drawn."""
        return radial_moments(points, dimension) if self._directions else (1.0, 1.0, 1.0)

    @property
    def _directions(self) -> bool:
        homogeneous = self.activation.kind == "homogeneous" or self.activation.name == "linear"
        return homogeneous and self.sampler == "conditional" and self.first_law.gaussian

    @property
    def independence(self) -> Independence:
        """Neurons are iid in the first layer, and given the layer below in the others, without norm."""
        if self.options.norm != "none":
            return "none"
        if self.depth == 1:
            return "iid"
        return "given" if self.hidden_law.gaussian else "none"

    def refuse(self, x: Array, sigma_b: float) -> tuple[str, str, str] | None:
        """The exponential unit has infinite variance beyond one hidden layer; see also :class:`Options`."""
        options, unit, laws = self.options, self.activation, (self.first_law, self.hidden_law)
        if unit.kind == "lognormal" and self.depth > 1:
            problem = f"the {unit.name} unit has infinite variance beyond one hidden layer"
            return "depth", f"{problem} (got {self.depth})", "use depth: 1, or another activation"
        if options.layer_widths and len(options.layer_widths) != self.depth:
            problem = f"{len(options.layer_widths)} widths for {self.depth} hidden layers"
            return "options.layer_widths", problem, "give one multiple of the width for every hidden layer"
        if options.norm != "none" and unit.kind == "lognormal":
            return "options.norm", f"the {unit.name} unit has a normalisation of its own", "leave the key out"
        if options.norm != "none" and self.sampler == "tilted":
            return "sampler", "tilting needs independent neurons, which a norm correlates", "use sampler: conditional"
        if all(law.gaussian for law in laws):
            return None
        if self.sampler != "weights":
            problem = f"weights that are not Gaussian need sampler: weights (got {self.sampler})"
            return "options.hidden_law", problem, "use sampler: weights, or Gaussian hidden weights"
        if unit.kind == "lognormal":
            return "options.hidden_law", f"the {unit.name} unit is normalised for Gaussian weights", "leave the key out"
        if not self.first_law.gaussian and not enumerable(self.first_law, x.shape[1]):
            problem = f"the kernel of {self.first_law.name} first weights needs quadrature in {x.shape[1]} dimensions"
            return "options.first_law", problem, "use first_law: gaussian, or fewer input dimensions"
        return None

    def gp_kernel(self, x: Array, sigma_w: float, sigma_b: float) -> Array:
        """K^(L+1), the layer recursion, through correlations where preactivations are normalised."""
        unit, norm = self.activation, self.options.norm
        if self.first_law.gaussian and norm == "none":
            return gp_kernel(unit, x, self.depth, sigma_w, sigma_b)
        if self.first_law.gaussian:
            return normalised_kernel(unit, first_kernel(x, sigma_w, sigma_b), self.depth, sigma_w, sigma_b)
        moments, _ = self._first_moments(x, sigma_w, sigma_b, (2,))
        kernel = unpack(sigma_b**2 + sigma_w**2 * moments[2], len(x))
        for _ in range(self.depth - 1):
            kernel = kernel_map(unit, kernel if norm == "none" else correlations(kernel), sigma_w, sigma_b)
        return kernel

    def known(self, x: Array, sigma_w: float, sigma_b: float, widths: Array) -> Known:
        """One hidden layer: exact or quadrature, all orders up to four variables. Deeper: leading order, G2 and G4c.

        With a norm: leading order, G4c. Of more than one layer on first weights that are not Gaussian: nothing.
        """
        if self.depth == 1 and self.options.norm == "none":
            return self._one_layer(x, sigma_w, sigma_b, widths)
        if not self.first_law.gaussian:
            return Known({}, {}, f"the neurons of a first layer of {self.first_law.name} weights are not Gaussian")
        try:
            return self._leading(x, sigma_w, sigma_b, widths)
        except QuadratureError as error:
            return Known({}, {}, str(error))

    def _one_layer(self, x: Array, sigma_w: float, sigma_b: float, widths: Array) -> Known:
        """Cumulants of iid neurons: exact at any width, order by order."""
        units = self._sizes(widths)[:, -1:]
        kernel = pack(self.gp_kernel(x, sigma_w, sigma_b))
        closed = has_closed_kernel(self.activation) and self.first_law.gaussian
        second: Quality = "exact" if closed else "quadrature"
        try:
            moments, quality, reason = self._moments(x, sigma_w, sigma_b)
        except QuadratureError as error:
            return Known({2: kernel + 0 * widths}, {2: second}, str(error))
        cumulants = neuron_cumulants(moments, len(x), self.readout_moments)
        values = {k: sigma_w**k * found / units ** (k // 2 - 1) for k, found in cumulants.items() if k > 2}
        if len(cumulants) < len(moments):
            reason = f"{self.readout_law.name} weights of the readout have no such moments"
        qualities: dict[int, Quality] = {2: second}
        qualities.update(dict.fromkeys(values, quality))
        return Known({2: kernel + 0 * widths} | values, qualities, reason)

    def _moments(self, x: Array, sigma_w: float, sigma_b: float) -> tuple[dict[int, Array], Quality, str]:
        """Packed moments of one neuron of the first layer, how they were found, and why not to a higher order."""
        unit = self.activation
        if not self.first_law.gaussian:
            if not self.first_law.light:
                return self._first_moments(x, sigma_w, sigma_b, (2,))[0], "quadrature", "first weights of heavy tails"
            moments, change = self._first_moments(x, sigma_w, sigma_b, (2, 4, 6))
            if change > CONVERGED:
                raise QuadratureError(f"quadrature over the first layer's weights: last change {change:.1e}")
            return moments, "quadrature", ""
        factor = first_factor(x, sigma_w, sigma_b)
        if closed_moments(unit, factor):
            return unit_moments(unit, factor, (2, 4, 6, 8)), "exact", ""
        if factor.shape[1] <= MAX_DIMENSION:
            orders = (2, 4, 6, 8) if factor.shape[1] <= EIGHTH else (2, 4, 6)
            return unit_moments(unit, factor, orders), "quadrature", "order 8 needs a quadrature of minutes"
        kernel = first_kernel(x, sigma_w, sigma_b)
        moments = {2: pack(kernel_map(unit, kernel, 1.0, 0.0)), 4: fourth_moments(unit, kernel)}
        return moments, "quadrature", f"order 6 needs quadrature in more than {MAX_DIMENSION} dimensions"

    def _leading(self, x: Array, sigma_w: float, sigma_b: float, widths: Array) -> Known:
        """Leading order in 1/N of the layers' own widths."""
        norm, n = self.options.norm, len(x)
        kernel = first_kernel(x, sigma_w, sigma_b)
        steps = chain(self.activation, sigma_w, sigma_b, kernel, self.depth, STEPS[norm])
        fractions = [tuple(row) for row in self._sizes(widths) / widths]
        found: dict[tuple[float, ...], FiniteWidth] = {}
        for row in fractions:
            found.setdefault(row, steps.finite_width(row, self.hidden_law.kappa))
        same = sum_over_pairings(steps.steps[-1].quartic, n) / 3
        quartic = np.array([found[row].output_quartic() + self.readout_law.kappa * same / row[-1] for row in fractions])
        values = {4: quartic / widths}
        if norm == "none":
            values[2] = np.array([found[row].output_kernel(w) for row, w in zip(fractions, widths, strict=True)])
        reason = "order 6 is not predicted beyond depth 1"
        if norm != "none":
            reason = "the 1/N correction of order 2 and order 6 are not derived for normalised preactivations"
        return Known(values, dict.fromkeys(values, "leading-1/N"), reason)

    def _first_moments(
        self, x: Array, sigma_w: float, sigma_b: float, orders: tuple[int, ...]
    ) -> tuple[dict[int, Array], float]:
        """Moments of a neuron of a first layer whose weights are not Gaussian, normalised if need be."""
        design = np.concatenate([sigma_w / np.sqrt(x.shape[1]) * x, np.full((len(x), 1), sigma_b)], axis=1)
        if self.options.norm != "none":
            length = np.linalg.norm(design, axis=1, keepdims=True)
            design = np.divide(design, length, out=np.zeros_like(design), where=length > 0)
        return first_moments(self.first_law, lambda z: evaluate(self.activation, z), design, orders)

    def _sizes(self, widths: Array) -> Array:
        """Neurons of every hidden layer, (n_widths, depth), at widths (n_widths, 1)."""
        return np.array([self.layers(round(float(width))) for width in widths.ravel()], dtype=np.float64)

    def _variance(self, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array) -> jax.Array:
        """What the activation is told of the first preactivations: their exact variance, (n_x,)."""
        return (sigma_b**2 + sigma_w**2 * jnp.mean(x**2, axis=1)).astype(self.dtype)

    def influence(
        self, key: jax.Array, paths: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> jax.Array:
        """One neuron of every layer, a layer of f N neurons weighted 1 / sqrt(f); for Gaussian first weights.

        See :class:`nnqft.nets.base.Network`. NotKnownError for other laws of the first layer.
        """
        if not self.first_law.gaussian:
            what = f"the influence function of first-layer weights of the law {self.first_law.name} is not known"
            raise NotKnownError(f"{what}: use first_law: gaussian, or measure G4c on samples")
        norm, unit = self.options.norm, self.activation
        variance = sigma_b**2 + sigma_w**2 * jnp.mean(x**2, axis=1)
        kernel = sigma_b**2 + sigma_w**2 * (x @ x.T) / x.shape[1]
        total = jnp.zeros((len(paths), *kernel.shape))
        for number, fraction in enumerate(self.options.layer_widths or (1.0,) * self.depth, start=1):
            z, root = gaussian_paths(subkey(key, number), paths, kernel), np.sqrt(fraction)
            if norm == "none":
                average, psi, jacobian = moment_fluctuation(unit, kernel, unit(z, variance))
                total = psi / root + jacobian(total)
            else:
                own = jnp.diagonal(kernel)
                u = z * jnp.where(own > 0, jax.lax.rsqrt(jnp.where(own > 0, own, 1.0)), 0.0)
                average, step = fluctuation(norm, unit, kernel, u, variance, root * total)
                total = step / root
            kernel, total = sigma_b**2 + sigma_w**2 * average, sigma_w**2 * total
        return total
