"""The scan points of `trainability`: every (sigma_w, depth) of a map, its networks in blocks."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from nnqft.core.errors import InputError
from nnqft.core.hashing import block_key, digest
from nnqft.sampling.unit import Array, Block, Leaf, Unit, grouped, length, packed
from nnqft.spec.measurements import Trainability
from nnqft.spec.model import Scan

if TYPE_CHECKING:
    from nnqft.training.descent import TrainingSpec

VERSION = 1
"""Raised with every change that alters the numbers of a block."""
RECORD = 24
"""Entries of a curve of losses."""
MISSING = float(np.finfo(np.float64).max)
"""Stands for what does not exist (a loss that is not finite): statistics that are kept are finite."""


@dataclass(frozen=True)
class TrainingCell(Unit):
    """One (sigma_w, depth) of a map."""

    name: str
    data: str
    activation: str
    sigma_w: float
    sigma_b: float
    depth: int
    width: int
    steps: int
    rates: tuple[float, ...]
    block: int
    seed: int
    version: int = VERSION

    @property
    def label(self) -> str:
        """The map's name and the place in it."""
        return f"{self.name}[depth={self.depth},sigma_w={self.sigma_w!r}]"

    @property
    def method(self) -> str:
        """Gradient descent."""
        return "descent"

    @cached_property
    def static(self) -> dict[str, Any]:
        """Content shared by the units of a map."""
        keys = ("data", "activation", "sigma_b", "width", "steps", "rates", "block", "seed", "version")
        return {key: getattr(self, key) for key in keys} | {"rates": list(self.rates), "measurement": "trainability"}

    @cached_property
    def varying(self) -> dict[str, Any]:
        """The place in the map, and what manifests report of every unit."""
        return {"sigma_w": self.sigma_w, "depth": self.depth}

    @cached_property
    def spec(self) -> "TrainingSpec":
        """What a compiled kernel depends on."""
        from nnqft.training.descent import TrainingSpec

        record = min(RECORD, self.steps + 1)
        law = self.data, self.activation, self.width, self.depth, self.steps, self.rates
        return TrainingSpec(*law, self.block, record)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays of one block: a network is a sub-batch."""
        return {"moments": (self.block, length(self.spec.layout)), "tail": (1,), "count": (self.block,)}

    @property
    def neurons(self) -> float:
        """Work in a block: 1500 floating-point operations count as a neuron."""
        return self.spec.flops / 1500

    @property
    def memory(self) -> int:
        """Bytes that computing a block takes: the activations of all layers, some times."""
        return 2**26 + 4 * 16 * self.depth * self.width * (1024 + self.width)

    def draw(self, block: int, centre: Array, scale: Array) -> Block:
        """Train the networks of one block."""
        from nnqft.training.descent import training_block

        key = block_key({**self.static, **self.varying}, block)
        found = training_block(self.spec, key, self.sigma_w, self.sigma_b)
        kept = packed(found, self.spec.layout, np.ones(self.block, dtype=np.int64))
        return replace(kept, moments=np.where(np.isfinite(kept.moments), kept.moments, MISSING))


def statistics(moments: Array) -> Array:
    """The moments of some blocks with NaN for what is missing."""
    return np.where(moments == MISSING, np.nan, moments)


def training_cell(scan: Scan, name: str, sigma_w: float, depth: int) -> TrainingCell:
    """One place of a map of a scan."""
    t: Trainability = scan.trainability[name]
    law = t.data, t.activation, float(sigma_w), float(t.sigma_b), depth, t.width, t.steps, tuple(map(float, t.rates))
    return TrainingCell(name, *law, t.block, scan.seed)


def training_leaves(scan: Scan) -> list[tuple[Leaf, int]]:
    """A leaf for every map, and the blocks of each of its units."""
    found = []
    for name, t in scan.trainability.items():
        cells = (training_cell(scan, name, sigma_w, depth) for sigma_w in t.sigma_w for depth in t.depth)
        named = ((f"descent-{t.data}-{t.activation}", cell) for cell in cells)
        found += [(leaf, -(-t.seeds // t.block)) for leaf in grouped(named)]
    return found


def check_trainability(scan: Scan, source: str) -> None:
    """Stop what cannot be trained.

    Raises:
        InputError: for units that cannot be trained, or a data set whose package is not installed.
    """
    seen: dict[str, str] = {}
    for name, t in scan.trainability.items():
        cell = training_cell(scan, name, t.sigma_w[0], t.depth[0])
        other = seen.setdefault(digest(cell.static), name)
        if other != name:
            what = f"differs from {other} in nothing but sigma_w, depth or seeds"
            raise InputError(f"{source}: trainability.{name}", what, "make one map of the two")
        try:
            _ = cell.spec
        except InputError as error:
            raise InputError(f"{source}: trainability.{name}.{error.where}", error.what, error.remedy) from None
