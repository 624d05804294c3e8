"""Where deep perceptrons train: accuracy over (sigma_w^2, depth), with multiples of xi_c and the trainable depth."""

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from nnqft.figures.critical import OSLO, heading, phases, text
from nnqft.figures.style import COLUMN, legend_below, log_axis, panels, safe, styled
from nnqft.figures.table import Table, table

COLUMNS = (
    "sigma_w", "sigma_w_squared", "depth", "accuracy", "accuracy_stderr", "chi_perp", "xi_c", "trainable_depth",
    "trainable_depth_stderr", "trainable_depth_low", "trainable_depth_high", "trainable_depth_status",
)  # fmt: skip
CAPTION = (
    "Accuracy on the training data after gradient descent, averaged over networks, against σ_w² of the initial weights "
    "and the number of hidden layers (shade; chance is one over the number of classes). Lines: ξ_c of mean field and "
    "its multiples, straight between the σ_w measured and broken at the boundary; where they leave the top, ξ_c is "
    "larger still. Networks of that activation were seen to train up to about 6 ξ_c (Schoenholz et al., "
    "arXiv:1611.01232), a number that depends on data, width, learning rate and time. Symbols: the trainable depth, "
    "where the mean accuracy falls through one half; bars: bootstrap over networks. Arrows: every depth measured "
    "trains (up) or none does (down)."
)
MULTIPLES: dict[int, Any] = {1: ":", 2: "--", 6: "-"}


@styled
def plot(trainability: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``trainability.zarr``; `name`: the map."""
    numbers = accuracies(trainability)
    figure, axes = panels(1, 1, COLUMN, 2.9)
    panel = axes[0, 0]
    x, depth = trainability["sigma_w"].values ** 2, trainability["depth"].values.astype(np.float64)
    mesh = panel.pcolormesh(
        _edges(x), np.exp(_edges(np.log(depth), 0.35)), trainability["accuracy"].values.T, vmin=0, vmax=1,
        cmap=OSLO, shading="flat", rasterized=True, zorder=0,
    )  # fmt: skip
    log_axis(panel, "y", np.exp(_edges(np.log(depth), 0.35)), least=1.0)
    panel.set(xlim=_edges(x)[[0, -1]], ylim=np.exp(_edges(np.log(depth), 0.35))[[0, -1]])
    if len(depth) <= 8:
        panel.set_yticks(depth, [f"{d:g}" for d in depth])
        panel.set_yticks([], minor=True)
    panel.set(xlabel=r"$\sigma_w^2$", ylabel="hidden layers")
    figure.colorbar(mesh, ax=panel, label="training accuracy", pad=0.02)
    entries = _scales(panel, trainability) | _depths(panel, trainability)
    what = f"{text(trainability, 'data', ())}, {text(trainability, 'activation', ())}"
    told = f"{what}, $\\sigma_b={float(trainability['sigma_b']):g}$, width {int(trainability['width'])}"
    heading(figure, safe(name) if name != text(trainability, "data", ()) else "", told)
    legend_below(figure, entries)
    return figure, numbers


def accuracies(trainability: xr.Dataset) -> Table:
    """One row per (sigma_w, depth); what belongs to sigma_w alone is repeated."""
    t, sigma = trainability, trainability["sigma_w"].values
    ends = ("", "_stderr", "_low", "_high")
    rows = []
    for i, j in np.ndindex(t.sizes["sigma_w"], t.sizes["depth"]):
        rows.append(
            (sigma[i], sigma[i] ** 2, t["depth"].values[j], t["accuracy"].values[i, j],
             t["accuracy_stderr"].values[i, j], t["chi_perp"].values[i], t["xi_c"].values[i],
             *(t[f"trainable_depth{end}"].values[i] for end in ends), text(t, "trainable_depth_status", i))
        )  # fmt: skip
    return table(COLUMNS, rows)


def _edges(centres: np.ndarray, alone: float = 0.5) -> np.ndarray:
    """Edges of cells around rising centres; a single one is `alone` wide to each side."""
    if len(centres) == 1:
        return np.array([centres[0] - alone, centres[0] + alone])
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _scales(axes: Axes, trainability: xr.Dataset) -> dict[str, Line2D]:
    """xi_c and its multiples, vermilion on white, clipped to the panel."""
    x, xi = trainability["sigma_w"].values ** 2, trainability["xi_c"].values
    xi = np.where(np.isfinite(xi), xi, np.nan)
    entries = {}
    for multiple, line in MULTIPLES.items():
        for part in phases(trainability["chi_perp"].values):
            axes.plot(
                x[part], multiple * xi[part], color="#D55E00", linestyle=line, linewidth=1.2, zorder=1,
                marker="." if len(part) == 1 else "", markersize=2,
                path_effects=[withStroke(linewidth=2.2, foreground="white")],
            )  # fmt: skip
        label = r"$\xi_c$" if multiple == 1 else rf"${multiple}\,\xi_c$"
        entries[label] = Line2D([], [], color="#D55E00", linestyle=line, linewidth=1.2)
    return entries


def _depths(axes: Axes, trainability: xr.Dataset) -> dict[str, Line2D]:
    """The trainable depth with errors, and bounds as arrows."""
    x = trainability["sigma_w"].values ** 2
    depth, error, low, high = (
        trainability[f"trainable_depth{end}"].values.astype(np.float64) for end in ("", "_stderr", "_low", "_high")
    )
    entries, known = {}, np.isfinite(depth)
    style = {"color": "black", "mec": "white", "mew": 0.6, "zorder": 4}
    if known.any():
        down, up = (np.clip(error[known], 0, limit) for limit in (0.95 * depth[known], np.inf))
        bars = np.nan_to_num(np.stack([down, up]))
        drawn = axes.errorbar(x[known], depth[known], bars, fmt="o", markersize=4.4, elinewidth=0.9, **style)
        for part in (*drawn[1], *drawn[2]):
            part.set(path_effects=[withStroke(linewidth=2.0, foreground="white")])
        entries["trainable depth"] = Line2D([], [], color="black", marker="o", linestyle="none")
    for marker, at, limits, label in (
        ("^", ~known & np.isinf(high), low, "at least"), ("v", ~known & (low == 0), high, "at most")
    ):  # fmt: skip
        if at.any():
            axes.plot(x[at], limits[at], marker, markersize=5.5, linestyle="none", **style)
            entries[label] = Line2D([], [], color="black", marker=marker, linestyle="none")
    return entries
