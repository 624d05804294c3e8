"""From a scan to its points: every (architecture, width), in the order written, and the leaves that own them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.core.hashing import digest
from nnqft.core.versions import KERNEL_VERSION
from nnqft.spec.model import SWEEPABLE, ArchitectureFamily, Scan


@dataclass(frozen=True)
class Architecture:
    """One ensemble at every width: hyperparameters resolved, points attached."""

    name: str
    family: str
    network: str
    activation: str
    depth: int
    sigma_w: float
    sigma_b: float
    points: str
    coordinates: tuple[tuple[float, ...], ...]

    @property
    def x(self) -> NDArray[np.float64]:
        """Input points, (n_x, d_in) float64."""
        return np.array(self.coordinates, dtype=np.float64)

    def law(self) -> dict[str, Any]:
        """What fixes the random function, whatever it is called in the file."""
        keys = ("network", *SWEEPABLE, "coordinates")
        return {key: getattr(self, key) for key in keys}


@dataclass(frozen=True)
class Cell:
    """One (architecture, width) and how it is to be sampled: the unit of identity of all stored statistics."""

    architecture: Architecture
    width: int
    seed: int
    sampler: str
    estimator: str
    precision: str
    block: int
    max_order: int
    kernel_version: int

    def draws(self) -> dict[str, Any]:
        """Content that seeds the draws: seed, architecture, width. Nothing else."""
        return {"seed": self.seed, "width": self.width, "architecture": self.architecture.law()}

    @cached_property
    def static(self) -> dict[str, Any]:
        """Content shared by all cells of a leaf."""
        law = self.architecture.law()
        keys = ("seed", "sampler", "estimator", "precision", "block", "max_order", "kernel_version")
        shared = {key: getattr(self, key) for key in keys}
        return shared | {key: law[key] for key in ("network", "activation", "coordinates")}

    @cached_property
    def varying(self) -> dict[str, Any]:
        """Content that tells the cells of a leaf apart."""
        a = self.architecture
        return {"depth": a.depth, "sigma_w": a.sigma_w, "sigma_b": a.sigma_b, "width": self.width}

    @cached_property
    def identity(self) -> str:
        """SHA-256 of everything that fixes the statistics of this cell's blocks."""
        return digest({"static": self.static, "varying": self.varying})


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


def architecture(
    x: ArrayLike,
    activation: str,
    depth: int = 1,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    network: str = "mlp",
    name: str = "architecture",
) -> Architecture:
    """An ensemble for use without a scan file; x (n_x, d_in)."""
    coordinates = tuple(tuple(float(c) for c in row) for row in np.atleast_2d(np.asarray(x, dtype=np.float64)))
    return Architecture(name, name, network, activation, depth, float(sigma_w), float(sigma_b), "points", coordinates)


def architectures(scan: Scan) -> list[Architecture]:
    """All architectures of a scan in the order written; swept ones are named ``family[key=value,...]``."""
    return [a for name, family in scan.architectures.items() for a in _resolve(scan, name, family)]


def cells(scan: Scan) -> list[Cell]:
    """All (architecture, width) of a scan."""
    e = scan.ensemble
    found = []
    for architecture in architectures(scan):
        precision = _precision(architecture) if e.precision == "auto" else e.precision
        for width in scan.widths:
            found.append(
                Cell(
                    architecture, width, scan.seed, e.sampler, e.estimator, precision, e.block,
                    max(scan.cumulants.orders), KERNEL_VERSION,
                )
            )  # fmt: skip
    return found


def leaves(scan: Scan) -> list[Leaf]:
    """The leaves of a scan. Architectures with the same law appear once, whatever their names."""
    groups: dict[str, dict[str, Cell]] = {}
    for cell in cells(scan):
        name = f"{cell.architecture.network}-{cell.architecture.activation}-{digest(cell.static)[:12]}"
        groups.setdefault(name, {}).setdefault(cell.identity, cell)
    return [Leaf(name, tuple(group.values())) for name, group in groups.items()]


def blocks(scan: Scan) -> int:
    """Blocks of each cell: the networks asked for, rounded up to whole blocks."""
    return -(-scan.ensemble.networks // scan.ensemble.block)


def _resolve(scan: Scan, name: str, family: ArchitectureFamily) -> Iterator[Architecture]:
    values = [value if isinstance(value := getattr(family, key), list) else [value] for key in SWEEPABLE]
    order = [*family.swept, *(key for key in SWEEPABLE if key not in family.swept)]
    by_key: dict[str, list[Any]] = dict(zip(SWEEPABLE, values, strict=True))
    coordinates = tuple(tuple(float(c) for c in row) for row in scan.points[family.points])
    for choice in product(*(by_key[key] for key in order)):
        chosen = dict(zip(order, choice, strict=True))
        label = ",".join(f"{key}={chosen[key]!r}" for key in family.swept)
        full = f"{name}[{label}]" if label else name
        yield Architecture(full, name, family.network, points=family.points, coordinates=coordinates, **chosen)


def _precision(architecture: Architecture) -> str:
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
