"""Where a scan's files are, and the coordinates its stores share."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnqft.cluster.settings import option
from nnqft.core.packing import Basis, multisets
from nnqft.spec.grid import Architecture, architectures
from nnqft.spec.measurements import Measurement
from nnqft.spec.model import Scan
from nnqft.storage.leafstore import LeafStore
from nnqft.storage.location import located
from nnqft.storage.place import Folder, Place

if TYPE_CHECKING:
    import xarray as xr

DIMENSION = {2: "pair", 4: "quad", 6: "sext", 8: "oct"}
RESULTS = Path("results")
FORMATS = ("pdf", "png", "csv")
TABLES: dict[str, tuple[str, ...]] = {
    "cumulants": ("cumulants", "couplings", "agreement", "naturalness", "sixpoints", "conventions", "action"),
    "criticality": ("criticality",),
    "trainability": ("trainability",),
}
"""Tables by measurement."""
STAGES: dict[str, dict[str, tuple[str, ...]]] = {
    "cumulants": {
        "ensemble": (), "cumulants": ("ensemble",), "theory": (), "couplings": ("cumulants", "theory"),
        "flow": ("couplings", "theory"), "sixpoints": ("couplings", "cumulants", "theory"),
        "action": ("couplings", "cumulants"),
    },
    "criticality": {"criticality": ()},
    "trainability": {"trainability": ()},
}  # fmt: skip
"""Stages by measurement, each with the stages that it is made from; `ensemble` and the last two from leaves."""


@dataclass(frozen=True)
class Layout:
    """Paths of one scan under the results folder, and where its data are: there, or in an object store.

    url: an object store for a scan that has no data yet (`layout` asks the environment).
    """

    root: Path
    url: str = ""

    @cached_property
    def data(self) -> Place:
        """Where leaves and stores are."""
        return located(self.root, self.url)

    def leaf(self, name: str) -> LeafStore:
        """One leaf."""
        folder = self.root / "leaves" / name
        return LeafStore(folder, None if isinstance(self.data, Folder) else self.data / "leaves" / name)

    def store(self, stage: str) -> Place:
        """A product store."""
        return self.data / f"{stage}.zarr"

    def receipt(self, stage: str) -> Path:
        """The file that stands for a store or a set of files in the workflow."""
        return self.root / "receipts" / f"{stage}.json"

    @property
    def integrals(self) -> Path:
        """Vertex integrals by content, shared by the stages that need them."""
        return self.root / "integrals"

    @property
    def figures(self) -> Path:
        """Folder of figures with their plotted numbers."""
        return self.root / "figures"

    @property
    def tables(self) -> Path:
        """Folder of tables."""
        return self.root / "tables"

    @property
    def report(self) -> Path:
        """The self-contained report."""
        return self.root / "report.html"

    @property
    def manifest(self) -> Path:
        """Provenance of the whole scan."""
        return self.root / "manifest.json"


def layout(name: str) -> Layout:
    """The layout of a scan by name: results/<name>, and NNQFT_STORE for its data if that is set."""
    return Layout(RESULTS / name, option("store"))


def measurements(scan: Scan) -> list[str]:
    """The measurements of a scan: those of its architectures, and `trainability` where there is such a map."""
    found = [
        name for name in ("cumulants", "criticality") if any(name in f.measure for f in scan.architectures.values())
    ]
    return found + (["trainability"] if scan.trainability else [])


def stages(scan: Scan) -> list[str]:
    """The stages of a scan, in order: each makes one store."""
    return [stage for name in measurements(scan) for stage in STAGES[name]]


def tables(scan: Scan) -> list[str]:
    """The tables of a scan."""
    return [table for name in measurements(scan) for table in TABLES[name]]


def by_points(scan: Scan, measured: Measurement = "cumulants") -> dict[str, list[Architecture]]:
    """The architectures of one measurement by point set, both in the order written."""
    found: dict[str, list[Architecture]] = {name: [] for name in scan.points}
    for architecture in architectures(scan, measured):
        found[architecture.points].append(architecture)
    return {name: group for name, group in found.items() if group}


def coordinates(group: list[Architecture]) -> dict[str, Any]:
    """The coordinate `architecture` with the hyperparameters along it."""
    keys = ("family", "network", "activation", "depth", "sigma_w", "sigma_b", "options")
    columns = {key: ("architecture", _column([getattr(a, key) for a in group])) for key in keys}
    return {"architecture": _column([a.name for a in group])} | columns


def _column(values: list[Any]) -> np.ndarray:
    """Text as objects: fixed-width text would make the width part of the file."""
    return np.array(values, dtype=object if isinstance(values[0], str) else None)


def component_coordinates(points: Basis, orders: Sequence[int]) -> dict[str, Any]:
    """Index tuples of the packed components: pair_points (pair, leg2) and so on."""
    return {f"{DIMENSION[k]}_points": ((DIMENSION[k], f"leg{k}"), multisets(points, k)) for k in sorted(orders)}


def point_coordinates(scan: Scan, points: str) -> dict[str, Any]:
    """The input points: x (point, coordinate)."""
    return {"x": (("point", "coordinate"), np.array(scan.points[points], dtype=np.float64))}


def dataset(variables: dict[str, Any], coords: dict[str, Any], title: str) -> "xr.Dataset":
    """A dataset with a title; empty variables are left out."""
    import xarray as xr  # a second; the workflow needs only names and paths

    return xr.Dataset(variables, coords=coords, attrs={"title": title})
