"""How finite networks leave mean field: n (lambda - chi) against 1/n, and depth scales over their mean-field values."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnqft.figures.critical import heading, label, measured, nothing, perceptrons, spread, text, values
from nnqft.figures.style import (
    GREY,
    PAGE,
    SHOWN,
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
)
from nnqft.figures.table import Table, table

COLUMNS = (
    "architecture", "rate", "width", "inverse_width", "lambda", "lambda_stderr", "chi", "scaled", "scaled_stderr",
    "prediction", "xi_ratio", "xi_ratio_stderr", "xi_ratio_corrected", "trusted", "chi2_corrected", "chi2_uncorrected",
    "dof", "drawn",
)  # fmt: skip
CAPTION = (
    "Corrections of order 1/n in the ordered phase. Top: n (λ − χ) against 1/n, with λ_∥, λ_⊥ the measured annealed "
    "rates at which lengths and differences of two points change per layer, and χ their mean-field values. Horizontal "
    "lines: the predicted coefficient δ of 1/n, to be met as 1/n → 0; a correction of order 1/n² shows as a slope. "
    "Error bars: jackknife standard errors times n; different widths are independent. Bottom: measured depth scales "
    "over mean field against n, with ξ = −1 / ln(χ + δ/n) as lines, broken where χ + δ/n is not below 1; what is "
    "known to worse than a fifth may lie outside. The table has χ² over all widths of λ = χ + δ/n (corrected) and of "
    "λ = χ (uncorrected). Points and widths are moved sideways a little."
)
RATES = {"par": ("xi_q", r"$n\,(\lambda_\parallel-\chi_\parallel)$", r"$\xi_q/\xi_q^{\infty}$"),
         "perp": ("xi_c", r"$n\,(\lambda_\perp-\chi_\perp)$", r"$\xi_c/\xi_c^{\infty}$")}  # fmt: skip
PRECISE = 0.2
"""Largest relative error of a ratio that the range of its axis is to hold."""
NONE = "no perceptron in the ordered phase whose rates were measured and have a known correction"


@styled
def plot(criticality: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``criticality.zarr``; `name`: the point set.

    Of the architectures that qualify at most four are drawn, spread evenly; the table has them all.
    """
    eligible = ordered(criticality)
    drawn, remark = spread(eligible, SHOWN, "ordered architectures")
    numbers = corrections(criticality, eligible, drawn)
    if not eligible:
        return nothing(name, NONE), numbers
    figure, axes = panels(2, 2, PAGE, 2.4)
    rows = [row for row in numbers.records() if row["drawn"]]
    names = [text(criticality, "architecture", a) for a in drawn]
    for column, (rate, (_, scaled_label, ratio_label)) in enumerate(RATES.items()):
        mine = [row for row in rows if row["rate"] == rate]
        _scaled(axes[0, column], mine, names)
        axes[0, column].set(xlabel="$1/n$", ylabel=scaled_label)
        _ratio(axes[1, column], mine, names)
        axes[1, column].set(xlabel="width $n$", ylabel=ratio_label)
    entries = {label(criticality, a): handle(look(i), line=True) for i, a in enumerate(drawn)}
    if not all(row["trusted"] for row in rows if np.isfinite(row["scaled"])):
        entries[UNTRUSTED] = handle(look(0), hollow=True)
    heading(figure, safe(name), remark)
    legend_below(figure, entries)
    return figure, numbers


def ordered(criticality: xr.Dataset) -> list[int]:
    """Perceptrons with c* = 1, nothing special in `status`, known corrections and measured rates."""
    c_star, par, perp = (
        values(criticality, key, ("architecture",)) for key in ("c_star", "d_lambda_par", "d_lambda_perp")
    )
    rates = [np.asarray(np.isfinite(values(criticality, f"lambda_{rate}")).any(axis=1)) for rate in RATES]
    return [
        a for a in perceptrons(criticality)
        if c_star[a] == 1 and not text(criticality, "status", a)
        and np.isfinite(par[a] + perp[a]) and all(bool(known[a]) for known in rates)
    ]  # fmt: skip


def corrections(criticality: xr.Dataset, eligible: list[int], drawn: list[int]) -> Table:
    """One row per (architecture, rate, width)."""
    n = criticality["width"].values.astype(np.float64)
    rows = []
    for rate, (scale, *_) in RATES.items():
        found, error, trusted = measured(criticality, f"lambda_{rate}")
        chi, change, xi = (
            values(criticality, key, ("architecture",)) for key in (f"chi_{rate}", f"d_lambda_{rate}", scale)
        )
        length, length_error, _ = measured(criticality, f"{scale}_measured")
        corrected = values(criticality, f"{scale}_corrected")
        for a in eligible:
            use = np.isfinite(found[a]) & (error[a] > 0) & trusted[a]
            chi2 = [_chi2(found[a] - model, error[a], use) for model in (chi[a] + change[a] / n, chi[a])]
            for w, width in enumerate(criticality["width"].values):
                rows.append(
                    (text(criticality, "architecture", a), rate, width, 1 / n[w], found[a, w], error[a, w], chi[a],
                     n[w] * (found[a, w] - chi[a]), n[w] * error[a, w], change[a], length[a, w] / xi[a],
                     length_error[a, w] / xi[a], corrected[a, w] / xi[a], trusted[a, w], *chi2, int(use.sum()),
                     a in drawn)
                )  # fmt: skip
    return table(COLUMNS, rows)


def _chi2(residual: np.ndarray, error: np.ndarray, use: np.ndarray) -> float:
    return float(np.sum((residual[use] / error[use]) ** 2)) if use.any() else float("nan")


def _columns(rows: list[dict], name: str, keys: tuple[str, ...]) -> list[np.ndarray]:
    mine = sorted((row for row in rows if row["architecture"] == name), key=lambda row: row["width"])
    return [np.array([row[key] for row in mine]) for key in keys]


def _scaled(axes: Axes, rows: list[dict], names: list[str]) -> None:
    """The scaled difference n (lambda - chi) against 1/n, the prediction as a horizontal line down to 1/n = 0."""
    if not np.isfinite([row["scaled"] for row in rows]).any():
        return empty(axes, "no rate was measured")
    right = max(row["inverse_width"] for row in rows)
    for i, name in enumerate(names):
        x, value, error, trusted, line = _columns(
            rows, name, ("inverse_width", "scaled", "scaled_stderr", "trusted", "prediction")
        )
        points(axes, x + 0.008 * right * (i - (len(names) - 1) / 2), value, error, trusted, look(i))
        axes.axhline(line[0], color=look(i).colour, linestyle=look(i).line, linewidth=0.9, zorder=1)
    return axes.set_xlim(0, 1.08 * right)  # pyright: ignore[reportReturnType]


def _ratio(axes: Axes, rows: list[dict], names: list[str]) -> None:
    """Depth scales over their mean-field values against the width."""
    axes.axhline(1, color=GREY, linewidth=0.5, zorder=0)
    if not np.isfinite([row["xi_ratio"] for row in rows]).any():
        return empty(axes, "no depth scale was measured")
    for i, name in enumerate(names):
        keys = ("width", "xi_ratio", "xi_ratio_stderr", "trusted", "chi", "prediction")
        width, value, error, trusted, chi, change = _columns(rows, name, keys)
        points(axes, width * dodge(i, len(names), 0.03), value, error, trusted, look(i))
        n = np.geomspace(width[0] / 1.5, width[-1] * 1.5, 200)
        rate = np.abs(chi[0] + change[0] / n)
        line = np.log(np.abs(chi[0])) / np.log(np.where(rate < 1, rate, np.nan))
        axes.plot(n, line, color=look(i).colour, linestyle=look(i).line, linewidth=0.9, zorder=1)
    log_axis(axes, "x", [row["width"] for row in rows])
    bars = [
        row["xi_ratio"] + side * row["xi_ratio_stderr"]
        for row in rows for side in (-1, 1) if row["xi_ratio_stderr"] < PRECISE * row["xi_ratio"]
    ]  # fmt: skip
    if bars:
        margin = 0.08 * (max(*bars, 1.0) - min(*bars, 1.0)) or 0.01
        axes.set_ylim(min(*bars, 1.0) - margin, max(*bars, 1.0) + margin)
    return None
