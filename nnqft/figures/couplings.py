"""A coupling against the cutoff: log |g| against log Lambda, with the fitted slope; kappa is in `sextic`."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnqft.figures.numbers import p_text, with_error
from nnqft.figures.running import QUARTIC, REJECTED, Coupling, running_couplings, trusted_orders
from nnqft.figures.style import (
    COLUMN,
    PAGE,
    UNTRUSTED,
    empty,
    handle,
    log_axis,
    look,
    panels,
    points,
    safe,
    shown,
    styled,
    title,
    wrapped,
)
from nnqft.figures.table import Table

CAPTION = (
    "The quartic coupling λ₀ of the effective action, fitted to G⁽⁴⁾_c = −24 λ₀ ∫dy K_w(x₁,y) K_w(x₂,y) "
    "K_w(x₃,y) K_w(x₄,y) over |y| ≤ Λ at each cutoff Λ by generalised least squares with the full covariance: "
    "|λ₀| against Λ for a few widths, with the sign of λ₀ in the title; λ₀ falls as 1/N. Lines: least-squares "
    "straight lines through log |λ₀| against log Λ over all cutoffs; slope = d log |λ₀| / d log Λ with its "
    "jackknife error. p: the smallest p-value of χ² over the cutoffs; where it is below 0.001 a constant "
    "coupling does not describe the data and λ₀ is only their average. All cutoffs share the same data: their "
    "errors are fully correlated."
)


@styled
def plot(
    couplings: xr.Dataset, flow: xr.Dataset, cumulants: xr.Dataset, name: str = "", coupling: Coupling = QUARTIC
) -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``couplings.zarr``, ``flow.zarr`` and ``cumulants.zarr``.

    The model drawn is {lambda_0}, or the first one with lambda_0 in it. `name`: the point set.
    """
    data, running = shown(couplings), shown(flow)
    trusted = trusted_orders(shown(cumulants), coupling.orders)
    numbers = running_couplings(data, running, trusted, coupling)
    architectures = [str(a) for a in data["architecture"].values]
    columns = min(2, len(architectures))
    figure, axes = panels(-(-len(architectures) // 2), columns, COLUMN if columns == 1 else PAGE, 3.5)
    for a, panel in enumerate(axes.ravel()):
        if a >= len(architectures):
            panel.set_axis_off()
            continue
        rows = [row for row in numbers.records() if row["architecture"] == architectures[a]]
        if not any(np.isfinite(row[coupling.name]) for row in rows):
            panel.set_title(safe(architectures[a]))
            empty(panel, _why(data.isel(architecture=a), rows))
            continue
        _panel(panel, architectures[a], rows, coupling)
    title(figure, couplings, name)
    return figure, numbers


def _why(couplings: xr.Dataset, rows: list[dict]) -> str:
    if not rows:
        return "no model has lambda_0\n(couplings.models)"
    reasons = sorted({part for text in couplings["status"].values.ravel() for part in str(text).split("; ") if part})
    return "no coupling was fitted:\n" + "\n".join(safe(wrapped(reason)) for reason in reasons[:2])


def _panel(axes: Axes, architecture: str, rows: list[dict], coupling: Coupling) -> None:
    drawn = [row for row in rows if row["drawn"] and np.isfinite(row[coupling.name])]
    widths = sorted({row["width"] for row in drawn})
    entries = {}
    for i, width in enumerate(widths):
        mine = sorted((row for row in drawn if row["width"] == width), key=lambda row: row["cutoff"])
        cutoff, value, error = (
            np.array([row[key] for row in mine], dtype=np.float64)
            for key in ("cutoff", coupling.name, f"{coupling.name}_stderr")
        )
        points(axes, cutoff, np.abs(value), error, [row["trusted"] for row in mine], look(i))
        first = mine[0]
        if np.isfinite(first["slope"]):
            line = np.exp(np.log(np.abs(value)).mean() + first["slope"] * (np.log(cutoff) - np.log(cutoff).mean()))
            axes.plot(cutoff, line, color=look(i).colour, linestyle=look(i).line, linewidth=0.8, zorder=1)
        entries[_label(mine)] = handle(look(i), line=True, hollow=not first["trusted"])
    log_axis(axes, "x", [row["cutoff"] for row in drawn])
    log_axis(axes, "y", [abs(row[coupling.name]) for row in drawn], least=30.0)
    axes.set(xlabel=r"cutoff $\Lambda$", ylabel=f"$|{coupling.symbol}|$")
    axes.set_title("\n".join([f"{safe(architecture)}:  {_sign(drawn, coupling)}", _verdict(rows, coupling)]))
    heading = UNTRUSTED if not all(row["trusted"] for row in drawn) else None
    axes.legend(
        list(entries.values()), list(entries), loc="upper center", bbox_to_anchor=(0.5, -0.2), title=heading,
        title_fontsize=8,
    )  # fmt: skip


def _label(rows: Sequence[dict]) -> str:
    slope = with_error(rows[0]["slope"], rows[0]["slope_stderr"], math_text=True, resolution=1e-9)
    p = [row["p_value"] for row in rows if np.isfinite(row["p_value"])]
    text = f"$N={rows[0]['width']}$: "
    text += f"slope {slope}" if np.isfinite(rows[0]["slope"]) else "no slope"
    return text + (f", $p$ = {p_text(min(p), math_text=True)}" if p else ", no test")


def _sign(rows: Sequence[dict], coupling: Coupling) -> str:
    values = [row[coupling.name] for row in rows]
    if all(value < 0 for value in values):
        return f"${coupling.symbol}<0$"
    return f"${coupling.symbol}>0$" if all(value > 0 for value in values) else f"${coupling.symbol}$ of both signs"


def _verdict(rows: Sequence[dict], coupling: Coupling) -> str:
    """How many trusted widths reject a constant coupling (at any cutoff)."""
    worst: dict[int, float] = {}
    for row in rows:
        if row["trusted"] and np.isfinite(row["p_value"]):
            worst[row["width"]] = min(row["p_value"], worst.get(row["width"], 1.0))
    rejecting = sum(p < REJECTED for p in worst.values())
    if not any(row["trusted"] for row in rows):
        order = max(coupling.orders)
        return rf"$G^{{({order})}}_c$ not converged: no test of constancy"
    if not worst:
        return "no degree of freedom to test constancy"
    if rejecting:
        return f"constant coupling REJECTED at {rejecting} of {len(worst)} widths"
    return f"constant coupling not rejected at {len(worst)} of {len(worst)} widths"
