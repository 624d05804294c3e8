"""Products: the dense, labelled stores that users open. Written aside, then put in place."""

import hashlib
import warnings
from collections.abc import Hashable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore

from nnqft.core.errors import DamageError
from nnqft.storage.files import write_sealed
from nnqft.storage.place import Place
from nnqft.storage.receipts import fault, files_checksum


def save(place: Place, receipt: Path, groups: dict[str, xr.Dataset], attributes: dict[str, Any]) -> None:
    """A store, and the small deterministic file that the workflow tracks in its place.

    That holds checksums of the store's numbers and of its files, and its own.
    """
    sha = write_tree(place, groups, attributes)
    name = str(place).rpartition("/")[2]
    write_sealed(receipt, {"store": name, "sha256": sha, "files": files_checksum(place)})


def write_tree(place: Place, groups: dict[str, xr.Dataset], attributes: dict[str, Any]) -> str:
    """Write one group per point set to a zarr store, consolidated, and return the SHA-256 of its contents.

    A crash leaves either the old store or the new one; in an object store these or none.
    """
    tree = xr.DataTree.from_dict({f"/{name}": data for name, data in groups.items()})
    tree.attrs.update(attributes)
    with place.replaced() as fresh:
        tree.to_zarr(fresh, mode="w", zarr_format=3, consolidated=False, encoding=_encoding(groups))
        with warnings.catch_warnings():  # consolidation is not yet in the format's specification; readers may ignore it
            warnings.simplefilter("ignore", ZarrUserWarning)
            zarr.consolidate_metadata(LocalStore(fresh), zarr_format=3)
    return checksum(groups)


def read_tree(place: Place) -> xr.DataTree:
    """Open a product, closed over its file handles; FileNotFoundError with the remedy when it is not there.

    Only zarr's third format: the second knows filters that unpickle, so that opening a stranger's store could run code.
    """
    if not place.exists():
        raise FileNotFoundError(f"{place}: no such store; run the scan that makes it (nnqft run CONFIG)")
    return xr.open_datatree(place.zarr(), engine="zarr", zarr_format=3)


def read_whole(place: Place, receipt: Path) -> xr.DataTree:
    """:func:`read_tree` for what is computed from a product: its files are those of its receipt, if there is one.

    Raises:
        DamageError: when they are not, or the receipt is damaged itself.
    """
    if receipt.exists():
        names = sorted(place.names())
        there = receipt.stat()
        states = place.many(place.state, names), (there.st_mtime_ns, there.st_size, there.st_ino)
        if wrong := _fault(place, receipt, (*names, *states[0], states[1])):
            raise DamageError(f"{place} {wrong}; `nnqft run` mends it (plain snakemake: delete {receipt} first)")
    return read_tree(place)


@lru_cache(maxsize=64)
def _fault(place: Place, receipt: Path, state: tuple[Hashable, ...]) -> str:
    """Once for a state of the files: a job draws many figures of the same stores."""
    return fault(place, receipt)


def checksum(groups: dict[str, xr.Dataset]) -> str:
    """SHA-256 over names, shapes and values of all variables: the same for the same numbers, whatever the files."""
    sha = hashlib.sha256()
    for name, data in sorted(groups.items()):
        for variable in sorted(map(str, data.variables)):
            values = np.asarray(data[variable].values)
            sha.update(f"{name}/{variable}{data[variable].dims}{values.shape}".encode())
            text = values.dtype.kind in "UOT"
            sha.update("\0".join(map(str, values.ravel())).encode() if text else np.ascontiguousarray(values).tobytes())
    return sha.hexdigest()


def _encoding(groups: dict[str, xr.Dataset]) -> dict[str, dict[str, Any]]:
    """One chunk per (architecture, width) cell would make many small files: keep whole arrays up to 64 MiB."""
    found: dict[str, dict[str, Any]] = {}
    for name, data in groups.items():
        found[f"/{name}"] = {}
        for key, variable in data.variables.items():
            if variable.dtype.kind in "fiu" and variable.nbytes > 64 * 2**20 and variable.ndim > 1:
                per_row = variable.nbytes // variable.shape[0]
                rows = max(1, 64 * 2**20 // per_row)
                found[f"/{name}"][str(key)] = {"chunks": (rows, *variable.shape[1:])}
    return found
