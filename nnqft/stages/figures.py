"""Figures of every point set, each as PDF, PNG and the plotted numbers as CSV."""

import os
from pathlib import Path

import xarray as xr

from nnqft.figures import couplings, depth, deviations, potential, pulls, scaling
from nnqft.figures.style import image
from nnqft.figures.table import Table
from nnqft.spec.model import Scan
from nnqft.stages.gallery import figures
from nnqft.stages.layout import Layout
from nnqft.storage.product import read_tree

CAPTIONS = {
    "deviations": deviations.CAPTION,
    "scaling": scaling.CAPTION,
    "couplings": couplings.CAPTION,
    "pulls": pulls.CAPTION,
    "depth": depth.CAPTION,
    "potential": potential.CAPTION,
}


def draw_figure(scan: Scan, layout: Layout, name: str) -> None:
    """Write one kind of figure, figures/{name}-{points}.{pdf,png,csv}, of every point set that has it.

    Raises:
        FileNotFoundError: when a store is missing.
        KeyError: for a kind that does not apply to the scan.
    """
    kind = figures(scan)[name]
    stores = {stage: read_tree(layout.store(stage)) for stage in kind.stores}
    layout.figures.mkdir(parents=True, exist_ok=True)
    for points in kind.points:
        draw(layout.figures, name, points, {stage: tree[points].to_dataset() for stage, tree in stores.items()})


def draw(folder: Path, name: str, points: str, data: dict[str, xr.Dataset]) -> None:
    """One figure; data: the point set's group of each store it shows."""
    if name == "couplings":
        figure, numbers = couplings.plot(data["couplings"], data["flow"], data["cumulants"], points)
    elif name == "depth":
        figure, numbers = depth.plot(data["flow"], data["cumulants"], data["theory"], points)
    elif name == "potential":
        figure, numbers = potential.plot(data["flow"], data["cumulants"], points)
    else:
        kind = {"deviations": deviations, "scaling": scaling, "pulls": pulls}[name]
        figure, numbers = kind.plot(data["cumulants"], data["theory"], points)
    stem = folder / f"{name}-{points}"
    replace(stem.with_name(f"{stem.name}.png"), image(figure, "png"))
    replace(stem.with_name(f"{stem.name}.pdf"), image(figure, "pdf"))
    write_csv(stem.with_name(f"{stem.name}.csv"), numbers)


def write_csv(path: Path, numbers: Table) -> None:
    """The numbers of a table as UTF-8 text."""
    replace(path, numbers.csv().encode())


def replace(path: Path, content: bytes) -> None:
    """Write a file that is either the old or the new one, never half."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    fresh.write_bytes(content)
    fresh.replace(path)
