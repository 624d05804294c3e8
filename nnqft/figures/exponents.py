"""Lyapunov exponents against sigma_w^2: typical and annealed, for a few widths, with infinite width as a line."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnqft.figures.critical import heading, measured, nothing, reason, spread, text, values
from nnqft.figures.running import few_widths
from nnqft.figures.style import (
    COLUMN,
    GREY,
    PAGE,
    SHOWN,
    UNTRUSTED,
    empty,
    handle,
    legend_below,
    look,
    panels,
    points,
    safe,
    styled,
)
from nnqft.figures.sweeps import panel_names, sweeps
from nnqft.figures.table import Table, table

COLUMNS = (
    "sweep", "architecture", "sigma_w", "sigma_w_squared", "width", "lyapunov", "lyapunov_stderr", "lyapunov_trusted",
    "lyapunov_annealed", "lyapunov_annealed_stderr", "lyapunov_annealed_trusted", "lyapunov_theory", "drawn",
)  # fmt: skip
CAPTION = (
    "Largest Lyapunov exponent λ per layer (perceptrons) or time step (recurrent networks) against σ_w². Full "
    "symbols: the mean of the logarithm of growth, what a typical network does. Crosses, for the smallest width "
    "drawn: annealed, half the logarithm of the mean squared growth per step, which few networks may dominate; it "
    "lies above. Error bars: jackknife standard errors; widths are moved sideways a little. Black line: infinite "
    "width, for perceptrons ½ ln χ_⊥, for recurrent networks dynamic mean-field theory, straight between the σ_w of "
    "the sweep. λ = 0 separates order from chaos. A recurrent network at rest at zero grows with the spectral radius "
    "of its one matrix, which at finite n exceeds σ_w: it lies above the line. Grey, hollow symbols or crosses: not "
    "trusted."
)


@styled
def plot(criticality: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``criticality.zarr``; `name`: the point set.

    One panel for each sweep of sigma_w, at most four, spread evenly.
    """
    found, remark = spread(sweeps(criticality, "sigma_w"), SHOWN, "sweeps of $\\sigma_w$")
    names = panel_names(criticality, found)
    numbers = exponents(criticality, found, names)
    if not found:
        return nothing(name, "no sweep of sigma_w"), numbers
    columns = min(2, len(found))
    figure, axes = panels(-(-len(found) // 2), columns, COLUMN if columns == 1 else PAGE, 2.6)
    entries: dict[str, Line2D] = {}
    for panel, places, title in zip(axes.ravel(), found, names, strict=False):
        rows = [row for row in numbers.records() if row["sweep"] == title and row["drawn"]]
        panel.set_title(title)
        if any(np.isfinite([row["lyapunov"], row["lyapunov_annealed"]]).any() for row in rows):
            entries |= _panel(panel, rows)
        else:
            empty(panel, reason(criticality, "lyapunov", places, "no exponent was measured"))
    for panel in axes.ravel()[len(found) :]:
        panel.set_axis_off()
    heading(figure, safe(name), remark)
    legend_below(figure, entries)
    return figure, numbers


def exponents(criticality: xr.Dataset, found: list[list[int]], names: list[str]) -> Table:
    """One row per (sweep, sigma_w, width)."""
    widths, sigma = criticality["width"].values, criticality["sigma_w"].values
    typical, annealed = (measured(criticality, key) for key in ("lyapunov", "lyapunov_annealed"))
    theory = values(criticality, "lyapunov_theory", ("architecture",))
    rows = []
    for places, title in zip(found, names, strict=True):
        chosen = few_widths(widths, np.asarray(np.isfinite(typical[0][places]).any(axis=0)))
        for a in places:
            for w, width in enumerate(widths):
                rows.append(
                    (title, text(criticality, "architecture", a), sigma[a], sigma[a] ** 2, width,
                     *(part[a, w] for part in (*typical, *annealed)), theory[a], w in chosen)
                )  # fmt: skip
    return table(COLUMNS, rows)


def _panel(axes: Axes, rows: list[dict]) -> dict[str, Line2D]:
    """Draw one sweep; the entries of the legend that it needs."""
    entries = {"infinite width": Line2D([], [], color="black")}
    widths = sorted({row["width"] for row in rows})
    squares = sorted({row["sigma_w_squared"] for row in rows})
    step = 0.003 * (squares[-1] - squares[0])
    axes.axhline(0, color=GREY, linewidth=0.5, zorder=0)
    for i, width in enumerate(widths):
        mine = [row for row in rows if row["width"] == width]
        x, value, error, theory = (
            np.array([row[key] for row in mine], dtype=np.float64)
            for key in ("sigma_w_squared", "lyapunov", "lyapunov_stderr", "lyapunov_theory")
        )
        moved = x + step * (i - (len(widths) - 1) / 2)
        points(axes, moved, value, error, [row["lyapunov_trusted"] for row in mine], look(i))
        entries[f"$n={width}$"] = handle(look(i))
        if i == 0:
            axes.plot(x, theory, color="black", linewidth=0.9, zorder=1)
        if i == 0:
            _annealed(axes, moved, mine, look(i).colour)
            entries[f"annealed, $n={width}$"] = Line2D([], [], color=look(i).colour, marker="x", linestyle="none")
    doubtful = [row for row in rows if np.isfinite(row["lyapunov"]) and not row["lyapunov_trusted"]]
    doubtful += [
        row for row in rows
        if row["width"] == widths[0] and np.isfinite(row["lyapunov_annealed"]) and not row["lyapunov_annealed_trusted"]
    ]  # fmt: skip
    if doubtful:
        entries[UNTRUSTED] = handle(look(0), hollow=True)
    axes.set(xlabel=r"$\sigma_w^2$", ylabel=r"$\lambda$")
    return entries


def _annealed(axes: Axes, x: np.ndarray, rows: list[dict], colour: str) -> None:
    """Crosses with error bars; grey where they are not trusted."""
    for at, row in zip(x, rows, strict=True):
        if np.isfinite(row["lyapunov_annealed"]):
            axes.errorbar(
                at, row["lyapunov_annealed"], np.nan_to_num(row["lyapunov_annealed_stderr"]), fmt="x", elinewidth=0.7,
                color=colour if row["lyapunov_annealed_trusted"] else GREY, markersize=3.4, zorder=2,
            )  # fmt: skip
