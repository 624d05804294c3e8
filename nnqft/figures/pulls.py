"""Are the error bars honest? Histogram of (estimate - prediction) / error against a standard normal."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnqft.estimation.cumulants import CONNECTED
from nnqft.figures.comparison import EXACT, Cell, combine, compare
from nnqft.figures.numbers import p_text, plain
from nnqft.figures.style import PAGE, empty, legend_below, line_handle, look, panels, safe, shown, styled, title
from nnqft.figures.table import Table, table

NORMAL = "#dddddd"
EDGES = np.linspace(-5.0, 5.0, 21)
COLUMNS = (
    "architecture", "order", "bin_left", "bin_right", "count", "density", "normal_density", "outside", "cells",
    "cells_left_out", "chi2", "modes", "p_value",
)  # fmt: skip
CAPTION = (
    "Pulls (estimate − prediction) / standard error of every component of G⁽²⁾, G⁽⁴⁾_c, G⁽⁶⁾_c at every "
    "trusted width, against the standard normal density. Components of one correlator are strongly correlated, "
    "so the histogram of one ensemble may be ragged without meaning anything; χ² and p in the legend take the "
    "correlations into account (χ² over m independent combinations, p from Hotelling's law with jackknife "
    "covariances, combined over widths by Fisher's method). Cells that are not converged are left out and "
    "counted. Against a prediction to leading order in 1/N pulls are expected to be off at small widths."
)


@styled
def plot(cumulants: xr.Dataset, theory: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``cumulants.zarr`` and of ``theory.zarr``; `name`: the point set."""
    cells = compare(shown(cumulants), shown(theory))
    numbers = histogram(cells)
    architectures = list(dict.fromkeys(cell.architecture for cell in cells))
    figure, axes = panels(1, 3, PAGE, 2.9 + 0.25 * len(architectures))
    for order, panel in zip((2, 4, 6), axes[0], strict=True):
        mine = [cell for cell in cells if cell.order == order]
        panel.set_title("$G^{(2)}$" if order == 2 else rf"$G^{{({order})}}_c$")
        if not mine:
            empty(panel, f"{CONNECTED[order]} was not estimated\n(cumulants.orders)")
        elif not any(cell.result.components for cell in mine):
            empty(panel, "no prediction")
        elif not any(_drawn(cell) for cell in mine):
            empty(panel, f"no trusted cell:\n{len(mine)} of {len(mine)} left out")
        else:
            rows = [row for row in numbers.records() if row["order"] == order]
            _panel(panel, architectures, mine, rows)
    axes[0, 0].set_ylabel("density")
    title(figure, cumulants, name)
    entries = {safe(architecture): line_handle(look(i)) for i, architecture in enumerate(architectures)}
    legend_below(figure, entries | {"standard normal": Line2D([], [], color=NORMAL, linewidth=5)})
    return figure, numbers


def histogram(cells: list[Cell]) -> Table:
    """One row per (architecture, order, bin): counts, density, and chi^2, modes, p of the cells in it."""
    rows = []
    centres = (EDGES[1:] + EDGES[:-1]) / 2
    for architecture, order in dict.fromkeys((cell.architecture, cell.order) for cell in cells):
        mine = [cell for cell in cells if (cell.architecture, cell.order) == (architecture, order)]
        used = [cell for cell in mine if _drawn(cell)]
        pulls = np.concatenate([np.empty(0), *(cell.result.pulls for cell in used)])
        pulls = pulls[~np.isnan(pulls)]
        count, _ = np.histogram(pulls, EDGES)
        density = count / max(1, len(pulls)) / np.diff(EDGES)
        together = combine(used)
        for i in range(len(centres)):
            rows.append(
                (architecture, order, EDGES[i], EDGES[i + 1], count[i], density[i], _normal_density(centres[i]),
                 int(len(pulls) - count.sum()), len(used), len(mine) - len(used), together.chi2, together.modes,
                 together.p_value)
            )  # fmt: skip
    return table(COLUMNS, rows)


def _drawn(cell: Cell) -> bool:
    return cell.trusted and cell.result.components > 0


def _normal_density(x: np.ndarray) -> np.ndarray:
    return np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)


def _panel(axes: Axes, architectures: list[str], cells: list[Cell], rows: list[dict]) -> None:
    fine = np.linspace(EDGES[0], EDGES[-1], 201)
    axes.fill_between(fine, _normal_density(fine), color=NORMAL, linewidth=0, zorder=0)
    entries = {}
    for i, architecture in enumerate(architectures):
        mine = [row for row in rows if row["architecture"] == architecture]
        if mine[0]["cells"]:
            axes.stairs([row["density"] for row in mine], EDGES, color=look(i).colour, linestyle=look(i).line)
        text = _text([cell for cell in cells if cell.architecture == architecture], mine[0])
        entries[line_handle(look(i))] = text
    axes.set(xlim=(EDGES[0], EDGES[-1]), xlabel="pull", ylim=(0, None))
    axes.legend(list(entries), list(entries.values()), loc="upper center", bbox_to_anchor=(0.5, -0.18))


def _text(cells: list[Cell], row: dict) -> str:
    """chi^2 per mode and p of one architecture; on lines below, what is unusual about it."""
    used = [cell for cell in cells if _drawn(cell)]
    lines = []
    if used:
        chi2 = plain(row["chi2"], 3, math_text=True)
        lines.append(f"$\\chi^2/m$ = {chi2}/{row['modes']}, $p$ = {p_text(row['p_value'], math_text=True)}")
        if used[0].prediction not in EXACT:
            lines.append("theory: leading $1/N$ only")
    if row["cells_left_out"]:
        none = cells[0].result.components == 0
        lines.append("no prediction" if none else f"{row['cells_left_out']} of {len(cells)} widths left out")
    if row["outside"]:
        lines.append(f"{row['outside']} pulls beyond $\\pm{EDGES[-1]:g}$")
    return "\n".join(lines)
