"""From leaves to ``ensemble.zarr``: the power sums of every (architecture, width), merged into jackknife groups."""

from typing import Any

import numpy as np
import xarray as xr

from nnqft.estimation.jackknife import merge
from nnqft.estimation.tails import merge_tails
from nnqft.spec.grid import Architecture, Cell, blocks, cells, leaves
from nnqft.spec.model import Scan
from nnqft.stages.ensemble import block_spec
from nnqft.stages.layout import Layout, by_points, component_coordinates, coordinates, dataset, point_coordinates
from nnqft.storage.leafstore import LeafStore, Row
from nnqft.storage.product import write_receipt, write_tree

KEPT_TAIL = 4096


def assemble(scan: Scan, layout: Layout) -> None:
    """Read every leaf (checking every chunk) and write the dense product and its receipt."""
    where = {cell.identity: leaf.name for leaf in leaves(scan) for cell in leaf.cells}
    stores = {name: LeafStore(layout.leaf(name)) for name in set(where.values())}
    rows = {name: store.rows() for name, store in stores.items()}
    by_name: dict[str, list[Cell]] = {}
    for cell in cells(scan):
        by_name.setdefault(cell.architecture.name, []).append(cell)
    groups = {}
    for points, group in by_points(scan).items():
        merged = [
            [_cell(scan, cell, stores[where[cell.identity]], rows[where[cell.identity]][cell.identity])
             for cell in by_name[a.name]]
            for a in group
        ]  # fmt: skip
        groups[points] = _dataset(scan, points, group, merged)
    sha = write_tree(layout.store("ensemble"), groups, {"estimator": scan.ensemble.estimator})
    write_receipt(layout.receipt("ensemble"), {"store": "ensemble.zarr", "sha256": sha})


def _cell(scan: Scan, cell: Cell, store: LeafStore, row: Row) -> dict[str, np.ndarray]:
    """Group sums of one cell: count (R,), sum_1.. (R, ...), tail (kept,), tail_sums (3,), centre, networks."""
    data = store.read(row.index, range(blocks(scan)))
    R = scan.ensemble.replicates
    flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in data.items() if name != "tail"}
    first, second, third = block_spec(cell).sizes
    power = merge(flat["moments"], R)
    largest = merge_tails(data["tail"][:, :-3], int(flat["count"].sum()))
    tail = np.full(KEPT_TAIL, np.nan)
    tail[: len(largest)] = largest
    return {
        "count": merge(flat["count"], R),
        "sum_1": power[:, :first],
        "sum_2": power[:, first : first + second],
        "sum_3": power[:, first + second : first + second + third],
        "centre": row.centre,
        "tail_largest": tail,
        "tail_sums": data["tail"][:, -3:].sum(axis=0),
        "networks": flat["count"].sum(),
    }


def _dataset(
    scan: Scan, points: str, group: list[Architecture], merged: list[list[dict[str, np.ndarray]]]
) -> xr.Dataset:
    stacked: dict[str, Any] = {key: np.array([[cell[key] for cell in row] for row in merged]) for key in merged[0][0]}
    cell = ("architecture", "width")
    orders = scan.cumulants.orders
    dims = {
        "count": (*cell, "replicate"),
        "sum_1": (*cell, "replicate", "pair"),
        "sum_2": (*cell, "replicate", "pair_product"),
        "sum_3": (*cell, "replicate", "sext"),
        "centre": (*cell, "pair"),
        "tail_largest": (*cell, "tail"),
        "tail_sums": (*cell, "power"),
        "networks": cell,
    }
    variables = {key: (dims[key], value) for key, value in stacked.items() if value.size}
    coords = coordinates(group) | {"width": np.array(scan.widths, dtype=np.int64), "power": [1, 2, 3]}
    coords |= component_coordinates(len(scan.points[points]), [k for k in orders if k in (2, 6)])
    coords |= point_coordinates(scan, points)
    return dataset(variables, coords, "power sums of the kernel entries around a fixed centre, by jackknife group")
