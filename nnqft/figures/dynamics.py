"""Recurrent networks in time: two-time correlators from the start, and the stationary autocorrelation."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnqft.figures.critical import heading, label, nothing, perceptrons, text, values
from nnqft.figures.style import (
    GREY,
    PAGE,
    Look,
    empty,
    handle,
    legend_below,
    look,
    panels,
    points,
    safe,
    styled,
    wrapped,
)
from nnqft.figures.table import Table, table

COLUMNS = (
    "architecture", "phase", "quantity", "t", "s", "width", "measured", "measured_stderr", "theory", "series",
)  # fmt: skip
CAPTION = (
    "Recurrent networks of the largest width. Left: the correlation C(t, s) of the state of one neuron at times t and "
    "s after the start, averaged over neurons and networks, against s for a few t. Right: the same in the stationary "
    "state, C(τ) against the lag. Points: measured, error bars: jackknife standard errors over networks; points of one "
    "curve come from the same networks and are correlated. Lines: dynamic mean-field theory, infinite width. Top: the "
    "network with the largest Lyapunov exponent at infinite width; bottom: the one with the smallest."
)
TIMES = 4
"""Curves of C(t, s)."""
STATIONARY = Look("black", "o", "-")


@styled
def plot(criticality: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``criticality.zarr``; `name`: the point set."""
    chosen = extremes(criticality)
    numbers = correlators(criticality, chosen)
    if not chosen or "two_time" not in criticality:
        return nothing(name, "no recurrent network was measured"), numbers
    figure, axes = panels(len(chosen), 2, PAGE, 2.4)
    entries: dict[str, Line2D] = {}
    for row, a in zip(axes, chosen, strict=True):
        mine = [r for r in numbers.records() if r["architecture"] == text(criticality, "architecture", a)]
        entries |= _panels(row, mine, label(criticality, a), wrapped(safe(text(criticality, "status", a)), 30))
    total = criticality.sizes["architecture"] - len(perceptrons(criticality))
    widest = f"$n={criticality['width'].values.max()}$"
    few = f", {len(chosen)} of {total} recurrent networks" if len(chosen) < total else ""
    heading(figure, safe(name), widest + few)
    legend_below(figure, entries)
    return figure, numbers


def extremes(criticality: xr.Dataset) -> list[int]:
    """The recurrent networks of the largest and of the smallest exponent; the first one where none is known."""
    layered = set(perceptrons(criticality))
    recurrent = [a for a in range(criticality.sizes["architecture"]) if a not in layered]
    exponent = values(criticality, "lyapunov_theory", ("architecture",))
    known = [a for a in recurrent if np.isfinite(exponent[a])]
    if not known:
        return recurrent[:1]
    both = max(known, key=lambda a: exponent[a]), min(known, key=lambda a: exponent[a])
    return list(dict.fromkeys(both))


def correlators(criticality: xr.Dataset, chosen: list[int]) -> Table:
    """One row per (architecture, quantity, time or lag); `t` is -1 for the autocorrelation, whose lag is `s`."""
    rows = []
    if "two_time" not in criticality:
        return table(COLUMNS, rows)
    w = int(np.argmax(criticality["width"].values))
    width = criticality["width"].values[w]
    exponent = values(criticality, "lyapunov_theory", ("architecture",))
    two, two_error, lag, lag_error = (
        criticality[key].values[:, w]
        for key in ("two_time", "two_time_stderr", "autocorrelation", "autocorrelation_stderr")
    )
    full, stationary = (criticality[f"{key}_theory"].values for key in ("two_time", "autocorrelation"))
    last = two.shape[-1] - 1
    times = np.unique(np.linspace(0, last, TIMES + 1).round().astype(int)[1:]).tolist()
    for a in chosen:
        start = text(criticality, "architecture", a), _phase(float(exponent[a]))
        for series, t in enumerate(times):
            rows += [
                (*start, "C(t,s)", t, s, width, two[a, t, s], two_error[a, t, s], full[a, t, s], series)
                for s in range(last + 1)
            ]
        rows += [
            (*start, "C(tau)", -1, s, width, lag[a, s], lag_error[a, s], stationary[a, s], 0) for s in range(last + 1)
        ]
    return table(COLUMNS, rows)


def _phase(exponent: float) -> str:
    return "unknown" if not np.isfinite(exponent) else "chaotic" if exponent > 0 else "ordered"


def _panels(axes: np.ndarray, rows: list[dict], name: str, why: str) -> dict[str, Line2D]:
    """Both panels of one network; the entries of the legend that they need."""
    entries: dict[str, Line2D] = {}
    for panel, quantity, x_label, y_label in (
        (axes[0], "C(t,s)", "$s$", "$C(t,s)$"), (axes[1], "C(tau)", r"$\tau$", r"$C(\tau)$")
    ):  # fmt: skip
        mine = [row for row in rows if row["quantity"] == quantity]
        panel.set_title(f"{name}, {rows[0]['phase']}" if rows and rows[0]["phase"] != "unknown" else name)
        if not np.isfinite([[row["measured"], row["theory"]] for row in mine]).any():
            empty(panel, why or "nothing was measured")
            continue
        panel.axhline(0, color=GREY, linewidth=0.5, zorder=0)
        for series in sorted({row["series"] for row in mine}):
            own = [row for row in mine if row["series"] == series]
            appearance = look(series) if quantity == "C(t,s)" else STATIONARY
            _curve(panel, own, appearance)
            if quantity == "C(t,s)":
                entries[f"$t={own[0]['t']}$"] = handle(appearance, line=True)
        panel.set(xlabel=x_label, ylabel=y_label)
    entries["stationary"] = handle(STATIONARY, line=True)
    return entries


def _curve(axes: Axes, rows: list[dict], appearance: Look) -> None:
    s, value, error, theory = (
        np.array([row[key] for row in rows], dtype=np.float64) for key in ("s", "measured", "measured_stderr", "theory")
    )
    points(axes, s, value, error, np.ones(len(s), dtype=bool), appearance)
    axes.plot(s, theory, color=appearance.colour, linestyle=appearance.line, linewidth=0.9, zorder=1)
