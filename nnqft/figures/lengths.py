"""Depth scales xi_c and xi_q against sigma_w: mean field, corrected at order 1/n, and measured."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnqft.figures.critical import (
    FEW,
    heading,
    measured,
    nothing,
    perceptrons,
    phases,
    reason,
    spread,
    text,
    transition,
    values,
)
from nnqft.figures.running import few_widths
from nnqft.figures.style import (
    COLUMN,
    GREY,
    PAGE,
    UNTRUSTED,
    Look,
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
)
from nnqft.figures.sweeps import panel_names, sweeps
from nnqft.figures.table import Table, table

COLUMNS = (
    "sweep", "architecture", "scale", "sigma_w", "width", "measured", "measured_stderr", "trusted", "decay",
    "decay_stderr", "decay_trusted", "mean_field", "corrected", "chi_perp", "transition", "drawn",
)  # fmt: skip
CAPTION = (
    "Depth scales in layers against σ_w: ξ_c, over which the correlation of two points approaches its fixed point, "
    "and ξ_q, of their lengths. Full symbols: from the measured rates of finite networks. Open coloured symbols, ξ_c "
    "alone: an exponential fitted to the decay itself, where that is trusted; other decays mix into it. Error bars: "
    "jackknife standard errors; widths are moved sideways a little. Black line: mean field, straight between the σ_w "
    "of the sweep and broken at the boundary, where ξ_c diverges (grey, interpolated). Dashed: corrected at order 1/n "
    "for that width, ξ_c in the ordered phase only. Scales that the depth of the networks cannot resolve are missing; "
    "the store names the reason."
)
SCALES = {"xi_c": r"$\xi_c$", "xi_q": r"$\xi_q$"}


@styled
def plot(criticality: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``criticality.zarr``; `name`: the point set.

    One column of panels for each sweep of sigma_w in perceptrons, at most `FEW`, spread evenly.
    """
    layered = set(perceptrons(criticality))
    all_sweeps = [places for places in sweeps(criticality, "sigma_w") if places[0] in layered]
    found, remark = spread(all_sweeps, FEW, "sweeps of $\\sigma_w$")
    names = panel_names(criticality, found)
    numbers = scales(criticality, found, names)
    if not found:
        return nothing(name, "no sweep of sigma_w in perceptrons"), numbers
    figure, axes = panels(2, len(found), COLUMN if len(found) == 1 else PAGE, 2.3)
    entries: dict[str, Line2D] = {}
    for column, (places, title) in enumerate(zip(found, names, strict=True)):
        for row, scale in enumerate(SCALES):
            panel = axes[row, column]
            mine = [r for r in numbers.records() if (r["sweep"], r["scale"]) == (title, scale) and r["drawn"]]
            if row == 0:
                panel.set_title(title)
            drawable = [[r["measured"], r["decay"], r["mean_field"], r["corrected"]] for r in mine]
            if np.isfinite(drawable).any():
                entries |= _panel(panel, mine)
                panel.set(xlabel=r"$\sigma_w$" if row else "", ylabel=f"{SCALES[scale]} (layers)")
            else:
                empty(panel, reason(criticality, f"{scale}_measured", places, f"no finite {scale}"))
    heading(figure, safe(name), remark)
    legend_below(figure, entries)
    return figure, numbers


def scales(criticality: xr.Dataset, found: list[list[int]], names: list[str]) -> Table:
    """One row per (sweep, scale, sigma_w, width)."""
    widths, sigma = criticality["width"].values, criticality["sigma_w"].values
    chi = values(criticality, "chi_perp", ("architecture",))
    rows = []
    for places, title in zip(found, names, strict=True):
        edge = transition(sigma[places], chi[places])
        for scale in SCALES:
            direct, decay = (measured(criticality, f"{scale}_{key}") for key in ("measured", "decay"))
            mean = values(criticality, scale, ("architecture",))
            corrected = values(criticality, f"{scale}_corrected")
            chosen = few_widths(widths, np.asarray(np.isfinite(direct[0][places]).any(axis=0)))
            for a in places:
                for w, width in enumerate(widths):
                    rows.append(
                        (title, text(criticality, "architecture", a), scale, sigma[a], width,
                         *(part[a, w] for part in (*direct, *decay)), mean[a], corrected[a, w], chi[a], edge,
                         w in chosen)
                    )  # fmt: skip
    return table(COLUMNS, rows)


def _panel(axes: Axes, rows: list[dict]) -> dict[str, Line2D]:
    """Draw one scale of one sweep; the entries of the legend that it needs."""
    entries = {"mean field": Line2D([], [], color="black")}
    widths = sorted({row["width"] for row in rows})
    if np.isfinite(edge := rows[0]["transition"]):
        axes.axvline(edge, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
    for i, width in enumerate(widths):
        mine = [row for row in rows if row["width"] == width]
        sigma, mean, corrected, chi = (
            np.array([row[key] for row in mine], dtype=np.float64)
            for key in ("sigma_w", "mean_field", "corrected", "chi_perp")
        )
        moved = sigma * dodge(i, len(widths), 0.004)
        for part in phases(chi) if mine[0]["scale"] == "xi_c" else [np.arange(len(mine))]:
            if i == 0:
                axes.plot(sigma[part], _finite(mean[part]), color="black", linewidth=0.9, zorder=1)
            axes.plot(sigma[part], _finite(corrected[part]), color=look(i).colour, linestyle="--", lw=0.7, zorder=1)
        direct, error = (np.array([row[key] for row in mine]) for key in ("measured", "measured_stderr"))
        points(axes, moved, direct, error, [row["trusted"] for row in mine], look(i))
        if mine[0]["scale"] == "xi_c":
            _open(axes, moved, mine, look(i))
        entries[f"$n={width}$"] = handle(look(i))
    entries["corrected at $1/n$"] = Line2D([], [], color=GREY, linestyle="--", linewidth=0.7)
    if rows[0]["scale"] == "xi_c" and any(row["decay_trusted"] for row in rows):
        entries["fit of the decay"] = Line2D([], [], color=look(0).colour, marker="o", mfc="none", linestyle="none")
    if not all(row["trusted"] for row in rows if np.isfinite(row["measured"])):
        entries[UNTRUSTED] = handle(look(0), hollow=True)
    shown = [row[key] for row in rows for key in ("measured", "mean_field") if np.isfinite(row[key])]
    log_axis(axes, "y", shown, least=4.0)
    return entries


def _open(axes: Axes, x: np.ndarray, rows: list[dict], appearance: Look) -> None:
    """Trusted fits of decays as open symbols with error bars."""
    for at, row in zip(x, rows, strict=True):
        if row["decay_trusted"] and np.isfinite(row["decay"]):
            axes.errorbar(
                at, row["decay"], np.nan_to_num(row["decay_stderr"]), fmt=appearance.marker, color=appearance.colour,
                mfc="none", elinewidth=0.5, markersize=3.0, mew=0.6, alpha=0.7, zorder=2,
            )  # fmt: skip


def _finite(scale: np.ndarray) -> np.ndarray:
    """Infinite scales are not drawn."""
    return np.where(np.isfinite(scale), scale, np.nan)
