"""Where the numbers come from: versions, checksums, seeds, times. No user, no host, no absolute path."""

import csv
import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, get_args

import nnqft
from nnqft.core.versions import KERNEL_VERSION
from nnqft.spec.grid import architectures
from nnqft.spec.measurements import Measurement
from nnqft.spec.model import Scan
from nnqft.stages.layout import Layout, stages
from nnqft.stages.work import all_work
from nnqft.storage.files import read_sealed

PACKAGES = (
    "nnqft", "numpy", "scipy", "jax", "jaxlib", "xarray", "zarr", "dask", "distributed", "snakemake", "matplotlib",
)  # fmt: skip
CODE = Path(nnqft.__path__[0])


def manifest(scan: Scan, layout: Layout) -> dict[str, Any]:
    """Everything that is needed to make the results again, and how long they took."""
    return {
        "name": scan.name,
        "configuration": scan.model_dump(mode="json"),
        "architectures": list(dict.fromkeys(a.name for m in get_args(Measurement) for a in architectures(scan, m))),
        "seed": scan.seed,
        "generators": generators(scan, layout),
        "devices": devices(scan, layout),
        "kernel_version": KERNEL_VERSION,
        "versions": versions(),
        "code_sha256": code_checksum(CODE),
        "data_sha256": data_checksums(scan, layout),
        "leaves_sha256": leaf_checksums(scan, layout),
        "wall_times_s": wall_times(layout.root / "benchmarks"),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter; those that are not there are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def code_checksum(folder: Path) -> str:
    """SHA-256 over the relative names and the contents of a package's Python files."""
    sha = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        content = path.read_bytes()
        sha.update(f"{path.relative_to(folder).as_posix()}\0{len(content)}\0".encode())
        sha.update(content)
    return sha.hexdigest()


def data_checksums(scan: Scan, layout: Layout) -> dict[str, str]:
    """SHA-256 of the numbers in each store, from its receipt; FileNotFoundError when one is missing."""
    return {f"{stage}.zarr": _receipt(layout.receipt(stage))["sha256"] for stage in stages(scan)}


def leaf_checksums(scan: Scan, layout: Layout) -> dict[str, str]:
    """SHA-256 of each leaf's receipt, which holds the checksums of its blocks."""
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in _leaf_receipts(scan, layout).items()}


def generators(scan: Scan, layout: Layout) -> list[str]:
    """The random number generators that drew the networks, as the leaves recorded them."""
    return sorted({str(_receipt(path)["generator"]) for path in _leaf_receipts(scan, layout).values()})


def devices(scan: Scan, layout: Layout) -> list[str]:
    """The kinds of devices that computed the blocks: `cpu`, JAX's names of GPUs, `unrecorded` for older receipts."""
    receipts = map(_receipt, _leaf_receipts(scan, layout).values())
    return sorted({kind for receipt in receipts for kind in receipt.get("devices", ["unrecorded"])})


def wall_times(folder: Path) -> dict[str, float]:
    """Seconds of each workflow job, from Snakemake's benchmark files; empty when the workflow did not run."""
    found = {}
    for path in sorted(folder.glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as stream:
            seconds = [row.get("s") for row in csv.DictReader(stream, delimiter="\t")]
        if seconds and seconds[-1]:
            found[path.stem] = float(seconds[-1])
    return found


def _leaf_receipts(scan: Scan, layout: Layout) -> dict[str, Path]:
    return {work.leaf.name: layout.leaf(work.leaf.name).manifest for work in all_work(scan)}


def _receipt(path: Path) -> dict[str, Any]:
    return read_sealed(path)
