"""The quartic coupling of the action on the points against the width, beside the continuum fit."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnqft.couplings.finite_set import EXPANSION_LIMIT
from nnqft.figures.numbers import plain
from nnqft.figures.running import drawn_model, trusted_orders
from nnqft.figures.style import (
    GREY,
    PAGE,
    dodge,
    empty,
    handle,
    log_axis,
    look,
    panels,
    safe,
    shown,
    styled,
    title,
)
from nnqft.figures.style import points as draw_points
from nnqft.figures.table import Table, table

COLUMNS = (
    "architecture", "width", "modes", "N_g4_leading", "N_g4_leading_stderr", "N_g4", "N_g4_stderr", "model",
    "N_g4_continuum", "continuum_distance", "continuum_noise", "expansion_parameter", "expansion_of_first", "condition",
    "within_limit", "trusted",
)  # fmt: skip
CAPTION = (
    "The action of the outputs at the points alone, S = g₂ u u / 2 + g₄ u⁴ / 4! + …, in the principal components u of "
    "the outputs, from the connected correlators by amputation, without a cutoff or a fit. Left: N g₄ of the first "
    "component u₀, at leading order, −N G⁽⁴⁾_c / G⁽²⁾⁴ (flat in N), at next to leading order where G⁽⁶⁾_c is known, "
    "and as the fitted continuum coupling at the largest cutoff would have it at leading order; distance: norm of the "
    "difference over all kept components, relative to the leading order; noise: what statistical errors alone add to "
    "it. "
    "Right: the expansion parameter, the largest |eigenvalue| of G⁽⁴⁾_c in units of G⁽²⁾. Above 0.1 (grey) the series "
    "in 1/N is not reliable, whatever the error bars say: next-to-leading values there, and whatever is not converged "
    "(heavy tail), are hollow and grey. Where one component is kept, one coupling can always describe it."
)
LIMIT_COLOUR = "#e6e6e6"


@styled
def plot(action: xr.Dataset, cumulants: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``action.zarr`` and ``cumulants.zarr``; `name`: the point set."""
    data, measured = shown(action), shown(cumulants)
    numbers = quartic(data, measured)
    names = [str(a) for a in data["architecture"].values]
    figure, axes = panels(len(names), 2, PAGE, 3.1)
    for a, (left, right) in enumerate(axes):
        rows = [row for row in numbers.records() if row["architecture"] == names[a]]
        left.set_title(safe(names[a]))
        if not any(np.isfinite(row["N_g4_leading"]) for row in rows):
            for panel in (left, right):
                empty(panel, safe(str(data["status"].values[a, 0]) or "no action"))
            continue
        _couplings(left, rows)
        _expansion(right, rows)
        right.set_title(f"{rows[0]['modes']} of {data.sizes['point']} principal components kept")
    title(figure, action, name)
    return figure, numbers


def quartic(action: xr.Dataset, cumulants: xr.Dataset) -> Table:
    """One row per (architecture, width): N g4 of the first principal component, and how far to trust the series."""
    if "g4_principal" not in action:
        return table(COLUMNS, [])
    orders = [order for order in (2, 4, 6) if order in cumulants["order"].values]
    trusted, m = trusted_orders(cumulants, orders), drawn_model(action)
    rows = []
    for a, w in np.ndindex(action.sizes["architecture"], action.sizes["width"]):
        N = int(action["width"].values[w])

        def first(key: str, at: tuple[int, int] = (a, w), scale: int = N) -> float:
            return scale * float(action[key].values[at][0])

        size = float(action["expansion_parameter"].values[a, w])
        fit = (
            (float("nan"),) * 3 if m is None else
            (N * float(action["g4_principal_continuum"].values[a, w, m, 0]),
             *(float(action[key].values[a, w, m]) for key in ("continuum_distance", "continuum_noise")))
        )  # fmt: skip
        rows.append(
            (str(action["architecture"].values[a]), N, action["modes"].values[a], first("g4_principal_leading"),
             first("g4_principal_leading_stderr"), first("g4_principal"), first("g4_principal_stderr"),
             "" if m is None else str(action["model"].values[m]), *fit, size,
             action["expansion_by_modes"].values[a, w, 0], action["condition"].values[a, w], size <= EXPANSION_LIMIT,
             trusted[a, w])
        )  # fmt: skip
    return table(COLUMNS, rows)


def _couplings(axes: Axes, rows: list[dict]) -> None:
    widths = np.array([row["width"] for row in rows], dtype=np.float64)
    trusted = np.array([row["trusted"] for row in rows])
    good = trusted & np.array([row["within_limit"] for row in rows])
    series = (("leading order", "N_g4_leading", trusted), ("next to leading order", "N_g4", good))
    entries, seen = {}, []
    for i, (label, key, solid) in enumerate(series):
        values, errors = (np.array([row[f"{key}{end}"] for row in rows]) for end in ("", "_stderr"))
        if not np.isfinite(values).any():
            continue
        draw_points(axes, widths * dodge(i, 2, 0.12), values, errors, solid, look(i))
        hollow = "" if solid.any() else ", not reliable at any width"
        entries[label + hollow] = handle(look(i), hollow=not solid.any())
        seen += list(values[solid & np.isfinite(values)]) if i else list(values[np.isfinite(values)])
    fit = np.array([row["N_g4_continuum"] for row in rows])
    if np.isfinite(fit).any():
        order = np.argsort(widths)
        colour = look(2).colour if trusted.any() else GREY
        axes.plot(widths[order], fit[order], color=colour, linestyle=look(2).line, zorder=1)
        entries[_fit_label(rows)] = Line2D([], [], color=colour, linestyle=look(2).line)
        seen += list(fit[np.isfinite(fit)])
    low, high = min([*seen, 0.0]), max([*seen, 0.0])
    room = 0.15 * (high - low) or 1.0
    drawn = np.array([row["N_g4"] for row in rows])
    outside = int(((drawn < low - room) | (drawn > high + room)).sum())
    if outside:
        entries[
            f"{outside} next-to-leading values are outside" if outside > 1 else "1 next-to-leading value is outside"
        ] = Line2D([], [], linestyle="none")
    log_axis(axes, "x", widths)
    axes.axhline(0.0, color="black", linewidth=0.5, zorder=0)
    axes.set(xlabel="width $N$", ylabel=r"$N\,g_4$ of $u_0$", ylim=(low - room, high + room))
    axes.legend(list(entries.values()), list(entries), loc="upper center", bbox_to_anchor=(0.5, -0.2))


def _fit_label(rows: list[dict]) -> str:
    last = max((row for row in rows if np.isfinite(row["continuum_distance"])), key=lambda row: row["width"])
    distance, noise = (plain(float(last[f"continuum_{key}"]), 2, math_text=True) for key in ("distance", "noise"))
    few = " (one component: hardly a test)" if last["modes"] == 1 else ""
    model = safe(str(last["model"]))
    return f"continuum fit, {model}{few}\ndistance {distance}, noise {noise} at $N={last['width']}$"


def _expansion(axes: Axes, rows: list[dict]) -> None:
    widths = np.array([row["width"] for row in rows], dtype=np.float64)
    order = np.argsort(widths)
    entries, everything = {}, [EXPANSION_LIMIT]
    for i, (label, key) in enumerate(
        (("all kept components", "expansion_parameter"), ("$u_0$ alone", "expansion_of_first"))
    ):
        if i and rows[0]["modes"] == 1:
            continue
        values = np.array([row[key] for row in rows])
        solid = np.array([row["trusted"] for row in rows])
        own = look(i)
        colour = own.colour if solid.any() else GREY
        axes.plot(widths[order], values[order], color=colour, linestyle=own.line, linewidth=0.8, zorder=1)
        draw_points(axes, widths, values, np.zeros(len(values)), solid, own)
        entries[label] = handle(own, line=True, hollow=not solid.any())
        everything += list(values)
    log_axis(axes, "x", widths)
    log_axis(axes, "y", everything)
    top = axes.get_ylim()[1]
    axes.axhspan(EXPANSION_LIMIT, top, color=LIMIT_COLOUR, linewidth=0, zorder=0)
    axes.text(0.97, 0.96, "series not reliable", transform=axes.transAxes, ha="right", va="top", fontsize=8)
    axes.set(xlabel="width $N$", ylabel="expansion parameter")
    axes.legend(list(entries.values()), list(entries), loc="upper center", bbox_to_anchor=(0.5, -0.2))
