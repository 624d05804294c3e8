"""Figures of every point set, each as PDF, PNG and the plotted numbers as CSV."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from nnqft.figures import (
    action,
    collapse,
    corrections,
    couplings,
    depth,
    deviations,
    dynamics,
    exponents,
    lengths,
    phase,
    potential,
    pulls,
    scaling,
    sextic,
    sixpoints,
    trainability,
)
from nnqft.figures.style import image
from nnqft.figures.table import Table
from nnqft.spec.model import Scan
from nnqft.stages.gallery import figures
from nnqft.stages.layout import Layout
from nnqft.storage.product import read_whole

CAPTIONS = {
    "deviations": deviations.CAPTION,
    "scaling": scaling.CAPTION,
    "couplings": couplings.CAPTION,
    "sextic": sextic.CAPTION,
    "sixpoints": sixpoints.CAPTION,
    "action": action.CAPTION,
    "pulls": pulls.CAPTION,
    "depth": depth.CAPTION,
    "potential": potential.CAPTION,
    "phase": phase.CAPTION,
    "exponents": exponents.CAPTION,
    "lengths": lengths.CAPTION,
    "corrections": corrections.CAPTION,
    "collapse": collapse.CAPTION,
    "dynamics": dynamics.CAPTION,
    "trainability": trainability.CAPTION,
}
_PLOTS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "deviations": (deviations.plot, ("cumulants", "theory")),
    "scaling": (scaling.plot, ("cumulants", "theory")),
    "couplings": (couplings.plot, ("couplings", "flow", "cumulants")),
    "sextic": (sextic.plot, ("couplings", "flow", "cumulants")),
    "sixpoints": (sixpoints.plot, ("sixpoints", "cumulants")),
    "action": (action.plot, ("action", "cumulants")),
    "pulls": (pulls.plot, ("cumulants", "theory")),
    "depth": (depth.plot, ("flow", "cumulants", "theory")),
    "potential": (potential.plot, ("flow", "cumulants")),
    "phase": (phase.plot, ("criticality",)),
    "exponents": (exponents.plot, ("criticality",)),
    "lengths": (lengths.plot, ("criticality",)),
    "corrections": (corrections.plot, ("criticality",)),
    "collapse": (collapse.plot, ("criticality",)),
    "dynamics": (dynamics.plot, ("criticality",)),
    "trainability": (trainability.plot, ("trainability",)),
}
"""How each kind is drawn: the function, and the stores that it takes, in its order."""


def draw_figure(scan: Scan, layout: Layout, name: str) -> None:
    """Write one kind of figure, figures/{name}-{points}.{pdf,png,csv}, of every point set that has it.

    Raises:
        FileNotFoundError: when a store is missing.
        KeyError: for a kind that does not apply to the scan.
    """
    kind = figures(scan)[name]
    stores = {stage: read_whole(layout.store(stage), layout.receipt(stage)) for stage in kind.stores}
    layout.figures.mkdir(parents=True, exist_ok=True)
    for points in kind.points:
        draw(layout.figures, name, points, {stage: tree[points].to_dataset() for stage, tree in stores.items()})


def draw(folder: Path, name: str, points: str, data: dict[str, xr.Dataset]) -> None:
    """One figure; data: the point set's group of each store it shows."""
    plot, stores = _PLOTS[name]
    figure, numbers = plot(*(data[store] for store in stores), points)
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
