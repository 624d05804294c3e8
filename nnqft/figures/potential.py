"""Canonical couplings u4, u6 of Gauss-nets against sigma_w: measured, by the LPA flow, and at tree level."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from nnqft.figures.numbers import with_error
from nnqft.figures.running import few_widths
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
    styled,
    wrapped,
)
from nnqft.figures.sweeps import first, panel_names, sweeps
from nnqft.figures.table import Table, table

COLUMNS = (
    "sweep", "architecture", "coupling", "sigma_w", "width", "scaled_value", "scaled_stderr", "scaled_lpa",
    "scaled_lpa_stderr", "scaled_tree", "exponent", "exponent_stderr", "exponent_tree", "trusted", "drawn",
)  # fmt: skip
CAPTION = (
    "Couplings of the canonical field of Gauss-nets, u₄ = 24 λ₀ / Z² and u₆ = 720 κ / Z³, times N and N², against σ_w "
    "(λ₀ and κ of the model {λ₀} at the largest cutoff). Points: measured, each σ_w another ensemble; error bars: "
    "jackknife standard errors; widths are moved sideways a little. Full lines with bands: the Wetterich flow in the "
    "local-potential approximation with k = σ_w (Erbin, Lahoche, Ousmane Samary, arXiv:2108.01403), started at the "
    "largest σ_w from what was measured there; straight between the measured σ_w, absent where it has become "
    "singular. The band is the statistical error of the start; the error of the truncation is not known. Dotted: tree "
    "level from the same start, u₄ ∝ σ_w^(4−d), u₆ ∝ σ_w^(6−2d). power: d log |u₄| / d log σ_w as measured. Only "
    "loops move u₄ and u₆ along the flow, and they are suppressed by 1/N: at large N it is flat, and points that "
    "follow tree level are not explained by it."
)
UNITS = {"u4": r"N\,u_4", "u6": r"N^2\,u_6"}


@styled
def plot(flow: xr.Dataset, cumulants: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``flow.zarr`` and ``cumulants.zarr``; `name`: the point set.

    One row of panels for each sweep of sigma_w in a Gauss-net, the first four.
    """
    gauss = [s for s in sweeps(flow, "sigma_w") if np.isfinite(flow["u4_exponent_tree"].values[s]).any()]
    found, remark = first(gauss)
    names = panel_names(flow, found)
    numbers = couplings_by_sigma(flow, cumulants, found, names)
    figure, axes = panels(len(found), 2, PAGE, 3.5)
    entries: dict[str, Line2D | Patch] = {}
    for places, title, row in zip(found, names, axes, strict=True):
        for coupling, panel in zip(UNITS, row, strict=True):
            mine = [r for r in numbers.records() if (r["sweep"], r["coupling"]) == (title, coupling) and r["drawn"]]
            panel.set_title(title)
            if any(np.isfinite(r["scaled_value"]) for r in mine):
                entries |= _panel(panel, coupling, mine)
            else:
                reasons = sorted({safe(s) for s in flow["potential_status"].values[places].ravel() if s})
                empty(panel, wrapped(f"no {coupling}: " + "; ".join(reasons[:1])))
    if text := ": ".join(filter(None, [safe(name), remark])):
        figure.suptitle(text)
    legend_below(figure, entries)
    return figure, numbers


def couplings_by_sigma(flow: xr.Dataset, cumulants: xr.Dataset, found: list[list[int]], names: list[str]) -> Table:
    """One row per (sweep, coupling, sigma_w, width): the coupling times N, or N^2, which flattens the width."""
    widths = flow["width"].values
    known = [int(order) for order in cumulants["order"].values]
    powers = [flow[f"u4_exponent{end}"].values for end in ("", "_stderr", "_tree")]
    rows = []
    for places, title in zip(found, names, strict=True):
        for power, order, u in ((1, 4, "u4"), (2, 6, "u6")):
            data = [flow[f"{u}{end}"].values for end in ("", "_stderr", "_lpa", "_lpa_stderr", "_tree")]
            trusted = cumulants["trusted"].sel(order=order).values.astype(bool) if order in known else None
            chosen = few_widths(widths, np.asarray(np.isfinite(data[0][places]).any(axis=0)))
            for a in places:
                for w, width in enumerate(widths):
                    scale, good = float(width) ** power, trusted is not None and trusted[a, w]
                    exponents = [p[a, w] for p in powers] if u == "u4" else [np.nan] * 3
                    rows.append(
                        (title, str(flow["architecture"].values[a]), u, flow["sigma_w"].values[a], width,
                         *(scale * values[a, w] for values in data), *exponents, good, w in chosen)
                    )  # fmt: skip
    return table(COLUMNS, rows)


def _panel(axes: Axes, coupling: str, rows: list[dict]) -> dict[str, Line2D | Patch]:
    """Draw one coupling of one sweep; the entries of the legend below that it needs."""
    fields = ("scaled_value", "scaled_tree", "scaled_lpa")
    everything = np.array([row[key] for row in rows for key in fields if np.isfinite(row[key])])
    measured = np.array([row["scaled_value"] for row in rows if np.isfinite(row["scaled_value"])])
    sign = -1.0 if (measured < 0).all() else 1.0
    logarithmic = bool((sign * everything > 0).all())
    widths, own = sorted({row["width"] for row in rows}), {}
    for i, width in enumerate(widths):
        mine = sorted((row for row in rows if row["width"] == width), key=lambda row: row["sigma_w"])
        sigma, value, error, lpa, spread, tree = (
            np.array([row[key] for row in mine], dtype=np.float64)
            for key in ("sigma_w", "scaled_value", "scaled_stderr", "scaled_lpa", "scaled_lpa_stderr", "scaled_tree")
        )
        points(
            axes, sigma * dodge(i, len(widths), 0.03), sign * value, error, [row["trusted"] for row in mine], look(i)
        )
        axes.plot(sigma, sign * tree, color=look(i).colour, linestyle=":", linewidth=0.9, zorder=1)
        axes.plot(sigma, sign * lpa, color=look(i).colour, linestyle="-", linewidth=0.9, zorder=1)
        low, high = (sign * (lpa + side * np.nan_to_num(spread)) for side in (-1, 1))
        axes.fill_between(sigma, low, high, color=look(i).colour, alpha=0.25, linewidth=0, zorder=0)
        own[_label(mine[0])] = handle(look(i))
    log_axis(axes, "x", [row["sigma_w"] for row in rows], least=2.0)
    if logarithmic:
        log_axis(axes, "y", sign * everything)
    else:
        _bounded(axes, sign * measured, sign * everything)
    minus = "-" if sign < 0 else ""
    axes.set(xlabel=r"$\sigma_w$", ylabel=f"${minus}{UNITS[coupling]}$")
    axes.legend(list(own.values()), list(own), loc="upper center", bbox_to_anchor=(0.5, -0.2))
    entries: dict[str, Line2D | Patch] = {
        "measured": Line2D([], [], color="black", marker="o", linestyle="none"),
        "LPA flow from the largest $\\sigma_w$": Patch(facecolor="#bbbbbb", edgecolor="black", linewidth=0.6),
        "tree level": Line2D([], [], color="black", linestyle=":"),
    }
    if not all(row["trusted"] for row in rows):
        entries[UNTRUSTED] = handle(look(0), hollow=True)
    return entries


def _label(row: dict) -> str:
    text = f"$N={row['width']}$"
    if not np.isfinite(row["exponent"]):
        return text
    return f"{text}: power {with_error(row['exponent'], row['exponent_stderr'], math_text=True)}"


def _bounded(axes: Axes, measured: np.ndarray, everything: np.ndarray) -> None:
    """Linear axis with room for what was measured, and for what else is not much larger."""
    room = 3 * np.abs(measured).max()
    inside = everything[np.abs(everything) < room]
    low, high = min(0.0, float(inside.min())), max(0.0, float(inside.max()))
    axes.axhline(0, color="#8a8a8a", linewidth=0.5, zorder=0)
    axes.set_ylim(low - 0.1 * (high - low), high + 0.1 * (high - low))
