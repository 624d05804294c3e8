"""Phase diagram of perceptrons: xi_c over (sigma_w, sigma_b), the mean-field boundary, and the measured one."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnqft.figures.critical import OSLO, heading, nothing, perceptrons, text, values
from nnqft.figures.running import few_widths
from nnqft.figures.style import COLUMN, PAGE, SHOWN, handle, legend_below, look, panels, safe, styled
from nnqft.figures.sweeps import sweeps
from nnqft.figures.table import Table, table

COLUMNS = ("unit", "quantity", "sigma_w", "sigma_b", "width", "value", "value_stderr", "drawn")
CAPTION = (
    "Phase diagram of perceptrons with one activation. Shade: ξ_c in layers at infinite width (mean field), infinite "
    "on the boundary; hatched where lengths have no fixed point. Black line: the boundary χ_⊥ = 1; order, where two "
    "points merge (c* = 1), is on the side of small σ_w. Symbols: σ_w where the measured typical Lyapunov exponent of "
    "networks of that width changes sign along a sweep of σ_w, with its error from those of the exponents; a narrow "
    "network is typically ordered beyond the boundary. Small crosses: the networks measured."
)
CELLS = 100
"""Cells of the map along each axis, at most; finer grids are drawn and listed in steps."""
SCALE = (0.5, 200.0)
"""Range of the colours, layers."""


@styled
def plot(criticality: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``criticality.zarr``; `name`: the point set.

    One panel for each activation of a perceptron, the first four.
    """
    used = {text(criticality, "activation", a) for a in perceptrons(criticality)}
    units = [u for u in map(str, criticality["unit"].values) if u in used] if "unit" in criticality else []
    numbers = diagram(criticality, units[:SHOWN])
    if not units:
        return nothing(name, "no perceptron"), numbers
    columns = min(2, len(units))
    figure, axes = panels(-(-min(len(units), SHOWN) // 2), columns, COLUMN if columns == 1 else PAGE, 2.6)
    entries: dict[str, Line2D] = {}
    mesh = None
    for panel, unit in zip(axes.ravel(), units[:SHOWN], strict=False):
        rows = [row for row in numbers.records() if row["unit"] == unit and row["drawn"]]
        panel.set_title(safe(unit))
        mesh = _map(panel, rows) or mesh
        entries |= _marks(panel, rows)
    for panel in axes.ravel()[len(units) :]:
        panel.set_axis_off()
    if mesh is not None:
        figure.colorbar(mesh, ax=list(axes.ravel()), extend="both", label=r"$\xi_c$ (layers)", pad=0.02)
    heading(figure, safe(name), f"the first {SHOWN} of {len(units)} activations" if len(units) > SHOWN else "")
    legend_below(figure, entries)
    return figure, numbers


def diagram(criticality: xr.Dataset, units: list[str]) -> Table:
    """One row per number: quantity xi_c (value in layers), boundary, critical (no value) or network (nothing else)."""
    rows = []
    known = [str(u) for u in criticality["unit"].values] if units else []
    for unit in units:
        at = known.index(unit)
        w, b = (criticality[f"map_sigma_{key}"].values for key in "wb")
        every = tuple(slice(None, None, -(-len(axis) // CELLS)) for axis in (w, b))
        xi = criticality["map_xi_c"].values[at]
        for i in range(len(w))[every[0]]:
            rows += [(unit, "xi_c", w[i], b[j], -1, xi[i, j], np.nan, True) for j in range(len(b))[every[1]]]
        edge = criticality["boundary_sigma_w"].values[at]
        rows += [(unit, "boundary", edge[j], b[j], -1, np.nan, np.nan, True) for j in range(len(b))]
        rows += _networks(criticality, unit)
    return table(COLUMNS, rows)


def _networks(criticality: xr.Dataset, unit: str) -> list[tuple]:
    """Where sweeps cross, for every width, and the places of the networks."""
    layered = [a for a in perceptrons(criticality) if text(criticality, "activation", a) == unit]
    value, error = (values(criticality, f"critical_sigma_w{end}") for end in ("", "_stderr"))
    widths, sigma, bias = (criticality[key].values for key in ("width", "sigma_w", "sigma_b"))
    crossed = [places[0] for places in sweeps(criticality, "sigma_w") if places[0] in layered]
    chosen = few_widths(widths, np.asarray(np.isfinite(value[crossed]).any(axis=0))) if crossed else []
    rows = [
        (unit, "critical", value[a, w], bias[a], width, np.nan, error[a, w], w in chosen)
        for a in crossed
        for w, width in enumerate(widths)
    ]
    return rows + [(unit, "network", sigma[a], bias[a], -1, np.nan, np.nan, True) for a in layered]


def shades() -> Colormap:
    """The light three quarters of a perceptually uniform map, so that symbols and lines stand out."""
    return ListedColormap(OSLO.reversed()(np.linspace(0.02, 0.72, 256))).with_extremes(bad=(1, 1, 1, 0))


def _map(axes: Axes, rows: list[dict]) -> QuadMesh | None:
    """xi_c as a shade."""
    mine = [row for row in rows if row["quantity"] == "xi_c"]
    w, b = (sorted({row[key] for row in mine}) for key in ("sigma_w", "sigma_b"))
    xi = np.full((len(b), len(w)), np.nan)
    for row in mine:
        xi[b.index(row["sigma_b"]), w.index(row["sigma_w"])] = row["value"]
    xi = np.where(np.isfinite(xi), np.clip(xi, 1e-9, None), np.where(xi == np.inf, 1e9, np.nan))
    axes.set_facecolor("white")
    if np.isnan(xi).any():
        axes.patch.set(hatch="////", edgecolor="#cccccc", linewidth=0)
    axes.set(xlabel=r"$\sigma_w$", ylabel=r"$\sigma_b$")
    mesh = axes.pcolormesh(
        w,
        b,
        np.ma.masked_invalid(xi),
        norm=LogNorm(*SCALE),
        cmap=shades(),
        shading="nearest",
        rasterized=True,
        zorder=0,
    )
    axes.set(xlim=(w[0], w[-1]), ylim=(b[0] - 0.02 * (b[-1] - b[0]), b[-1]))
    return mesh


def _marks(axes: Axes, rows: list[dict]) -> dict[str, Line2D]:
    """The boundary, where sweeps cross, and the networks; the entries of the legend that they need."""
    entries = {}
    edge = np.array([(row["sigma_w"], row["sigma_b"]) for row in rows if row["quantity"] == "boundary"])
    if np.isfinite(edge[:, 0]).any():
        alone = "o" if np.isfinite(edge[:, 0]).sum() == 1 else ""
        axes.plot(*edge.T, color="black", linewidth=1.1, marker=alone, markersize=3, zorder=2, clip_on=False)
        entries[r"mean field, $\chi_\perp=1$"] = Line2D([], [], color="black", linewidth=1.1)
    places = np.array([(row["sigma_w"], row["sigma_b"]) for row in rows if row["quantity"] == "network"])
    axes.plot(*places.T, "x", color="black", markersize=2.6, markeredgewidth=0.5, zorder=1)
    entries["networks"] = Line2D([], [], color="black", marker="x", markersize=2.6, mew=0.5, linestyle="none")
    crossed = [row for row in rows if row["quantity"] == "critical"]
    for i, width in enumerate(sorted({row["width"] for row in crossed})):
        mine = [row for row in crossed if row["width"] == width and np.isfinite(row["sigma_w"])]
        if not mine:
            continue
        x, y, error = (np.array([row[key] for row in mine]) for key in ("sigma_w", "sigma_b", "value_stderr"))
        axes.errorbar(
            x, y, xerr=np.nan_to_num(error), fmt=look(i).marker, color=look(i).colour, mec="white", mew=0.5,
            elinewidth=0.8, markersize=4.0, zorder=3,
        )  # fmt: skip
        entries[f"$n={width}$"] = handle(look(i))
    return entries
