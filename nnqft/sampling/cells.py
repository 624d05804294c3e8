"""The points of a scan: every (architecture, width) and how it is sampled, and the leaves that own them."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Any

import numpy as np

from nnqft.core.hashing import block_key
from nnqft.core.packing import Components
from nnqft.core.versions import KERNEL_VERSION
from nnqft.estimation.reference import centre_and_scale
from nnqft.nets.registry import network
from nnqft.sampling.block import BlockSpec, Kind, block_statistics, canonical
from nnqft.sampling.kinds import kind, memory
from nnqft.sampling.unit import Array, Block, Leaf, Unit, grouped
from nnqft.spec.grid import Architecture, architectures
from nnqft.spec.model import Scan


@dataclass(frozen=True)
class Cell(Unit):
    """One (architecture, width) and how it is to be sampled: the unit of identity of all stored statistics."""

    architecture: Architecture
    width: int
    seed: int
    sampler: str
    kind: Kind
    precision: str
    block: int
    max_order: int
    kernel_version: int = KERNEL_VERSION
    components: Components | None = None
    """The selected components of order 4 and above; None: all. They do not reach the draws."""

    @property
    def label(self) -> str:
        """The architecture's name."""
        return self.architecture.name

    @property
    def method(self) -> str:
        """The estimator."""
        return self.kind

    def draws(self) -> dict[str, Any]:
        """Content that seeds the draws: seed, architecture, width. Nothing else."""
        return {"seed": self.seed, "width": self.width, "architecture": self.architecture.law()}

    @cached_property
    def static(self) -> dict[str, Any]:
        """Content shared by all cells of a leaf."""
        law = self.architecture.law()
        keys = ("seed", "sampler", "kind", "precision", "block", "max_order", "kernel_version")
        shared = {key: getattr(self, key) for key in keys}
        if self.components is not None:  # (without a selection, the identity is that of versions that knew none)
            shared["components"] = {
                str(k): {"number": len(legs) // (2 * k), "sha256": sha256(legs).hexdigest()}
                for k, legs in self.components.legs
            }
        return shared | {key: law[key] for key in ("network", "activation", "coordinates", "options")}

    @cached_property
    def varying(self) -> dict[str, Any]:
        """Content that tells the cells of a leaf apart."""
        a = self.architecture
        return {"depth": a.depth, "sigma_w": a.sigma_w, "sigma_b": a.sigma_b, "width": self.width}

    @cached_property
    def spec(self) -> BlockSpec:
        """The kernel's static specification."""
        net = network(self.architecture, self.width, self.sampler, self.precision)
        points = len(self.architecture.coordinates)
        return BlockSpec(net, self.kind, points, self.block, self.max_order, self.components)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays of one block."""
        spec = self.spec
        power = spec.subbatches, sum(spec.layout.values())
        return {"moments": power, "tail": (spec.slots + 4,), "count": (spec.subbatches,)}

    @property
    def neurons(self) -> float:
        """Work in a block, in neurons."""
        return self.block * (self.width * self.architecture.depth + 50)

    @property
    def memory(self) -> int:
        """Bytes that computing a block takes."""
        return memory(self.spec)

    def reference(self) -> tuple[Array, Array]:
        """Centre and scale of the kernels: see :func:`nnqft.estimation.reference.centre_and_scale`."""
        a = self.architecture
        return centre_and_scale(self.spec.net, self.kind, a.sigma_w, a.sigma_b, a.x)

    def draw(self, block: int, centre: Array, scale: Array) -> Block:
        """The statistics of one block."""
        a, key = self.architecture, block_key(self.draws(), block)
        subtracted = np.zeros_like(centre) if self.kind == "neurons" else centre
        law = a.x, a.sigma_w, a.sigma_b, subtracted, scale
        return block_statistics(canonical(self.spec), key, *law, self.spec.net.units)


def cells(scan: Scan) -> list[Cell]:
    """All (architecture, width) of a scan.

    Raises:
        InputError: for one that cannot be measured; `where` is the key within its architecture.
    """
    return [cell(scan, a, width) for a in architectures(scan) for width in scan.widths]


def cell(scan: Scan, architecture: Architecture, width: int) -> Cell:
    """One (architecture, width) of a scan, with its sampler, estimator and precision decided."""
    e, own = scan.ensemble, scan.architectures[architecture.family]
    sampler, precision = (
        own.sampler or e.sampler,
        default_precision(architecture) if e.precision == "auto" else e.precision,
    )
    order = max(scan.cumulants.orders)
    found = kind(network(architecture, width, sampler, precision), own.estimator or e.estimator, order)
    basis = scan.basis(architecture.points)
    components = None if isinstance(basis, int) else basis
    return Cell(architecture, width, scan.seed, sampler, found, precision, e.block, order, components=components)


def leaves(scan: Scan) -> list[Leaf]:
    """The leaves of a scan. Architectures with the same law appear once, whatever their names."""
    named = ((f"{c.architecture.network}-{c.architecture.activation}", c) for c in cells(scan))
    return grouped(named)


@lru_cache(maxsize=1024)
def default_precision(architecture: Architecture) -> str:
    """float64 where two points differ by less than 1e-3 of the largest preactivation variance, else float32.

    Differences of the outputs at such points would drown in float32 rounding although the correlators look right.
    """
    x = architecture.x
    scale = architecture.sigma_w**2 / x.shape[1]
    variance = architecture.sigma_b**2 + scale * (x**2).sum(axis=1)
    distance = scale * ((x[:, None] - x[None]) ** 2).sum(axis=-1)
    off_diagonal = distance[~np.eye(len(x), dtype=bool)]
    close = off_diagonal.size > 0 and off_diagonal.min() < 1e-3 * variance.max()
    return "float64" if close else "float32"
