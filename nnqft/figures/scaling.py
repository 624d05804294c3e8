"""N G4c and N^2 G6c against the width: flat at leading order in 1/N, and always for one hidden layer."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnqft.estimation.cumulants import CONNECTED
from nnqft.figures.comparison import COMPONENT, KINDS, component_label, representatives
from nnqft.figures.style import (
    PAGE,
    UNTRUSTED,
    dodge,
    empty,
    handle,
    legend_below,
    log_axis,
    look,
    panels,
    points,
    safe,
    shown,
    styled,
    title,
)
from nnqft.figures.table import Table, table

COLUMNS = (
    "architecture", "order", "kind", "component", "width", "scaled_value", "scaled_stderr", "scaled_theory",
    "prediction", "trusted",
)  # fmt: skip
CAPTION = (
    "Connected correlators times the power of the width that makes them flat, N G⁽⁴⁾_c and N² G⁽⁶⁾_c, for "
    "three components: all legs at one point, legs in pairs, and legs as distinct as the points allow (digits "
    "number the points from 0). Error bars: jackknife standard errors. Lines: prediction; exactly flat for one "
    "hidden layer at every width, leading order in 1/N for deeper networks. Components are moved sideways a "
    "little so that error bars do not hide each other. The axis is logarithmic where all values are positive "
    "and differ much."
)
RANGE = 30.0
"""Ratio of values above which a panel is logarithmic (if all are positive)."""


@styled
def plot(cumulants: xr.Dataset, theory: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``cumulants.zarr`` and of ``theory.zarr``; `name`: the point set."""
    data, prediction = shown(cumulants), shown(theory)
    numbers = scaled(data, prediction)
    architectures = [str(a) for a in data["architecture"].values]
    figure, axes = panels(len(architectures), 2, PAGE, 2.5)
    for architecture, row in zip(architectures, axes, strict=True):
        for order, panel in zip((4, 6), row, strict=True):
            mine = [r for r in numbers.records() if (r["architecture"], r["order"]) == (architecture, order)]
            panel.set_title(safe(architecture))
            if not mine:
                empty(panel, f"{CONNECTED[order]} was not estimated\n(cumulants.orders)")
                continue
            _panel(panel, mine)
            power = "N" if order == 4 else "N^2"
            panel.set_ylabel(rf"${power}\,G^{{({order})}}_c$")
    title(figure, cumulants, name)
    legend_below(figure, _entries(numbers))
    return figure, numbers


def scaled(cumulants: xr.Dataset, theory: xr.Dataset) -> Table:
    """One row per (architecture, order, component, width): N^(k/2 - 1) times estimate, error and prediction."""
    rows = []
    n_points = cumulants.sizes["point"]
    widths = cumulants["width"].values.astype(np.float64)
    for order in [int(order) for order in cumulants["order"].values if order > 2]:
        name, scale = CONNECTED[order], widths ** (order // 2 - 1)
        legs = cumulants[f"{COMPONENT[order]}_points"].values
        kinds = theory["prediction"].sel(order=order).values
        trusted = cumulants["trusted"].sel(order=order).values
        for a, architecture in enumerate(cumulants["architecture"].values):
            for kind, wanted in representatives(n_points, legs).items():
                c = int(np.flatnonzero((legs == wanted).all(axis=1))[0])
                value, error, exact = (
                    store[key].values[a, :, c] * scale
                    for store, key in ((cumulants, name), (cumulants, f"{name}_stderr"), (theory, name))
                )
                for w, width in enumerate(cumulants["width"].values):
                    rows.append(
                        (str(architecture), order, kind, component_label(wanted), width, value[w], error[w], exact[w],
                         str(kinds[a]), trusted[a, w])
                    )  # fmt: skip
    return table(COLUMNS, rows)


def _panel(axes: Axes, rows: list[dict]) -> None:
    values = np.array([row["scaled_value"] for row in rows])
    exact = np.array([row["scaled_theory"] for row in rows])
    both = np.concatenate([values, exact[np.isfinite(exact)]])
    log_axis(axes, "x", [row["width"] for row in rows])
    if (both > 0).all() and both.max() > RANGE * both.min():
        log_axis(axes, "y", both)
    for i, kind in enumerate(KINDS):
        mine = sorted((row for row in rows if row["kind"] == kind), key=lambda row: row["width"])
        if not mine:
            continue
        width, value, error, theory = (
            np.array([row[key] for row in mine], dtype=np.float64)
            for key in ("width", "scaled_value", "scaled_stderr", "scaled_theory")
        )
        points(axes, width * dodge(i, len(KINDS)), value, error, [row["trusted"] for row in mine], look(i))
        edges = np.array(axes.get_xlim()) if np.ptp(theory) <= 1e-9 * np.abs(theory).max() else width
        line = np.full(len(edges), theory[0]) if edges is not width else theory
        axes.plot(edges, line, color=look(i).colour, linestyle=look(i).line, linewidth=0.9, zorder=1)
    axes.set_xlabel("width $N$")


def _entries(numbers: Table) -> dict[str, Line2D]:
    """Legend: each kind of component with its indices at every order."""
    labels: dict[str, list[str]] = {}
    for row in numbers.records():
        labels.setdefault(str(row["kind"]), [])
        if row["component"] not in labels[str(row["kind"])]:
            labels[str(row["kind"])].append(str(row["component"]))
    entries = {
        f"{kind} ({', '.join(parts)})": handle(look(KINDS.index(kind)), line=True) for kind, parts in labels.items()
    }
    if numbers.rows and not all(numbers.column("trusted")):
        entries[UNTRUSTED] = handle(look(0), hollow=True)
    return entries
