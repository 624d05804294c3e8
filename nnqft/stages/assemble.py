"""From leaves to ``ensemble.zarr``: the power sums of every (architecture, width), merged into jackknife groups."""

from dataclasses import astuple, fields
from typing import Any

import numpy as np
import xarray as xr

from nnqft.core.packing import multisets
from nnqft.estimation.kstatistics import PowerSums
from nnqft.sampling.cells import cell
from nnqft.sampling.groups import merged
from nnqft.spec.grid import Architecture
from nnqft.spec.model import Scan
from nnqft.stages.layout import (
    DIMENSION,
    Layout,
    by_points,
    component_coordinates,
    coordinates,
    dataset,
    point_coordinates,
)
from nnqft.stages.source import Source
from nnqft.storage.product import save

SUMS = {
    "first": "pair", "second": "pair_product", "third": "sext", "fourth": "oct",
    "moment4": "pair_product", "moment6": "sext", "mixed6": "sext",
    "within22": "pair_product", "within4": "quad", "within6": "sext", "cross6": "sext",
}  # fmt: skip
"""Dimension of each of the power sums (:class:`nnqft.estimation.kstatistics.PowerSums`)."""
KEPT_TAIL = 4096


def assemble(scan: Scan, layout: Layout) -> None:
    """Read every leaf (checking every chunk) and write the dense product and its receipt."""
    source = Source(scan, layout, "cumulants")
    groups = {points: _dataset(scan, points, group, source) for points, group in by_points(scan).items()}
    save(layout.store("ensemble"), layout.receipt("ensemble"), groups, {})


def _dataset(scan: Scan, points: str, group: list[Architecture], source: Source) -> xr.Dataset:
    """NaN where a cell's estimator has no such sum."""
    n, shape = scan.basis(points), (len(group), len(scan.widths))
    dims, orders = ("architecture", "width"), scan.cumulants.orders
    P = len(multisets(n, 2))
    variables: dict[str, Any] = {
        "count": (("replicate",), np.zeros(scan.ensemble.replicates, dtype=np.int64)),
        "centre": (("pair",), np.zeros(P)),
        "amplitude": (("moment",), np.zeros(4)),
        "pooled": ((), np.int64(0)),
        "textbook": ((), np.False_),
        "networks": ((), np.int64(0)),
        "kind": ((), np.array("", dtype=object)),
        "budget": ((), np.array("", dtype=object)),
        "tail_largest": (("tail",), np.full(KEPT_TAIL, np.nan)),
        "tail_sums": (("power",), np.zeros(4)),
    }
    arrays = {name: np.broadcast_to(empty, shape + np.shape(empty)).copy() for name, (_, empty) in variables.items()}
    names = {name: (*dims, *trailing) for name, (trailing, _) in variables.items()}
    for a, architecture in enumerate(group):
        for w, width in enumerate(scan.widths):
            one = cell(scan, architecture, width)
            sums = merged(one, source.row(one).centre, source.data(one), source.replicates)
            entry = {
                "count": sums.groups.count, "centre": sums.centre, "amplitude": astuple(sums.amplitude)[:4],
                "pooled": sums.amplitude.pooled, "textbook": sums.amplitude.textbook, "networks": sums.networks,
                "kind": one.kind, "budget": source.budget(one), "tail_sums": sums.tail_sums,
            }  # fmt: skip
            for name, value in entry.items():
                arrays[name][a, w] = value
            arrays["tail_largest"][a, w, : len(sums.largest)] = sums.largest
            for field in fields(PowerSums)[1:]:
                value = getattr(sums.groups, field.name)
                if value is None:
                    continue
                name = f"sum_{field.name}"
                if name not in arrays:
                    arrays[name] = np.full(shape + value.shape, np.nan)
                    names[name] = (*dims, "replicate", SUMS[field.name])
                arrays[name][a, w] = value
    coords = coordinates(group) | {"width": np.array(scan.widths, dtype=np.int64), "power": [1, 2, 3, 4]}
    coords |= component_coordinates(n, [k for k in orders if any(DIMENSION[k] in d for d in names.values())])
    coords |= point_coordinates(scan, points) | {"moment": np.array(["four", "six", "eight", "common"], dtype=object)}
    data = {name: (names[name], value) for name, value in arrays.items()}
    return dataset(data, coords, "power sums by jackknife group (see the documentation of the estimators)")
