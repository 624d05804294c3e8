"""What of ``criticality.zarr`` the figures show: numbers that may be missing, the phases of a sweep, a few of many."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import xarray as xr
from cmcrameri import cm
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnqft.figures.style import COLUMN, empty, panels, safe, wrapped

Array = NDArray[np.float64]
T = TypeVar("T")
OSLO: Colormap = vars(cm)["oslo"]
"""Crameri's perceptually uniform map from black over blue to white, ordered for every kind of colour vision."""
FEW = 3
"""Sweeps side by side on a page."""
_SYMBOLS = {"activation": "", "depth": "$l", "sigma_w": r"$\sigma_w", "sigma_b": r"$\sigma_b", "options": ""}


def perceptrons(dataset: xr.Dataset) -> list[int]:
    """Positions of the architectures that are perceptrons."""
    return [a for a, network in enumerate(dataset["network"].values) if str(network) != "recurrent"]


def values(dataset: xr.Dataset, name: str, dims: Sequence[str] = ("architecture", "width")) -> Array:
    """A variable, float64; NaN of the shape of `dims` where a group does not have it."""
    if name in dataset:
        return np.asarray(dataset[name].values, dtype=np.float64)
    return np.full([dataset.sizes.get(dim, 0) for dim in dims], np.nan)


def measured(dataset: xr.Dataset, name: str) -> tuple[Array, Array, NDArray[np.bool_]]:
    """A measured number, its standard error and whether it is trusted, each (architecture, width)."""
    value, error = values(dataset, name), values(dataset, f"{name}_stderr")
    label = f"{name}_trusted"
    return value, error, dataset[label].values.astype(bool) if label in dataset else np.isfinite(value)


def reason(dataset: xr.Dataset, name: str, places: Sequence[int], otherwise: str) -> str:
    """Why a number is missing at some architectures, broken into lines: the first reason that the store gives."""
    label = f"{name}_status"
    found = [str(s) for s in dataset[label].values[list(places)].ravel() if str(s)] if label in dataset else []
    return wrapped(safe(found[0] if found else otherwise), 30)


def phases(chi_perp: Array) -> list[NDArray[np.intp]]:
    """Positions along a sweep with chi_perp <= 1, and those with chi_perp > 1: lines are not drawn across."""
    return [np.flatnonzero(chi_perp <= 1), np.flatnonzero(chi_perp > 1)]


def transition(sigma: Array, chi_perp: Array) -> float:
    """sigma_w where chi_perp passes 1: ln chi_perp taken as linear in ln sigma_w between the two nearest of a sweep."""
    rise = np.flatnonzero((chi_perp[:-1] <= 1) & (chi_perp[1:] > 1))
    if not rise.size:
        return float("nan")
    near = slice(int(rise[0]), int(rise[0]) + 2)
    return float(np.exp(np.interp(0.0, np.log(chi_perp[near]), np.log(sigma[near]))))


def spread(found: Sequence[T], count: int, what: str) -> tuple[list[T], str]:
    """At most `count`, spread evenly, and a remark where these are not all."""
    picks = np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)
    return [found[i] for i in picks], f"{len(picks)} of {len(found)} {what}" if len(picks) < len(found) else ""


def heading(figure: Figure, *parts: str) -> None:
    """Title of a figure: the point set, and what of it is shown."""
    if text := ": ".join(filter(None, parts)):
        figure.suptitle(text)


def nothing(name: str, why: str) -> Figure:
    """A figure that has nothing to show, and says why."""
    figure, axes = panels(1, 1, COLUMN, 2.0)
    empty(axes[0, 0], wrapped(safe(why), 44))
    heading(figure, safe(name))
    return figure


def label(dataset: xr.Dataset, a: int) -> str:
    """Name of an architecture for a figure: its family, and what differs within it."""
    family = dataset["family"].values
    alike = np.flatnonzero([str(f) == str(family[a]) for f in family])
    parts = [safe(family[a])]
    for key, symbol in _SYMBOLS.items():
        own = dataset[key].values
        if len({str(own[i]) for i in alike}) > 1:
            parts.append(f"{symbol}={own[a]:g}$" if symbol else safe(own[a]))
    return ", ".join(parts)


def text(dataset: xr.Dataset, name: str, at: Any) -> str:
    """One entry of a variable of names, as text."""
    return str(dataset[name].values[at])
