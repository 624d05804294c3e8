"""Figures of every point set, each as PDF, PNG and the plotted numbers as CSV."""

import os
from pathlib import Path

import xarray as xr

from nnqft.figures import couplings, deviations, pulls, scaling
from nnqft.figures.style import image
from nnqft.figures.table import Table
from nnqft.spec.model import Scan
from nnqft.stages.layout import Layout, by_points
from nnqft.storage.product import read_tree

CAPTIONS = {
    "deviations": deviations.CAPTION,
    "scaling": scaling.CAPTION,
    "couplings": couplings.CAPTION,
    "pulls": pulls.CAPTION,
}


def draw_figures(scan: Scan, layout: Layout) -> None:
    """Write figures/{figure}-{points}.{pdf,png,csv}; FileNotFoundError when a store is missing."""
    stores = {stage: read_tree(layout.store(stage)) for stage in ("cumulants", "theory", "couplings", "flow")}
    layout.figures.mkdir(parents=True, exist_ok=True)
    for points in by_points(scan):
        draw(layout.figures, points, {stage: tree[points].to_dataset() for stage, tree in stores.items()})


def draw(folder: Path, points: str, data: dict[str, xr.Dataset]) -> None:
    """All figures of one point set; data: its group of each store."""
    cumulants, theory = data["cumulants"], data["theory"]
    for name, (figure, numbers) in {
        "deviations": deviations.plot(cumulants, theory, points),
        "scaling": scaling.plot(cumulants, theory, points),
        "couplings": couplings.plot(data["couplings"], data["flow"], cumulants, points),
        "pulls": pulls.plot(cumulants, theory, points),
    }.items():
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
