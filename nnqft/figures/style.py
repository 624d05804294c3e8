"""One look for all figures: sizes, fonts, colours for every kind of colour vision, files without dates."""

import io
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import matplotlib.style
import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

STYLE = Path(__file__).with_name("nnqft.mplstyle")
COLUMN, PAGE = 3.4, 7.0
"""Widths of a column and of a page, in inches."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#AA4499")
"""Okabe & Ito's blue, vermilion and green, and a purple: distinct for every kind of colour vision."""

MARKERS = ("o", "s", "^", "D")
LINES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1)))
GREY = "#8a8a8a"
UNTRUSTED = "hollow, grey: not converged (heavy tail)"
SHOWN = 4
"""Architectures that one figure can tell apart."""

_METADATA = {"png": {"Software": None}, "pdf": {"Creator": None, "Producer": None, "CreationDate": None}}
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Look:
    """Colour, marker and line of one series."""

    colour: str
    marker: str
    line: Any


def look(index: int) -> Look:
    """The look of the series number `index`."""
    return Look(COLOURS[index % 4], MARKERS[index % 4], LINES[index % 4])


def style() -> AbstractContextManager[None]:
    """Context in which figures are made; the caller's own settings come back afterwards."""
    return matplotlib.style.context(["default", STYLE])


def styled(function: Callable[P, R]) -> Callable[P, R]:
    """Run a plotting function in :func:`style`."""

    @wraps(function)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with style():
            return function(*args, **kwargs)

    return inside


def panels(rows: int, columns: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
    """A figure and its axes (rows, columns), of that width and that height a row, in inches. No window, no pyplot."""
    figure = Figure(figsize=(width, height * rows))
    return figure, figure.subplots(rows, columns, squeeze=False)


def image(figure: Figure, kind: Literal["png", "pdf"]) -> bytes:
    """The file of a figure: the same bytes for the same numbers."""
    stream = io.BytesIO()
    with style():
        engine = figure.get_layout_engine()
        if isinstance(engine, ConstrainedLayoutEngine):  # one layout for all files of a figure
            engine.execute(figure)
            figure.set_layout_engine("none")
        if kind == "png":  # (savefig would lay everything out once more)
            FigureCanvasAgg(figure).print_png(stream, metadata=_METADATA[kind])
        else:
            FigureCanvasPdf(figure).print_pdf(stream, metadata=_METADATA[kind])
    return stream.getvalue()


def shown(dataset: xr.Dataset) -> xr.Dataset:
    """The architectures that are drawn: the first few of many."""
    return dataset.isel(architecture=slice(0, SHOWN))


def title(figure: Figure, dataset: xr.Dataset, points: str) -> None:
    """Name the point set, and say so where not all architectures are drawn."""
    total = dataset.sizes["architecture"]
    parts = [safe(points)] if points else []
    if total > SHOWN:
        parts.append(f"the first {SHOWN} of {total} architectures")
    if parts:
        figure.suptitle(": ".join(parts))


def safe(text: str) -> str:
    """A name as text, never as mathematics."""
    return str(text).replace("$", r"\$")


def wrapped(text: str, width: int = 38) -> str:
    """Text broken into lines of about so many characters."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def empty(axes: Axes, why: str) -> None:
    """A panel without data says why."""
    axes.set(xticks=[], yticks=[], xlabel="", ylabel="")
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", wrap=True, color="#444444")


def points(axes: Axes, x: ArrayLike, y: ArrayLike, error: ArrayLike, trusted: ArrayLike, appearance: Look) -> None:
    """Points with error bars; those that are not trusted hollow and grey, behind the others."""
    x, y, error, trusted = (np.asarray(values) for values in (x, y, error, trusted))
    drawn = np.isfinite(y)
    for good in (False, True):
        these = drawn & (trusted.astype(bool) == good)
        if not these.any():
            continue
        colour = appearance.colour if good else GREY
        axes.errorbar(
            x[these], y[these], np.nan_to_num(error[these]), fmt=appearance.marker, color=colour, elinewidth=0.7,
            mfc=colour if good else "none", mec=colour, zorder=3 if good else 2,
        )  # fmt: skip


def handle(appearance: Look, line: bool = False, hollow: bool = False) -> Line2D:
    """A legend entry's sample."""
    colour = GREY if hollow else appearance.colour
    return Line2D(
        [], [], color=colour, marker=appearance.marker, mfc="none" if hollow else colour,
        linestyle=appearance.line if line else "none",
    )  # fmt: skip


def line_handle(appearance: Look) -> Line2D:
    """A legend entry's sample of a line without markers."""
    return Line2D([], [], color=appearance.colour, linestyle=appearance.line)


def legend_below(figure: Figure, entries: Mapping[str, Artist]) -> None:
    """One legend for all panels, under them, in as many columns as surely fit."""
    if entries:
        longest = 0.5 + 0.06 * max(len(label) for label in entries)
        fitting = max(1, int(figure.get_figwidth() / longest))
        rows = -(-len(entries) // fitting)
        columns = -(-len(entries) // rows)
        figure.legend(list(entries.values()), list(entries), loc="outside lower center", ncols=columns)


def dodge(index: int, count: int, step: float = 0.05) -> float:
    """Factor by which series `index` of `count` is moved on a logarithmic axis so that error bars do not hide."""
    return float(np.exp(step * (index - (count - 1) / 2)))


def log_axis(axes: Axes, which: Literal["x", "y"], values: ArrayLike, least: float = 10.0) -> None:
    """A logarithmic axis over the finite positive values, spanning at least a factor `least`, with labelled ticks."""
    data = np.asarray(values, dtype=np.float64).ravel()
    data = data[np.isfinite(data) & (data > 0)]
    low, high = (float(data.min()), float(data.max())) if data.size else (1.0, 1.0)
    grow = max(np.sqrt(least * low / high), (high / low) ** 0.06, 1.15)
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log", nonpositive="mask" if which == "x" else "clip")
    (axes.set_xlim if which == "x" else axes.set_ylim)(low / grow, high * grow)
    decades = np.log10(high / low * grow**2)
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,), numticks=6))
    if decades < 8:
        axis.set_minor_locator(LogLocator(subs=tuple(range(2, 10)), numticks=100))
    axis.set_major_formatter(FuncFormatter(_tick))
    axis.set_minor_formatter(NullFormatter())


def _tick(value: float, _: Any = None) -> str:
    if value <= 0:
        return ""
    if 0.9e-4 < value < 2e4:
        return f"{value:g}"
    power = int(np.floor(np.log10(value) + 1e-9))
    mantissa = round(value / 10.0**power)
    return f"$10^{{{power}}}$" if mantissa == 1 else f"${mantissa}\\times10^{{{power}}}$"
