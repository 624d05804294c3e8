"""A stage that makes one store of others, point set by point set, with vertex integrals at hand."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import xarray as xr

from nnqft.spec.model import Scan
from nnqft.stages.layout import Layout, by_points
from nnqft.storage.integrals import IntegralCache
from nnqft.storage.product import read_whole, save

Stores = Mapping[str, xr.Dataset]
"""One store: its dataset of each point set."""

KEPT = 2
"""Datasets of a store in memory at a time: those of a point set and of the held-out points of an architecture."""


class Groups(Mapping[str, xr.Dataset]):
    """A store on disk by point set. A dataset is read when it is asked for; the last `KEPT` stay."""

    def __init__(self, layout: Layout, stage: str, scan: Scan):
        self._tree, self._names = read_whole(layout.store(stage), layout.receipt(stage)), list(by_points(scan))
        self._read: dict[str, xr.Dataset] = {}

    def __getitem__(self, points: str) -> xr.Dataset:
        if points not in self._names:
            raise KeyError(points)
        found = self._read.pop(points, None)
        self._read[points] = self._tree[points].to_dataset().load() if found is None else found
        if len(self._read) > KEPT:
            del self._read[next(iter(self._read))]
        return self._read[points]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def make_store(
    scan: Scan, layout: Layout, stage: str, sources: Sequence[str], compute: Callable[..., xr.Dataset], **attrs: Any
) -> None:
    """Write the store of a stage and its receipt: compute(scan, points, *sources, cache) is one point set of it."""
    stores = [Groups(layout, source, scan) for source in sources]
    cache = IntegralCache(layout.integrals)
    groups = {points: compute(scan, points, *stores, cache) for points in by_points(scan)}
    save(layout.store(stage), layout.receipt(stage), groups, attrs)
