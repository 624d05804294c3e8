"""Does the effective action predict the six-point function? Predictions over measurement, and their pulls."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnqft.figures.comparison import component_label
from nnqft.figures.numbers import p_text, plain
from nnqft.figures.running import drawn_model, smallest_width, trusted_orders
from nnqft.figures.style import GREY, PAGE, UNTRUSTED, Look, empty, look, panels, safe, shown, styled, title, wrapped
from nnqft.figures.table import Table, table

STEPS = ("gp", "lambda", "complete")
LABELS = {"gp": "free", "lambda": r"free + $\lambda$", "complete": r"free + $\lambda$ + $\kappa$ and trees"}
COLUMNS = (
    "architecture", "width", "cutoff", "model", "component", "position", "G6", "G6_stderr", "ratio_gp", "ratio_lambda",
    "ratio_complete", "pull_gp", "pull_lambda", "pull_complete", "relative_error", "source", "trusted",
)  # fmt: skip
CAPTION = (
    "Six-point functions predicted by the effective action, against those measured, component by component in the "
    "order of the free value: G⁽⁶⁾ = Σ₁₅ K K K + Σ₁₅ K G⁽⁴⁾_c[λ] + G⁽⁶⁾_c[λ, κ], where K is the free two-point "
    "function. “Free” is the first term, “free + λ” the first two, the last step all three: the trees of two quartic "
    "vertices and κ together, which are of one order in 1/N. The quartic couplings come from the four-point function; "
    "κ never from the component that it predicts, but from the points or the components named above the right panel. "
    "Left: prediction over measurement; grey band: one standard error of the measurement. Right: pulls (measurement − "
    "prediction) / error, with the errors of both; grey bands: one and two standard deviations, linear up to 3 and "
    "logarithmic beyond. Components are strongly correlated: χ² over m independent combinations and p take that into "
    "account. One width, the smallest whose correlators are trusted, at the largest cutoff with all integrals."
)
LINEAR = 3.0
"""Pulls up to which their axis is linear."""


@styled
def plot(sixpoints: xr.Dataset, cumulants: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``sixpoints.zarr`` and ``cumulants.zarr``; `name`: the point set.

    The model is {lambda_0}, or the first of the smallest ones with lambda_0 in it, or the first of all.
    """
    data, measured = shown(sixpoints), shown(cumulants)
    trusted = trusted_orders(measured, (2, 4, 6))
    m = drawn_model(data) or 0
    widths = [smallest_width(data["width"].values, good) for good in trusted]
    numbers = ratios(data, measured, trusted, widths, m)
    count = data.sizes["architecture"]
    figure, axes = panels(count, 2, PAGE, 3.2)
    for a, (left, right) in enumerate(axes):
        at = {"architecture": a, "width": widths[a], "model": m}
        rows = [row for row in numbers.records() if row["architecture"] == str(data["architecture"].values[a])]
        cell = data.isel(at)
        left.set_title(_heading(cell))
        if not rows:
            for panel in (left, right):
                empty(panel, wrapped(str(cell["status"].values) or "no prediction", 42))
            continue
        _ratios(left, rows, cell)
        _pulls(right, rows, cell)
    title(figure, sixpoints, name)
    return figure, numbers


def ratios(
    sixpoints: xr.Dataset, cumulants: xr.Dataset, trusted: np.ndarray, widths: Sequence[int], model: int
) -> Table:
    """One row per (architecture, component) at the chosen width of each; none where there is no prediction."""
    rows = []
    for a, w in enumerate(widths):
        if "pull_lambda" not in sixpoints or np.isnan(sixpoints["pull_gp"].values[a, w, model]).all():
            continue
        free = sixpoints["G6_gp"].values[a]
        value, error = (cumulants[key].values[a, w] for key in ("G6", "G6_stderr"))
        steps = [free, *(sixpoints[f"G6_{step}"].values[a, w, model] for step in STEPS[1:])]
        pulls = [sixpoints[f"pull_{step}"].values[a, w, model] for step in STEPS]
        labels = [component_label(legs) for legs in sixpoints["sext_points"].values]
        head = str(sixpoints["architecture"].values[a]), sixpoints["width"].values[w], sixpoints["cutoff"].values[a]
        for position, c in enumerate(np.argsort(free, kind="stable")):
            rows.append(
                (*head, str(sixpoints["model"].values[model]), labels[c], position, value[c], error[c],
                 *(step[c] / value[c] for step in steps), *(pull[c] for pull in pulls), error[c] / abs(value[c]),
                 str(sixpoints["source"].values[a, w, model]), trusted[a, w])
            )  # fmt: skip
    return table(COLUMNS, rows)


def _heading(cell: xr.Dataset) -> str:
    place = f"$N={int(cell['width'])}$"
    if "cutoff" in cell.coords and np.isfinite(cell["cutoff"]):
        place += rf", $\Lambda={float(cell['cutoff']):g}$"
    return f"{safe(str(cell['architecture'].values))}:  {place}, model {safe(str(cell['model'].values))}"


def _look(i: int, rows: Sequence[dict]) -> Look:
    own = look(i)
    return own if rows[0]["trusted"] else Look(GREY, own.marker, own.line)


def _dots(axes: Axes, position: np.ndarray, values: np.ndarray, own: Look, filled: bool) -> Line2D:
    (dots,) = axes.plot(
        position, values, linestyle="none", marker=own.marker, markersize=1.8 if len(position) > 100 else 3.0,
        markeredgewidth=0.5, color=own.colour, mfc=own.colour if filled else "none",
    )  # fmt: skip
    return Line2D([], [], linestyle="none", marker=own.marker, color=own.colour, mfc=dots.get_markerfacecolor())


def _ratios(axes: Axes, rows: Sequence[dict], cell: xr.Dataset) -> None:
    position, band = (np.array([row[key] for row in rows]) for key in ("position", "relative_error"))
    axes.fill_between(position, 1 - band, 1 + band, color="#bbbbbb", linewidth=0, step="mid", zorder=0)
    axes.axhline(1.0, color="black", linewidth=0.5, zorder=1)
    entries, everything = {}, [np.ones(1)]
    for i, step in enumerate(STEPS):
        values = np.array([row[f"ratio_{step}"] for row in rows])
        if not np.isfinite(values).any():
            continue
        dots = _dots(axes, position, values, _look(i, rows), rows[0]["trusted"])
        error = plain(float(cell[f"mape_{step}"]), 2, math_text=True)
        entries[f"{LABELS[step]}: off by {error}% on average"] = dots
        everything.append(values[np.isfinite(values)])
    low, high = np.percentile(np.concatenate(everything), [0.5, 99.5])
    low, high = min(low, 1.0), max(high, 1.0)
    room = 0.08 * (high - low) or 0.1
    outside = sum(int(((values < low - room) | (values > high + room)).sum()) for values in everything)
    axes.set(xlabel=_order(len(rows)), ylabel=r"predicted / measured $G^{(6)}$", ylim=(low - room, high + room))
    if outside:
        entries[f"{outside} points are outside"] = Line2D([], [], linestyle="none")
    _legend(axes, entries, rows)


def _pulls(axes: Axes, rows: Sequence[dict], cell: xr.Dataset) -> None:
    position = np.array([row["position"] for row in rows])
    for size, colour in ((2.0, "#ececec"), (1.0, "#d4d4d4")):
        axes.axhspan(-size, size, color=colour, linewidth=0, zorder=0)
    entries, largest = {}, LINEAR
    for i, step in enumerate(STEPS[1:], start=1):
        pulls = np.array([row[f"pull_{step}"] for row in rows])
        if not np.isfinite(pulls).any():
            entries[f"{LABELS[step]}: none, {_reason(cell)}"] = Line2D([], [], linestyle="none")
            continue
        dots = _dots(axes, position, pulls, _look(i, rows), rows[0]["trusted"])
        chi2, modes, p = (float(cell[f"{key}_{step}"]) for key in ("chi2", "modes", "p_value"))
        test = rf"$\chi^2/m$ = {plain(chi2, 3, math_text=True)}/{modes:.0f}, $p$ = {p_text(p, math_text=True)}"
        entries[f"{LABELS[step]}: {test}" if modes > 0 else f"{LABELS[step]}: no test"] = dots
        largest = max(largest, float(np.nanmax(np.abs(pulls))))
    axes.set_yscale("symlog", linthresh=LINEAR, linscale=1.0)
    decades = [10.0**k for k in range(1, 1 + int(np.ceil(np.log10(largest * 1.5)))) if 10.0**k < 3 * largest]
    ticks = [-2.0, -1.0, 0.0, 1.0, 2.0, *decades, *(-tick for tick in decades)]
    axes.set_yticks(ticks, [f"{tick:g}".replace("-", "−") for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.set(xlabel=_order(len(rows)), ylabel="pull", ylim=(-1.7 * largest, 1.7 * largest))
    source = str(cell["source"].values)
    axes.set_title(rf"$\kappa$ from {'the ' if source.startswith('other') else ''}{safe(source)}")
    _legend(axes, entries, rows)


def _legend(axes: Axes, entries: dict[str, Line2D], rows: Sequence[dict]) -> None:
    heading = None if rows[0]["trusted"] else UNTRUSTED
    axes.legend(
        list(entries.values()), list(entries), loc="upper center", bbox_to_anchor=(0.5, -0.17), title=heading,
        title_fontsize=8, handlelength=1.0,
    )  # fmt: skip


def _order(count: int) -> str:
    return f"components (all {count}), by free value"


def _reason(cell: xr.Dataset) -> str:
    return safe(wrapped(str(cell["status"].values) or "no kappa", 42))
