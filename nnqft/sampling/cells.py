"""The points of a scan: every (architecture, width) and how it is sampled, and the leaves that own them."""

from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import sha256
from typing import Any

import numpy as np

from nnqft.core.hashing import digest
from nnqft.core.packing import Components
from nnqft.core.versions import KERNEL_VERSION
from nnqft.nets.registry import network
from nnqft.sampling.block import BlockSpec, Kind
from nnqft.sampling.kinds import kind
from nnqft.spec.grid import Architecture, architectures
from nnqft.spec.model import Scan


@dataclass(frozen=True)
class Cell:
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

    def __reduce__(self) -> tuple[Any, ...]:
        """Fields alone: what is cached is found again. (A pickled activation is another one, and compiles again.)"""
        return Cell, tuple(getattr(self, f.name) for f in fields(self))

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
    def identity(self) -> str:
        """SHA-256 of everything that fixes the statistics of this cell's blocks."""
        return digest({"static": self.static, "varying": self.varying})

    @cached_property
    def spec(self) -> BlockSpec:
        """The kernel's static specification."""
        net = network(self.architecture, self.width, self.sampler, self.precision)
        points = len(self.architecture.coordinates)
        return BlockSpec(net, self.kind, points, self.block, self.max_order, self.components)


@dataclass(frozen=True)
class Leaf:
    """Cells that share one store and one writer: what one workflow job owns."""

    name: str
    cells: tuple[Cell, ...]

    @property
    def static(self) -> dict[str, Any]:
        """Content shared by the cells."""
        return self.cells[0].static

    def specification(self) -> dict[str, Any]:
        """Everything a job needs, as plain data; its canonical JSON is what the workflow tracks."""
        return {"leaf": self.name, "static": self.static, "cells": [cell.varying for cell in self.cells]}


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
    groups: dict[str, dict[str, Cell]] = {}
    for c in cells(scan):
        name = f"{c.architecture.network}-{c.architecture.activation}-{digest(c.static)[:12]}"
        groups.setdefault(name, {}).setdefault(c.identity, c)
    return [Leaf(name, tuple(group.values())) for name, group in groups.items()]


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
