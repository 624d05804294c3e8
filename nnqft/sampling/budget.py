"""How many blocks a cell gets: a fixed number, or as many as its error asks for.

With a target, every cell starts with a pilot, and its error after k blocks predicts how many it needs, since errors
fall as 1 / sqrt(k). The decision after k blocks uses those k blocks and nothing else, so a resumed or repeated run, or
one with more blocks on disk, decides alike.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nnqft.sampling.block import SUBBATCHES
from nnqft.spec.model import Scan

Outcome = Literal["fixed", "met", "ceiling"]

PILOT = 2
"""Blocks that every cell gets at least (fewer if that is the ceiling)."""
MARGIN = 1.1
"""More blocks than predicted, so that one more round is rarely needed."""


@dataclass(frozen=True)
class Budget:
    """pilot, most: blocks of a cell at first and at most; target: relative error to reach, by correlator; replicates:
    jackknife groups that errors are judged by (0 without a target, where nothing depends on them).
    """

    pilot: int
    most: int
    target: tuple[tuple[str, float], ...] = ()
    replicates: int = 0

    def specification(self) -> dict[str, Any]:
        """All of it as plain data, for receipts."""
        return asdict(self) | {"target": dict(self.target)}

    def more(self, blocks: int, errors: dict[str, float], trusted: bool) -> int:
        """Blocks wanted after `blocks` of them left these relative errors; the same number when that is enough.

        An error that cannot be trusted (a heavy tail) meets no target: the cell at least doubles, up to its ceiling.
        """
        if blocks >= self.most or not self.target:
            return blocks
        ratios = [errors[name] / wanted for name, wanted in self.target]
        worst = max(ratios) if np.isfinite(ratios).all() else 2.0
        if worst <= 1 and trusted:
            return blocks
        factor = max(MARGIN * worst**2, 1.0) if trusted else max(2.0, worst**2)
        return int(min(self.most, max(blocks + 1, np.ceil(blocks * factor))))

    def outcome(self, errors: dict[str, float], trusted: bool) -> Outcome:
        """How a cell ended."""
        if not self.target:
            return "fixed"
        return "met" if trusted and all(errors[name] <= wanted for name, wanted in self.target) else "ceiling"


def budget(scan: Scan) -> Budget:
    """Blocks for each cell: the networks asked for, rounded up to whole blocks."""
    e = scan.ensemble
    most = -(-e.networks // e.block)
    if not e.target:
        return Budget(most, most)
    groups = -(-e.replicates // min(e.block, SUBBATCHES))
    return Budget(min(most, max(PILOT, groups)), most, tuple(sorted(e.target.items())), e.replicates)


def relative_error(value: NDArray[np.float64], stderr: NDArray[np.float64], norm: NDArray[np.float64]) -> float:
    """Size of the standard errors of a correlator relative to its own, both root mean squares over components.

    norm (components,): product of sqrt(K_aa) over the legs, so that all points count alike.
    """
    size = np.sqrt(np.mean((value / norm) ** 2))
    return float(np.sqrt(np.mean((stderr / norm) ** 2)) / size) if size > 0 else float("inf")
