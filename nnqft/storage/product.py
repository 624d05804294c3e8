"""Products: the dense, labelled stores that users open. Written aside, then put in place in one step."""

import hashlib
import os
import shutil
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore

from nnqft.core.errors import DamageError
from nnqft.storage.files import alive, locked, write_sealed
from nnqft.storage.receipts import fault, files_checksum


def write_tree(path: Path, groups: dict[str, xr.Dataset], attributes: dict[str, Any]) -> str:
    """Write one group per point set to a zarr store, consolidated, and return the SHA-256 of its contents.

    A crash leaves either the old store or the new one.
    """
    fresh, old = (path.with_name(f".{path.name}.{tag}.{os.getpid()}") for tag in ("new", "old"))
    for left in [*path.parent.glob(f".{path.name}.new.*"), *path.parent.glob(f".{path.name}.old.*")]:
        if not alive(left.suffix[1:]):
            shutil.rmtree(left, ignore_errors=True)
    tree = xr.DataTree.from_dict({f"/{name}": data for name, data in groups.items()})
    tree.attrs.update(attributes)
    tree.to_zarr(fresh, mode="w", zarr_format=3, consolidated=False, encoding=_encoding(groups))
    with warnings.catch_warnings():  # consolidation is not yet in the format's specification; readers may ignore it
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(LocalStore(fresh), zarr_format=3)
    with locked(path.parent / "receipts" / ".lock", patience=60):
        if path.exists():
            path.rename(old)
        fresh.rename(path)
    shutil.rmtree(old, ignore_errors=True)
    return checksum(groups)


def read_tree(path: Path) -> xr.DataTree:
    """Open a product, closed over its file handles; FileNotFoundError with the remedy when it is not there.

    Only zarr's third format: the second knows filters that unpickle, so that opening a stranger's store could run code.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such store; run the scan that makes it (nnqft run CONFIG)")
    return xr.open_datatree(path, engine="zarr", zarr_format=3)


def read_whole(path: Path, receipt: Path) -> xr.DataTree:
    """:func:`read_tree` for what is computed from a product: its files are those of its receipt, if there is one.

    Raises:
        DamageError: when they are not, or the receipt is damaged itself.
    """
    if receipt.exists():
        files = [receipt, *(p for p in path.rglob("*") if p.is_file())]
        state = tuple((str(p), (s := p.stat()).st_mtime_ns, s.st_ctime_ns, s.st_size, s.st_ino) for p in sorted(files))
        if wrong := _fault(path, receipt, state):
            raise DamageError(f"{path} {wrong}; `nnqft run` mends it (plain snakemake: delete {receipt} first)")
    return read_tree(path)


@lru_cache(maxsize=64)
def _fault(path: Path, receipt: Path, state: tuple[tuple[str | int, ...], ...]) -> str:
    """Once for a state of the files: a job draws many figures of the same stores."""
    return fault(path, receipt)


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


def write_receipt(path: Path, content: dict[str, Any]) -> None:
    """The small deterministic file that the workflow tracks in place of a store (content: `store`, its name, and more).

    It holds a checksum of the store's files, and its own.
    """
    write_sealed(path, content | {"files": files_checksum(path.parents[1] / content["store"])})


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
