"""HMS's deviations from the Gaussian process, m_2, m_4, m_6 against the width (arXiv:2008.08601, section 3)."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnqft.estimation.cumulants import FULL
from nnqft.estimation.jackknife import stderr
from nnqft.figures.style import (
    PAGE,
    UNTRUSTED,
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
    "architecture", "order", "width", "mean_abs_m", "mean_abs_m_stderr", "background", "theory", "components",
    "components_masked", "trusted",
)  # fmt: skip
CAPTION = (
    "Deviation from the Gaussian process, mₙ = (G⁽ⁿ⁾ − G⁽ⁿ⁾_GP) / G⁽ⁿ⁾_GP for n = 2, 4, 6: the mean of |mₙ| "
    "over the components of the full n-point function, against the width N. G⁽ⁿ⁾_GP is Wick's sum over 1, 3, "
    "15 pairings of the infinite-width kernel; components where it vanishes are left out. Error bars: "
    "jackknife standard error of that mean. Dotted: statistical background, the mean over the same components "
    "of the standard error of mₙ; a mean at the height of the background is no deviation. Lines: the same mean "
    "of the prediction at finite width, where there is one: leading order in 1/N for deeper networks, and not "
    "drawn where it is zero, as m₂ is for one hidden layer."
)
ZERO = 1e-12
"""Fraction of the largest component below which a free correlator counts as zero."""


@styled
def plot(cumulants: xr.Dataset, theory: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``cumulants.zarr`` and of ``theory.zarr``; `name`: the point set."""
    data, prediction = shown(cumulants), shown(theory)
    numbers = deviations(data, prediction)
    figure, axes = panels(1, 3, PAGE, 2.7)
    for order, panel in zip((2, 4, 6), axes[0], strict=True):
        rows = [row for row in numbers.records() if row["order"] == order]
        panel.set_title(f"$n={order}$")
        if not rows:
            empty(panel, f"G{order} was not estimated\n(cumulants.orders)")
            continue
        _panel(panel, rows, [str(a) for a in data["architecture"].values])
        panel.set_ylabel(rf"$\langle|m_{order}|\rangle$")
    title(figure, cumulants, name)
    entries = {safe(str(a)): handle(look(i)) for i, a in enumerate(data["architecture"].values)}
    entries["prediction"] = Line2D([], [], color="black", linestyle="-")
    entries["statistical background"] = Line2D([], [], color="black", linestyle=":")
    if not all(numbers.column("trusted")):
        entries[UNTRUSTED] = handle(look(0), hollow=True)
    legend_below(figure, entries)
    return figure, numbers


def deviations(cumulants: xr.Dataset, theory: xr.Dataset) -> Table:
    """One row per (architecture, order, width): the mean |m_n|, its error, the background and the prediction.

    A cell is trusted when all orders up to n are: the full correlator is made of them.
    """
    rows = []
    orders = [int(order) for order in cumulants["order"].values]
    full = {2: "G2"} | FULL
    for a, architecture in enumerate(cumulants["architecture"].values):
        for o, order in enumerate(orders):
            name = full[order]
            free = theory[f"G{order}_gp"].values[a]
            seen = np.abs(free) > ZERO * np.abs(free).max()
            m = cumulants[name].values[a][:, seen] / free[seen] - 1
            samples = np.abs(cumulants[f"{name}_replicate"].values[a][..., seen] / free[seen] - 1).mean(axis=-1)
            background = (cumulants[f"{name}_stderr"].values[a][:, seen] / np.abs(free[seen])).mean(axis=-1)
            exact = np.abs(theory[name].values[a][:, seen] / free[seen] - 1).mean(axis=-1)
            trusted = np.asarray(cumulants["trusted"].values[a, :, : o + 1].all(axis=-1))
            mean, error = np.abs(m).mean(axis=-1), stderr(samples, axis=1)
            for w, width in enumerate(cumulants["width"].values):
                rows.append(
                    (str(architecture), order, width, mean[w], error[w], background[w], exact[w], int(seen.sum()),
                     int((~seen).sum()), trusted[w])
                )  # fmt: skip
    return table(COLUMNS, rows)


def _panel(axes: Axes, rows: list[dict], architectures: list[str]) -> None:
    drawn: list[float] = []
    zero = 0
    for i, architecture in enumerate(architectures):
        mine = sorted((row for row in rows if row["architecture"] == architecture), key=lambda row: row["width"])
        width, mean, error, background, exact = (
            np.array([row[key] for row in mine], dtype=np.float64)
            for key in ("width", "mean_abs_m", "mean_abs_m_stderr", "background", "theory")
        )
        points(axes, width, mean, error, [row["trusted"] for row in mine], look(i))
        axes.plot(width, background, ":", color=look(i).colour, linewidth=0.9, zorder=1)
        visible = np.where(exact > ZERO, exact, np.nan)
        axes.plot(width, visible, "-", color=look(i).colour, linewidth=0.9, zorder=1)
        zero += int((exact <= ZERO).all())
        drawn += [*mean, *background, *visible[np.isfinite(visible)]]
    if zero == len(architectures):
        axes.text(0.96, 0.95, "prediction: 0", transform=axes.transAxes, ha="right", va="top", fontsize=8)
    log_axis(axes, "x", [row["width"] for row in rows])
    log_axis(axes, "y", drawn)
    axes.set_xlabel("width $N$")
