"""What every network is: a frozen description that can draw its last hidden layer and tell what theory knows of it.

The output is a linear readout f(x) = b + sum_i w_i s_i(x) of `units` features s_i of the last hidden layer, with
Var w = sigma_w^2 / units and Var b = sigma_b^2 unless the network says otherwise. So given the features, f is Gaussian
with covariance Khat_ab = sigma_b^2 + (sigma_w^2 / units) sum_i s_i(x_a) s_i(x_b), whatever lies below.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from nnqft.core.normals import subkey
from nnqft.nets.activations import Activation
from nnqft.nets.draws import covariance
from nnqft.nets.lanes import Lanes
from nnqft.nets.weightlaws import WeightLaw, draw_layer

Array = NDArray[np.float64]
Quality = Literal["exact", "quadrature", "sampled", "leading-1/N", "none"]
"""How a prediction was found; `sampled`: exact in N, a Monte Carlo average with a known error."""
Independence = Literal["iid", "given", "none"]
READOUT = 0xFFFF
"""Salt of the readout's key; layers take 1, 2, ..."""


class NotKnownError(ValueError):
    """A question about a network that has no answer here: says what is not known, and what to use instead."""


class Options(BaseModel):
    """Structural options of a network, validated; a network with options derives its own class."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


@dataclass(frozen=True)
class Features:
    """The last hidden layer of some networks.

    units: (networks, units, n_x), in the network's dtype. covariance: (networks, n_x, n_x) float64, the covariance of
    one last preactivation given everything before, when the units are phi of independent such Gaussians; else None.
    """

    units: jax.Array
    covariance: jax.Array | None = None


jax.tree_util.register_dataclass(Features, ["units", "covariance"], [])


@dataclass(frozen=True)
class Known:
    """What theory says about the connected correlators.

    values: order -> (n_widths, components), packed; an order that is missing has no prediction. quality: order -> how
    it was found. reason: why missing orders are missing. errors: order -> standard error (n_widths, components) of
    values that come from a Monte Carlo average.
    """

    values: dict[int, Array]
    quality: dict[int, Quality]
    reason: str = ""
    errors: dict[int, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Network(ABC):
    """All about an ensemble that a compiled kernel may not vary. Traced instead: x, sigma_w, sigma_b, the key."""

    activation: Activation
    depth: int
    width: int
    sampler: str = "conditional"
    dtype: str = "float64"
    options: Any = None
    """An instance of its Options; the default one if left out."""

    name: ClassVar[str]
    """Its name in scan files."""
    Options: ClassVar[type[BaseModel]] = Options
    fixed_activation: ClassVar[str | None] = None
    """The one activation of networks that leave no choice."""
    samplers: ClassVar[tuple[str, ...]] = ("conditional", "weights")
    examples: ClassVar[tuple[dict[str, Any], ...]] = ()
    """Arguments of :func:`nnqft.spec.grid.architecture` for small ensembles that the conformance test runs through."""

    def __post_init__(self) -> None:
        if self.options is None:
            object.__setattr__(self, "options", self.Options())

    @abstractmethod
    def features(
        self, key: jax.Array, network: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> Features:
        """The last hidden layer on all points.

        key (2,) uint32; network (networks,) uint32, the networks' numbers; x (n_x, d_in) float64; sigma_w, sigma_b
        float64 scalars. Every draw uses ``subkey(key, salt)`` with its own salt below READOUT.
        """

    @abstractmethod
    def gp_kernel(self, x: Array, sigma_w: float, sigma_b: float) -> Array:
        """Covariance (n_x, n_x) of the output at infinite width."""

    def refuse(self, x: Array, sigma_b: float) -> tuple[str, str, str] | None:
        """(key, problem, remedy) when these points, options or this bias cannot be measured, else None."""
        return None

    def unit(
        self, lanes: Lanes, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> tuple[jax.Array, jax.Array | None]:
        """Single features (lanes, n_x) of an `iid` network, and their importance weights (lanes,) or None.

        x, sigma_w and sigma_b as in `features`; `lanes.neurons` is traced: all widths share one compiled kernel. A
        factor of the features that does not depend on the point may be left out: see `common_moments`. NotKnownError
        for networks that draw whole layers only.
        """
        raise NotKnownError(f"how to draw single features of {self.name} networks is not known: use features()")

    def common_moments(self, points: int, dimension: int) -> tuple[float, float, float]:
        """E c^4, E c^6, E c^8 of a factor c common to all points, E c^2 = 1, that `unit` leaves out of a feature."""
        return 1.0, 1.0, 1.0

    @property
    def readout_law(self) -> WeightLaw:
        """Law of the readout's weights, up to their variance."""
        return WeightLaw("gaussian")

    @property
    def readout_moments(self) -> tuple[float, float, float]:
        """Standardised moments E a^{2k} of the readout's weights, orders 4, 6 and 8; `inf` where there is none."""
        return self.readout_law.moments

    @property
    def units(self) -> int:
        """Number of features that the readout adds up."""
        return self.width

    def working_set(self, points: int) -> int:
        """Numbers in memory while the features of one network are drawn, roughly."""
        return 4 * self.units * points

    @property
    def independence(self) -> Independence:
        """`iid`: features are independent across units; `given`: they are so given the layers before; or `none`."""
        return "none"

    def known(self, x: Array, sigma_w: float, sigma_b: float, widths: Array) -> Known:
        """Connected correlators at widths (n_widths, 1): exact where possible, else at leading order in 1/N."""
        return Known({}, {}, f"no prediction for {self.name} networks")

    def influence(
        self, key: jax.Array, paths: jax.Array, x: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array
    ) -> jax.Array:
        """Psi (paths, n_x, n_x), independent draws: delta Khat of the output -> (1/N) sum_i Psi(neuron i).

        So N G4c -> the sum over the 3 pairings of Cov(Psi, Psi). Draws as `features` does, by key and path number.
        NotKnownError where the network, or its options, have no such function.
        """
        what = f"the influence function of {self.name} networks is not known"
        raise NotKnownError(f"{what}: measure G4c on samples instead, at several widths")

    def readout(self, sigma_w: jax.Array, sigma_b: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(C_W, C_b): units times the variance of a readout weight, and the variance of the readout bias."""
        return sigma_w**2, sigma_b**2

    def kernel(self, units: jax.Array, sigma_w: jax.Array, sigma_b: jax.Array) -> jax.Array:
        """Khat (networks, n_x, n_x) float64: covariance of the output given the features (networks, units, n_x)."""
        weight, bias = self.readout(sigma_w, sigma_b)
        return covariance(units, weight / self.units, bias)

    def output(
        self,
        key: jax.Array,
        network: jax.Array,
        units: jax.Array,
        sigma_w: jax.Array,
        sigma_b: jax.Array,
        outputs: int = 1,
    ) -> jax.Array:
        """Outputs f(x): (networks, outputs, n_x) float64, given the features (networks, units, n_x)."""
        weight, bias = self.readout(sigma_w, sigma_b)
        sampler, law, weight = self.sampler, self.readout_law, weight / self.units
        f, _ = draw_layer(law, subkey(key, READOUT), network, outputs, units, weight, bias, sampler, self.dtype)
        return f.astype(jnp.float64)
