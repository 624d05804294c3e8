"""What the engine generates: units of sampled statistics, each with its own blocks, and the leaves that own them.

A unit is one scan point of one measurement. The engine knows nothing else of it: where its blocks go, what fixes
their numbers, and how to compute one.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnqft.core.hashing import digest

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """The statistics of one block: moments (sub-batches, statistics) float64; count (sub-batches,) int64, > 0; tail
    (values,) float64, what a verdict on heavy tails needs.
    """

    moments: Array
    tail: Array
    count: NDArray[np.int64]


class Unit(ABC):
    """One scan point of one measurement; a frozen dataclass whose fields travel to workers."""

    block: int
    """Networks in a block."""
    width: int

    @property
    @abstractmethod
    def label(self) -> str:
        """What messages and `nnqft status` call it: the architecture, or whatever is swept."""

    @property
    @abstractmethod
    def method(self) -> str:
        """What `nnqft plan` says is done: the estimator, in one word."""

    @cached_property
    @abstractmethod
    def static(self) -> dict[str, Any]:
        """Content shared by all units of a leaf."""

    @cached_property
    @abstractmethod
    def varying(self) -> dict[str, Any]:
        """Content that tells the units of a leaf apart."""

    @cached_property
    def identity(self) -> str:
        """SHA-256 of everything that fixes the statistics of this unit's blocks."""
        return digest({"static": self.static, "varying": self.varying})

    @property
    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the moments, tail and count of one block."""

    @property
    @abstractmethod
    def neurons(self) -> float:
        """Work in a block, in neurons (some 20 ns each)."""

    @property
    @abstractmethod
    def memory(self) -> int:
        """Bytes that computing a block takes."""

    def reference(self) -> tuple[Array, Array]:
        """Constants (centre, scale) that statistics are taken with, kept beside them."""
        return np.zeros(0), np.zeros(0)

    @abstractmethod
    def draw(self, block: int, centre: Array, scale: Array) -> Block:
        """The statistics of block number `block`: a function of this unit's content and the number alone."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Fields alone: what is cached is found again. (A pickled activation is another one, and compiles again.)"""
        return type(self), tuple(getattr(self, f.name) for f in fields(self))  # pyright: ignore[reportArgumentType]


@dataclass(frozen=True)
class Leaf:
    """Units that share one store and one writer: what one workflow job owns."""

    name: str
    cells: tuple[Any, ...]

    @property
    def static(self) -> dict[str, Any]:
        """Content shared by the units."""
        return self.cells[0].static

    def specification(self) -> dict[str, Any]:
        """Everything a job needs, as plain data; its canonical JSON is what the workflow tracks."""
        return {"leaf": self.name, "static": self.static, "cells": [cell.varying for cell in self.cells]}


def grouped(named: Iterable[tuple[str, Any]]) -> list[Leaf]:
    """Leaves of (name, unit): the units of one static content, each once."""
    groups: dict[str, dict[str, Any]] = {}
    for name, unit in named:
        groups.setdefault(f"{name}-{digest(unit.static)[:12]}", {}).setdefault(unit.identity, unit)
    return [Leaf(name, tuple(group.values())) for name, group in groups.items()]


def packed(sums: Mapping[str, Array], layout: Mapping[str, tuple[int, ...]], count: NDArray[np.int64]) -> Block:
    """A block without a tail from its sums by name, (sub-batches, *shape) each."""
    parts = [np.reshape(sums[name], (len(count), -1)) for name in layout]
    return Block(np.concatenate(parts, axis=1), np.zeros(1), count)


def length(layout: Mapping[str, tuple[int, ...]]) -> int:
    """Numbers in the statistics of one sub-batch."""
    return sum(int(np.prod(shape)) for shape in layout.values())


def unpacked(moments: Array, layout: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Sums by name, (groups, *shape) each, from (groups, length(layout))."""
    starts = np.cumsum([int(np.prod(shape)) for shape in layout.values()])[:-1]
    parts = np.split(moments, starts, axis=1)
    return {name: part.reshape(-1, *layout[name]) for name, part in zip(layout, parts, strict=True)}
