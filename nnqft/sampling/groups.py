"""From the blocks of one cell to the power sums of its jackknife groups, and to its estimates."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnqft.core.errors import InputError
from nnqft.core.packing import Basis, Components, multisets
from nnqft.estimation import tails
from nnqft.estimation.cumulants import CumulantEstimate, estimate
from nnqft.estimation.jackknife import merge
from nnqft.estimation.kstatistics import Amplitude, PowerSums
from nnqft.nets.registry import network
from nnqft.sampling.block import SUBBATCHES
from nnqft.sampling.budget import relative_error
from nnqft.sampling.cells import Cell, default_precision
from nnqft.sampling.kinds import amplitude, kind, refuse
from nnqft.spec.grid import Architecture

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CellSums:
    """groups: sums by jackknife group; largest (kept,) and tail_sums (4,): see estimate; networks: how many."""

    groups: PowerSums
    centre: Array
    amplitude: Amplitude
    largest: Array
    tail_sums: Array
    networks: int

    def estimate(self, points: Basis) -> CumulantEstimate:
        """Correlators with errors and verdicts."""
        return estimate(self.groups, self.centre, points, self.amplitude, self.largest, self.tail_sums)


def merged(cell: Cell, centre: Array, data: Mapping[str, NDArray], replicates: int) -> CellSums:
    """Group sums from arrays moments, tail and count (blocks, ...), as blocks leave them."""
    power = data["moments"].reshape(-1, data["moments"].shape[-1])
    power = merge(power, replicates)
    start, sums = 0, {}
    for name, length in cell.spec.layout.items():
        sums[name] = power[:, start : start + length]
        start += length
    count = merge(data["count"].reshape(-1), replicates)
    return CellSums(
        PowerSums(count, **sums),
        centre,
        amplitude(cell.spec, cell.architecture.x.shape[1]),
        tails.largest(data["tail"][:, :-4], int(count.sum())),
        data["tail"][:, -4:].sum(axis=0),
        len(data["count"]) * cell.block,
    )


def measure(
    architecture: Architecture,
    width: int,
    networks: int = 16_384,
    seed: int = 0,
    *,
    max_order: int = 6,
    sampler: str = "conditional",
    estimator: str = "auto",
    precision: str = "auto",
    replicates: int = 64,
    components: Basis | None = None,
) -> CumulantEstimate:
    """Correlators of one ensemble, for notebooks: what the pipeline would find, in as few blocks as make the groups.

    networks: rounded up to whole blocks; there is one for every 64 replicates.

    components: only these, as :func:`nnqft.core.selection.select` finds them.

    Raises:
        InputError: for an ensemble that cannot be measured, or an estimator that the network does not allow.
    """
    a = architecture
    if max_order not in (2, 4, 6, 8):
        raise InputError("max_order", f"no order {max_order}", "use 2, 4, 6 or 8")
    if networks < replicates:
        raise InputError("networks", f"{networks} networks for {replicates} jackknife groups", "draw more networks")
    components = components if isinstance(components, Components) else None
    if components and max(components.orders) != max_order:
        raise InputError(
            "components", f"a selection of orders {components.orders}", f"use max_order {max_order} for it"
        )
    precision = default_precision(a) if precision == "auto" else precision
    net = network(a, width, sampler, precision)
    blocks = -(-replicates // SUBBATCHES)
    block = -(-networks // blocks)
    cell = Cell(
        a, width, seed, sampler, kind(net, estimator, max_order), precision, block, max_order, components=components
    )
    refuse(cell.spec)
    centre, scale = cell.reference()
    drawn = [cell.draw(position, centre, scale) for position in range(blocks)]
    data = {key: np.stack([getattr(s, key) for s in drawn]) for key in ("moments", "tail", "count")}
    return merged(cell, centre, data, replicates).estimate(cell.spec.basis)


def target_errors(cell: Cell, sums: CellSums, scale: Array, names: list[str]) -> tuple[dict[str, float], bool]:
    """Relative errors of the named correlators, and whether all of them are trusted."""
    points = cell.spec.basis
    found = sums.estimate(points)
    own = np.flatnonzero(np.diff(multisets(points, 2), axis=1)[:, 0] == 0)
    root = np.sqrt(scale[own])
    orders = {name: 2 if name == "G2" else int(name[1]) for name in names}
    norms = {name: root[multisets(points, order)].prod(axis=1) for name, order in orders.items()}
    errors = {name: relative_error(found.values[name], found.stderr[name], norms[name]) for name in names}
    return errors, all(found.trusted[order] for order in orders.values())
