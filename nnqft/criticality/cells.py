"""The scan points of `measure: [criticality]`: perceptrons layer by layer, recurrent networks step by step."""

import json
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from nnqft.core.errors import InputError
from nnqft.core.gaussian import QuadratureError
from nnqft.core.hashing import block_key, canonical_json
from nnqft.criticality.averages import resolved
from nnqft.nets.kernels import first_kernel
from nnqft.nets.recurrent import Options
from nnqft.nets.registry import kind_and_options
from nnqft.sampling.unit import Array, Block, Leaf, Unit, grouped, length, packed
from nnqft.spec.grid import Architecture, architectures
from nnqft.spec.model import Scan

if TYPE_CHECKING:
    from nnqft.criticality.dynamics import DynamicsSpec
    from nnqft.criticality.propagation import PropagationSpec
    from nnqft.criticality.propagation_reference import Reference

VERSION = 1
"""Of the two kernels; raised with every change that alters their numbers."""
POINTS = 4
"""Most input points of a perceptron: the source of fluctuations needs as many dimensions as distinct points."""
SUBBATCHES = 16
"""Sub-batches in a block of perceptrons."""


@dataclass(frozen=True)
class CriticalCell(Unit):
    """One (architecture, width); settings: canonical JSON of what else fixes its statistics."""

    architecture: Architecture
    width: int
    seed: int
    block: int
    settings: str = "{}"
    version: int = VERSION

    @property
    def label(self) -> str:
        """The architecture's name."""
        return self.architecture.name

    @cached_property
    def static(self) -> dict[str, Any]:
        """Depth is part of it: the statistics of a leaf have one shape."""
        law = self.architecture.law()
        own = {"measurement": "criticality", "method": self.method, "settings": json.loads(self.settings)}
        shared = {key: getattr(self, key) for key in ("seed", "block", "version")}
        return own | shared | {key: law[key] for key in ("network", "activation", "coordinates", "options", "depth")}

    @cached_property
    def varying(self) -> dict[str, Any]:
        """Content that tells the units of a leaf apart."""
        a = self.architecture
        return {"sigma_w": a.sigma_w, "sigma_b": a.sigma_b, "width": self.width}

    def key(self, block: int) -> np.ndarray:
        """Key of one block's draws."""
        draws = {"seed": self.seed, "width": self.width, "architecture": self.architecture.law()}
        return block_key(draws | {"measurement": "criticality"}, block)

    @cached_property
    @abstractmethod
    def spec(self) -> Any:
        """What a compiled kernel depends on."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays of one block."""
        batches = self.spec.subbatches
        return {"moments": (batches, length(self.spec.layout)), "tail": (1,), "count": (batches,)}

    @property
    def memory(self) -> int:
        """Bytes that computing a block takes."""
        return 3 * 8 * self.shapes["moments"][0] * self.shapes["moments"][1] + 2**26


class Perceptron(CriticalCell):
    """Perceptrons of `depth` hidden layers on up to `POINTS` points."""

    @property
    def method(self) -> str:
        """The chain of empirical kernels."""
        return "chain"

    @cached_property
    def spec(self) -> "PropagationSpec":
        """What a compiled kernel depends on."""
        from nnqft.criticality.propagation import PropagationSpec

        a = self.architecture
        return PropagationSpec(a.activation, len(a.x), self.width, a.depth, self.block, min(SUBBATCHES, self.block))

    @property
    def neurons(self) -> float:
        """Work in a block: 10 ns for a neuron and point."""
        a = self.architecture
        return self.block * (self.width * (len(a.x) + 1) * a.depth / 2 + 500)

    @property
    def first(self) -> Array:
        """Kernel of the first layer (n_x, n_x)."""
        a = self.architecture
        return first_kernel(a.x, a.sigma_w, a.sigma_b)

    @cached_property
    def theory(self) -> "Reference":
        """The infinite-width quantities that statistics are taken with."""
        return _theory(self.architecture)

    def draw(self, block: int, centre: Array, scale: Array) -> Block:
        """The statistics of one block."""
        from nnqft.criticality.propagation import propagation_block

        a, t = self.architecture, self.theory
        law = self.first, t.centre, a.sigma_w, a.sigma_b, t.burn, t.window, t.tables
        return packed(propagation_block(self.spec, self.key(block), *law), self.spec.layout, self.spec.counts)


class Dynamics(CriticalCell):
    """Recurrent networks without input but for h_0: `depth` time steps after a burn-in."""

    @property
    def method(self) -> str:
        """Trajectories and their tangent vectors."""
        return "dynamics"

    @cached_property
    def options(self) -> Options:
        """Options of the network."""
        return Options.model_validate(json.loads(self.architecture.options))

    @cached_property
    def static(self) -> dict[str, Any]:
        """With a spectrum, the width too: all exponents are stored."""
        wide = {"width": self.width} if json.loads(self.settings)["spectrum"] else {}
        return super().static | wide

    @cached_property
    def spec(self) -> "DynamicsSpec":
        """What a compiled kernel depends on."""
        from nnqft.criticality.dynamics import DynamicsSpec

        a, own = self.architecture, json.loads(self.settings)
        shared = {key: own[key] for key in ("burn", "times", "horizon", "spectrum")}
        return DynamicsSpec(
            a.activation, self.width, a.depth, networks=self.block, subbatches=self.block, tied=self.options.tied,
            noisy=self.options.noise > 0, **shared,
        )  # fmt: skip

    @property
    def neurons(self) -> float:
        """Work in a block: N^2 multiplications count as N^2 / 300 neurons, those of QR as ten times as many."""
        steps = self.architecture.depth + self.spec.burn
        products = self.width**3 / 30 if self.spec.spectrum else self.width**2 / 300
        return self.block * steps * (products + self.width)

    @property
    def initial(self) -> float:
        """Variance of h_0 = U x."""
        return float(self.options.sigma_u**2 * np.mean(self.architecture.x[0] ** 2))

    @property
    def law(self) -> tuple[float, float, float, float, float]:
        """sigma_w, sigma_b, D, gamma, variance of h_0."""
        a, own = self.architecture, self.options
        return a.sigma_w, a.sigma_b, own.noise, own.leak, self.initial

    @cached_property
    def theory(self) -> dict[str, Any]:
        """Dynamic mean-field theory beside the measurement."""
        from nnqft.criticality.dynamics_estimates import theory

        return theory(self.architecture.activation, *self.law, self.options.tied, self.spec.times)

    def reference(self) -> tuple[Array, Array]:
        """The exponent that annealed windows are divided by, in `scale`; 0 where it is not known."""
        rate = float(self.theory["lyapunov_theory"])
        return np.zeros(0), np.array([rate if np.isfinite(rate) else 0.0])

    def draw(self, block: int, centre: Array, scale: Array) -> Block:
        """The statistics of one block."""
        from nnqft.criticality.dynamics import dynamics_block

        found = dynamics_block(self.spec, self.key(block), *self.law, rate=float(scale[0]))
        return packed(found, self.spec.layout, self.spec.counts)


@lru_cache(maxsize=1024)
def _theory(a: Architecture) -> "Reference":
    """The same at all widths."""
    from nnqft.criticality.propagation_reference import prepared

    return prepared(a.activation, a.depth, a.sigma_w, a.sigma_b, first_kernel(a.x, a.sigma_w, a.sigma_b))


def critical_cell(scan: Scan, a: Architecture, width: int) -> CriticalCell:
    """One (architecture, width) of a scan."""
    c = scan.criticality
    if a.network != "recurrent":
        return Perceptron(a, width, scan.seed, c.block)
    settings = {key: getattr(c.recurrent, key) for key in ("burn", "times", "horizon", "spectrum")}
    return Dynamics(a, width, scan.seed, c.recurrent.block, canonical_json(settings))


def critical_cells(scan: Scan) -> Iterator[CriticalCell]:
    """All (architecture, width) with `measure: [criticality]`."""
    for a in architectures(scan, "criticality"):
        for width in scan.widths:
            yield critical_cell(scan, a, width)


def critical_leaves(scan: Scan) -> list[tuple[Leaf, int]]:
    """Leaves, and the blocks of each of their units."""
    named = ((f"{c.method}-{c.architecture.activation}", c) for c in critical_cells(scan))
    networks = {"chain": scan.criticality.networks, "dynamics": scan.criticality.recurrent.networks}
    return [(leaf, -(-networks[leaf.cells[0].method] // leaf.cells[0].block)) for leaf in grouped(named)]


def check_criticality(scan: Scan, source: str) -> None:
    """Stop what cannot be measured.

    Raises:
        InputError: for networks that are neither plain perceptrons nor recurrent ones started by their input, units
            without Gaussian averages, too many points or too short a run.
    """
    for a in architectures(scan, "criticality"):
        where = f"{source}: architectures.{a.family}"
        try:
            kind_and_options(a)
            _check(scan, a)
        except InputError as error:
            raise InputError(f"{where}.{error.where}", error.what, error.remedy) from None


def _check(scan: Scan, a: Architecture) -> None:
    if a.network not in ("mlp", "recurrent") or (a.network == "mlp" and a.options != "{}"):
        what = f"criticality is measured for plain perceptrons and recurrent networks, not {a.network} with options"
        raise InputError("network", what if a.options != "{}" else what.partition(" with")[0], "leave measure out")
    try:
        resolved(a.activation)
    except (ValueError, QuadratureError) as error:
        raise InputError("activation", str(error), "use another one, or leave measure out") from None
    if a.network == "mlp":
        if len(a.x) > POINTS:
            what = f"{a.points} has {len(a.x)} points; fluctuations layer by layer are predicted on up to {POINTS}"
            raise InputError("points", what, "use fewer points")
        return
    options, own = Options.model_validate(json.loads(a.options)), scan.criticality.recurrent
    if options.inject != "first":
        raise InputError("options.inject", "trajectories without input are measured", "give inject: first")
    if len(a.x) != 1:
        raise InputError("points", f"{a.points} has {len(a.x)} points; trajectories start from one", "use one point")
    least = max(own.horizon, 4 * (own.times + 1))
    if a.depth < least:
        what = f"{a.depth} time steps are too few for times {own.times} and horizon {own.horizon}"
        raise InputError("depth", what, f"use at least {least}")
