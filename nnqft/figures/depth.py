"""The quartic coupling layer by layer: u(l) = -N G4c(aaaa) / G2(aa)^2 against the depth l."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnqft.figures.comparison import EXACT
from nnqft.figures.running import few_widths, trusted_quartic
from nnqft.figures.style import (
    COLUMN,
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
    styled,
    wrapped,
)
from nnqft.figures.sweeps import first, panel_names, sweeps
from nnqft.figures.table import Table, table

COLUMNS = (
    "sweep", "architecture", "point", "depth", "width", "coupling", "coupling_stderr", "coupling_theory", "beta",
    "beta_stderr", "beta_theory", "prediction", "trusted", "drawn",
)  # fmt: skip
CAPTION = (
    "The dimensionless quartic coupling of the outputs at one point, u(l) = −N G⁽⁴⁾_c(aaaa) / G⁽²⁾(aa)², after l "
    "hidden layers, for a few widths N: a flow with the depth as its time. Point a is the last of the set. Error "
    "bars: jackknife standard errors; different depths and widths are independent samples, and widths are moved "
    "sideways a little. Coloured lines: exact at that width. Black line: leading order in 1/N, the same for every "
    "width, where nothing exact is known at all depths; it fails where l / N is not small. At leading order −u is 6 l "
    "for linear, 15 l for ReLU and, at criticality and large l, 2 l for erf networks."
)


@styled
def plot(flow: xr.Dataset, cumulants: xr.Dataset, theory: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``flow.zarr``, ``cumulants.zarr``, ``theory.zarr``.

    One panel for each sweep of the depth, the first four. `name`: the point set.
    """
    found, remark = first(sweeps(flow, "depth"))
    names = panel_names(flow, found)
    numbers = couplings_by_depth(flow, cumulants, theory, found, names)
    columns = min(2, len(found))
    figure, axes = panels(-(-len(found) // 2), columns, COLUMN if columns == 1 else PAGE, 2.7)
    entries: dict[str, Line2D] = {}
    for panel, places, title in zip(axes.ravel(), found, names, strict=False):
        rows = [row for row in numbers.records() if row["sweep"] == title and row["drawn"]]
        panel.set_title(title)
        if any(np.isfinite(row["coupling"]) for row in rows):
            entries |= _panel(panel, title, rows)
        else:
            reasons = sorted({safe(s) for s in flow["depth_status"].values[places].ravel() if s})
            empty(panel, wrapped("; ".join(reasons[:1])))
    for panel in axes.ravel()[len(found) :]:
        panel.set_axis_off()
    if text := ": ".join(filter(None, [safe(name), remark])):
        figure.suptitle(text)
    legend_below(figure, entries)
    return figure, numbers


def couplings_by_depth(
    flow: xr.Dataset, cumulants: xr.Dataset, theory: xr.Dataset, found: list[list[int]], names: list[str]
) -> Table:
    """One row per (sweep, depth, width) at the last point."""
    data = {key: flow[f"depth_{key}"].values[..., -1] for key in (
        "coupling", "coupling_stderr", "coupling_theory", "beta", "beta_stderr", "beta_theory"
    )}  # fmt: skip
    trusted, widths, last = trusted_quartic(cumulants), flow["width"].values, flow.sizes["point"] - 1
    known = 4 in theory["order"].values
    kinds = theory["prediction"].sel(order=4).values if known else np.full(len(trusted), "none", dtype=object)
    rows = []
    for places, title in zip(found, names, strict=True):
        chosen = few_widths(widths, np.asarray(np.isfinite(data["coupling"][places]).any(axis=0)))
        for a in places:
            for w, width in enumerate(widths):
                rows.append(
                    (title, str(flow["architecture"].values[a]), last, flow["depth"].values[a], width,
                     *(values[a, w] for values in data.values()), str(kinds[a]), trusted[a, w], w in chosen)
                )  # fmt: skip
    return table(COLUMNS, rows)


def _panel(axes: Axes, title: str, rows: list[dict]) -> dict[str, Line2D]:
    """Draw one sweep; the entries of the legend that it needs."""
    values = [row["coupling"] for row in rows if np.isfinite(row["coupling"])]
    negative = max(values) < 0
    logarithmic = negative or min(values) > 0
    sign = -1.0 if negative else 1.0
    widths, entries = sorted({row["width"] for row in rows}), {}
    for i, width in enumerate(widths):
        mine = sorted((row for row in rows if row["width"] == width), key=lambda row: row["depth"])
        depth, value, error, theory = (
            np.array([row[key] for row in mine], dtype=np.float64)
            for key in ("depth", "coupling", "coupling_stderr", "coupling_theory")
        )
        moved = depth * dodge(i, len(widths), 0.04) if logarithmic else depth + 0.06 * (i - (len(widths) - 1) / 2)
        points(axes, moved, sign * value, error, [row["trusted"] for row in mine], look(i))
        exact = all(row["prediction"] in EXACT for row in mine)
        if exact:
            axes.plot(depth, sign * theory, color=look(i).colour, linestyle=look(i).line, linewidth=0.9, zorder=1)
        elif i == 0:
            axes.plot(depth, sign * theory, color="black", linewidth=0.9, zorder=1)
            entries["leading order in $1/N$"] = Line2D([], [], color="black")
        entries[f"$N={width}$"] = handle(look(i), line=True)
    if logarithmic:
        log_axis(axes, "x", [row["depth"] for row in rows], least=3.0)
        log_axis(axes, "y", np.abs([value for row in rows for value in (row["coupling"], row["coupling_theory"])]))
    axes.set(xlabel="hidden layers $l$", ylabel=r"$-u(l)$" if negative else r"$u(l)$")
    depths = sorted({row["depth"] for row in rows})
    if len(depths) <= 8:
        axes.set_xticks(depths, [str(depth) for depth in depths])
        axes.set_xticks([], minor=True)
    if not all(row["trusted"] for row in rows):
        entries[UNTRUSTED] = handle(look(0), hollow=True)
    return entries
