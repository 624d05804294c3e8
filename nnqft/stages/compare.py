"""`nnqft compare A B`: are two result folders the same numbers, the same physics, or different?"""

from pathlib import Path

import numpy as np
import xarray as xr

from nnqft.core.errors import InputError
from nnqft.estimation.cumulants import CONNECTED
from nnqft.stages.layout import STAGES, Layout
from nnqft.storage.product import read_tree

VERDICTS = ("bit-identical", "equal within rounding", "statistically consistent", "different")
ROUNDING = 1e-9
LARGEST_PULL = 6.0


def compare(a: Path, b: Path) -> tuple[str, list[str]]:
    """One of VERDICTS, and the differences a line each.

    Raises:
        InputError: when a folder holds no finished scan.
    """
    verdict, notes = 0, []
    for stage in _stages(a, b):
        trees = []
        for folder in (a, b):
            store = Layout(folder).store(stage)
            if not store.exists():
                raise InputError(str(folder), f"holds no {stage}.zarr", "give the folder of a finished scan")
            trees.append(read_tree(store))
        if set(trees[0].children) != set(trees[1].children):
            return VERDICTS[3], [f"{stage}: other point sets"]
        for points in trees[0].children:
            pair = [tree[points].to_dataset().load() for tree in trees]
            found, lines = _datasets(pair[0], pair[1], f"{stage}/{points}")
            if found >= 2 and stage in STAGES["cumulants"] and stage != "cumulants":
                found = 2  # what the cumulants say decides: everything else follows from them, by way of the errors
            verdict, notes = max(verdict, found), notes + lines
    return VERDICTS[verdict], notes


def _stages(a: Path, b: Path) -> list[str]:
    """The stages of every measurement of which either folder holds a store; of correlators, if there is none."""
    stores = {
        name: stages
        for name, stages in STAGES.items()
        if any(Layout(f).store(s).exists() for f in (a, b) for s in stages)
    }
    return [stage for stages in (stores or {"cumulants": STAGES["cumulants"]}).values() for stage in stages]


def _datasets(a: xr.Dataset, b: xr.Dataset, label: str) -> tuple[int, list[str]]:
    keys = [set(map(str, d.variables)) for d in (a, b)]
    if keys[0] != keys[1]:
        return 3, [f"{label}: other variables: {', '.join(sorted(keys[0] ^ keys[1]))}"]
    for name in a.coords:
        if not a[name].identical(b[name]):
            return 3, [f"{label}: other {name}"]
    worst, notes = 0, []
    for name in map(str, a.data_vars):
        x, y = a[name].values, b[name].values
        if x.dtype.kind not in "fiub" or x.shape != y.shape:
            level = 0 if x.shape == y.shape and (x == y).all() else 2
        elif np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
            level = 0
        else:
            both = np.abs(np.concatenate([x.ravel(), y.ravel()]).astype(float))
            scale = both[np.isfinite(both)].max(initial=0.0)
            level = 1 if np.allclose(x, y, rtol=ROUNDING, atol=1e-12 * scale, equal_nan=True) else 2
        if level:
            notes.append(f"{label}: {name} differs{' by rounding' if level == 1 else ''}")
        worst = max(worst, level)
    if worst == 2:
        for name in CONNECTED.values():
            if name in a and (pull := _largest_pull(a, b, name)) > LARGEST_PULL:
                return 3, [*notes, f"{label}: {name} differs by {pull:.1f} standard errors"]
    return worst, notes


def _largest_pull(a: xr.Dataset, b: xr.Dataset, name: str) -> float:
    """Largest difference of trusted components in units of its error (for independent samples)."""
    order = a["order"].values.tolist().index({v: k for k, v in CONNECTED.items()}[name])
    trusted = a["trusted"].values[..., order] & b["trusted"].values[..., order]
    error = np.hypot(a[f"{name}_stderr"].values, b[f"{name}_stderr"].values)[trusted]
    difference = np.abs(a[name].values - b[name].values)[trusted]
    scale = np.abs(a[name].values[trusted]).max(initial=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        pulls = np.where(difference > ROUNDING * scale, difference / error, 0.0)
    return float(pulls.max(initial=0.0))
