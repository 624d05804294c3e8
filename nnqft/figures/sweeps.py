"""Which architectures of a dataset are one sweep, by its coordinates, and what a panel for it is called."""

from collections.abc import Sequence

import xarray as xr

from nnqft.figures.style import SHOWN

_COORDINATES = ("family", "network", "activation", "depth", "sigma_w", "sigma_b", "options")
_SYMBOLS = {"depth": "l", "sigma_w": r"\sigma_w", "sigma_b": r"\sigma_b"}


def sweeps(dataset: xr.Dataset, key: str) -> list[list[int]]:
    """Positions of two or more architectures of one family that differ in coordinate `key` alone, its values rising."""
    found: dict[tuple, list[int]] = {}
    for a in range(dataset.sizes["architecture"]):
        fixed = tuple(dataset[name].values[a] for name in _COORDINATES if name != key)
        found.setdefault(fixed, []).append(a)
    values = dataset[key].values
    return [sorted(places, key=lambda a: values[a]) for places in found.values() if len(places) > 1]


def panel_names(dataset: xr.Dataset, found: Sequence[Sequence[int]]) -> list[str]:
    """Name of each sweep: its family, and what tells it from other sweeps of that family. Text for a figure."""
    names = []
    for places in found:
        family = dataset["family"].values[places[0]]
        alike = [other[0] for other in found if dataset["family"].values[other[0]] == family]
        parts = [str(family).replace("$", r"\$")]
        for key in _COORDINATES[1:]:
            if len({dataset[key].values[a] for a in alike}) > 1 and len({dataset[key].values[a] for a in places}) == 1:
                value = dataset[key].values[places[0]]
                parts.append(f"${_SYMBOLS[key]}={value:g}$" if key in _SYMBOLS else str(value).replace("$", r"\$"))
        names.append(", ".join(parts))
    return names


def first(found: list[list[int]]) -> tuple[list[list[int]], str]:
    """The sweeps that are drawn, and a remark where these are not all."""
    return found[:SHOWN], f"the first {SHOWN} of {len(found)} sweeps" if len(found) > SHOWN else ""
