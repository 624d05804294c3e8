"""Fluctuations of kernels against depth over width: Var Khat_aa / (E Khat_aa)^2, a function of l/n at criticality."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nnqft.criticality.scale_invariant import collapse, relative_variance
from nnqft.figures.critical import heading, label, nothing, perceptrons, text, values
from nnqft.figures.running import few_widths
from nnqft.figures.style import (
    COLUMN,
    PAGE,
    SHOWN,
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
    "architecture", "layer", "width", "layers_over_width", "relative_variance", "relative_variance_stderr", "theory",
    "kind", "limit", "drawn",
)  # fmt: skip
CAPTION = (
    "Relative variance over networks of the kernel of one input, Var K̂ / (E K̂)², after T hidden layers of width n, "
    "against T/n: at criticality one curve for all depths and widths. Points: measured at the first point of the set, "
    "a few layers of each width; layers of one network are correlated. Error bars: jackknife standard errors of the "
    "variance. Coloured lines, one a width: for scale-invariant units without biases exact, (1 + v/n)^T − 1, with its "
    "limit e^(vT/n) − 1 in black (v = 5 for ReLU, 2 for linear units); for others leading order in 1/n, V / n K². "
    "Where T/n is not small, few of many networks carry the variance of scale-invariant ones (log-normal tails): a "
    "sample falls short of it, and so does its error bar: hollow, grey, above 1, "
    "not converged. Away from criticality fluctuations saturate after ξ_q "
    "layers and curves of different widths part."
)
HEAVY = 1.0
"""Relative variance above which the tails of a log-normal kernel are beyond some thousand networks: not trusted."""
LAYERS = 9
"""Layers drawn for each width, spread evenly in the logarithm."""
EXACT, LEADING = "exact", "leading order in 1/n"


@styled
def plot(criticality: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``criticality.zarr``; `name`: the point set.

    One panel for each of the four perceptrons nearest to criticality by their mean-field rates chi_par and chi_perp.
    """
    layered = perceptrons(criticality)
    near = nearest(criticality)[:SHOWN]
    numbers = fluctuations(criticality, near)
    if not near:
        return nothing(name, "no perceptron whose mean-field rates are known"), numbers
    columns = min(2, len(near))
    figure, axes = panels(-(-len(near) // 2), columns, COLUMN if columns == 1 else PAGE, 2.5)
    entries: dict[str, Line2D] = {}
    for panel, a in zip(axes.ravel(), near, strict=False):
        own = text(criticality, "architecture", a)
        rows = [row for row in numbers.records() if row["architecture"] == own and row["drawn"]]
        panel.set_title(label(criticality, a))
        if (np.array([row["relative_variance"] for row in rows], dtype=np.float64) > 0).any():
            entries |= _panel(panel, rows)
        else:
            empty(panel, "no fluctuation was measured")
    for panel in axes.ravel()[len(near) :]:
        panel.set_axis_off()
    few = f"the {len(near)} nearest to criticality of {len(layered)}" if len(near) < len(layered) else ""
    heading(figure, safe(name), few)
    legend_below(figure, entries)
    return figure, numbers


def nearest(criticality: xr.Dataset) -> list[int]:
    """Perceptrons by max |ln chi| of the two rates, rising; those without rates are left out."""
    with np.errstate(divide="ignore", invalid="ignore"):
        par, perp = (
            np.abs(np.log(np.abs(values(criticality, f"chi_{r}", ("architecture",))))) for r in ("par", "perp")
        )
    distance = np.maximum(par, perp)
    return sorted((a for a in perceptrons(criticality) if np.isfinite(distance[a])), key=lambda a: (distance[a], a))


def fluctuations(criticality: xr.Dataset, architectures: list[int]) -> Table:
    """One row per (architecture, layer from the second on, width)."""
    rows = []
    widths = criticality["width"].values
    for a in architectures:
        V, error, K = (
            values(criticality, key, ("architecture", "width", "layer", "pair", "pair"))[a, :, 1:, 0]
            for key in ("V_measured", "V_measured_stderr", "K_measured")
        )
        if V.ndim > 2:
            V, error = V[..., 0], error[..., 0]
        K = K if K.ndim == 2 else K[..., 0]
        hidden = np.arange(1, V.shape[1] + 1)
        kind, line, limit = _theory(criticality, a, hidden, widths)
        chosen = few_widths(widths, np.asarray(np.isfinite(V).any(axis=1)))
        reach = np.flatnonzero(np.isfinite(V).any(axis=0) | np.isfinite(line).any(axis=0))
        steps = _spread(int(reach[-1]) + 1 if reach.size else 0)
        for w, width in enumerate(widths):
            scale = float(width) * K[w] ** 2
            for i, count in enumerate(hidden):
                rows.append(
                    (text(criticality, "architecture", a), count + 1, width, count / float(width), V[w, i] / scale[i],
                     error[w, i] / scale[i], line[w, i], kind, limit[w, i], w in chosen and i in steps)
                )  # fmt: skip
    return table(COLUMNS, rows)


def _theory(
    criticality: xr.Dataset, a: int, hidden: np.ndarray, widths: np.ndarray
) -> tuple[str, np.ndarray, np.ndarray]:
    """Kind of prediction, the prediction and its limit at fixed T/n, (width, layer)."""
    n, none = widths.astype(np.float64)[:, None], np.full((len(widths), len(hidden)), np.nan)
    if criticality["sigma_b"].values[a] == 0:
        try:
            unit = text(criticality, "activation", a)
            return EXACT, relative_variance(unit, hidden, n), collapse(unit, hidden / n)
        except ValueError:  # not scale invariant
            pass
    V = values(criticality, "V_pairs", ("architecture", "layer", "pair", "pair"))[a, 1:, 0, 0]
    K = values(criticality, "K", ("architecture", "layer", "pair"))[a, 1:, 0]
    return LEADING, np.broadcast_to(V / K**2, none.shape) / n, none


def _spread(count: int) -> set[int]:
    """Positions 0 ... count - 1, a few spread evenly in the logarithm."""
    return set(np.unique(np.geomspace(1, max(count, 1), LAYERS).round().astype(int) - 1).tolist())


def _panel(axes: Axes, rows: list[dict]) -> dict[str, Line2D]:
    """Draw one architecture; the entries of the legend that it needs."""
    entries: dict[str, Line2D] = {}
    for i, width in enumerate(sorted({row["width"] for row in rows})):
        mine = [row for row in rows if row["width"] == width]
        x, value, error, line = (
            np.array([row[key] for row in mine], dtype=np.float64)
            for key in ("layers_over_width", "relative_variance", "relative_variance_stderr", "theory")
        )
        points(axes, x, value, error, ~(value > HEAVY), look(i))
        axes.plot(x, line, color=look(i).colour, linestyle=look(i).line, linewidth=0.8, zorder=1)
        entries[f"$n={width}$"] = handle(look(i), line=True)
    whole = sorted((row["layers_over_width"], row["limit"]) for row in rows if np.isfinite(row["limit"]))
    if whole:
        axes.plot(*np.array(whole).T, color="black", linewidth=0.7, zorder=0)
        entries["limit at fixed $T/n$"] = Line2D([], [], color="black", linewidth=0.7)
    log_axis(axes, "x", [row["layers_over_width"] for row in rows])
    log_axis(axes, "y", [row["relative_variance"] for row in rows])
    axes.set(xlabel="$T/n$", ylabel=r"$\mathrm{Var}\,\hat K/(\mathrm{E}\,\hat K)^2$")
    return entries
