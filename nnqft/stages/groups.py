"""A stage that makes one store of others, point set by point set, with vertex integrals at hand."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr

from nnqft.spec.model import Scan
from nnqft.stages.layout import Layout, by_points
from nnqft.storage.integrals import IntegralCache
from nnqft.storage.product import read_tree, write_receipt, write_tree

Stores = Mapping[str, xr.Dataset]
"""One store: its dataset of each point set."""


def read_groups(layout: Layout, stage: str, scan: Scan) -> dict[str, xr.Dataset]:
    """One store as a dataset in memory for every point set in use."""
    tree = read_tree(layout.store(stage))
    return {points: tree[points].to_dataset().load() for points in by_points(scan)}


def make_store(
    scan: Scan, layout: Layout, stage: str, sources: Sequence[str], compute: Callable[..., xr.Dataset], **attrs: Any
) -> None:
    """Write the store of a stage and its receipt: compute(scan, points, *sources, cache) is one point set of it."""
    stores = [read_groups(layout, source, scan) for source in sources]
    cache = IntegralCache(layout.integrals)
    groups = {points: compute(scan, points, *stores, cache) for points in by_points(scan)}
    sha = write_tree(layout.store(stage), groups, attrs)
    write_receipt(layout.receipt(stage), {"store": f"{stage}.zarr", "sha256": sha})
