"""Finished scans, read back through xarray."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import xarray as xr

from nnqft.storage.location import located
from nnqft.storage.objects import objects
from nnqft.storage.place import Place
from nnqft.storage.product import read_tree


@dataclass(frozen=True)
class Results:
    """The stores of one scan: DataTrees with one group per point set, opened when first asked for."""

    place: Place

    @cached_property
    def ensemble(self) -> xr.DataTree:
        """Power sums by jackknife group."""
        return self._open("ensemble")

    @cached_property
    def cumulants(self) -> xr.DataTree:
        """Correlators, errors, replicates, tail verdicts."""
        return self._open("cumulants")

    @cached_property
    def theory(self) -> xr.DataTree:
        """Predictions."""
        return self._open("theory")

    @cached_property
    def couplings(self) -> xr.DataTree:
        """Effective couplings."""
        return self._open("couplings")

    @cached_property
    def flow(self) -> xr.DataTree:
        """Beta functions, slopes, exponents."""
        return self._open("flow")

    @cached_property
    def action(self) -> xr.DataTree:
        """Couplings on the points themselves."""
        return self._open("action")

    @cached_property
    def sixpoints(self) -> xr.DataTree:
        """Six-point functions predicted by the couplings."""
        return self._open("sixpoints")

    @cached_property
    def criticality(self) -> xr.DataTree:
        """Depth scales, Lyapunov exponents, fluctuations layer by layer."""
        return self._open("criticality")

    @cached_property
    def trainability(self) -> xr.DataTree:
        """Accuracy after training: one group a map."""
        return self._open("trainability")

    def _open(self, stage: str) -> xr.DataTree:
        return read_tree(self.place / f"{stage}.zarr")


def open_results(folder: str | Path) -> Results:
    """The stores of a finished scan, e.g. ``open_results("results/hms").cumulants["relu-ray"]``.

    folder: a results folder, whose data may be in an object store; or where they are there, ``s3://bucket/prefix/hms``.

    Raises:
        FileNotFoundError: when the folder does not exist.
        InputError: for a URL that names no object store.
    """
    if "://" in str(folder):
        return Results(objects(str(folder)))
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; run the scan first (nnqft run CONFIG)")
    return Results(located(Path(folder)))
