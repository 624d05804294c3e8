"""From ``cumulants.zarr`` to ``action.zarr``: the couplings g2, g4, g6 on the measured points, without a continuum.

Everything is computed in the principal components of each architecture (one fixed linear map for all widths), whose
variances the data resolve; couplings of the points themselves are the same action in other coordinates, and exist only
when no component had to be left out. See nnqft.couplings.finite_set.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nnqft.core.packing import Basis, Components, multisets, number, rank
from nnqft.couplings.finite_set import (
    EXPANSION_LIMIT,
    Couplings,
    condition,
    couplings,
    expansion,
    principal,
    transform,
)
from nnqft.couplings.operators import design
from nnqft.estimation.jackknife import stderr
from nnqft.spec.grid import Architecture
from nnqft.spec.model import Scan
from nnqft.stages.couplings import model_names
from nnqft.stages.layout import DIMENSION, Layout, by_points, component_coordinates, coordinates, dataset
from nnqft.stages.vertices import vertices
from nnqft.storage.product import read_whole, save

Array = NDArray[np.float64]

DIMS = ("architecture", "width")
NAMES = {2: "g2", 4: "g4", 6: "g6"}
CUMULANTS = {2: "G2", 4: "G4c", 6: "G6c"}
RESOLVED = 0.1
"""Relative error of its variance below which a principal component is said to be measured."""


@dataclass(frozen=True)
class Cell:
    """One (architecture, width): estimates (1 + R, components) by order, the estimate first, then R replicates."""

    tensors: dict[int, Array]
    trusted: dict[int, bool]

    def seen(self, rows: Array) -> dict[int, Array]:
        """The same in other coordinates."""
        return {order: transform(tensor, order, rows) for order, tensor in self.tensors.items()}


def measure_action(scan: Scan, layout: Layout) -> None:
    """The action of every (architecture, width), beside the fitted continuum coupling."""
    cumulants, fitted = (read_whole(layout.store(stage), layout.receipt(stage)) for stage in ("cumulants", "couplings"))
    groups = {
        p: action(scan, group, cumulants[p].to_dataset().load(), fitted[p].to_dataset().load())
        for p, group in by_points(scan).items()
    }
    save(
        layout.store("action"),
        layout.receipt("action"),
        groups,
        {"action_of": "the outputs at the points, all else integrated out"},
    )


def action(scan: Scan, group: list[Architecture], cumulants: xr.Dataset, fitted: xr.Dataset) -> xr.Dataset:
    """Couplings of one point set, with errors, expansion parameter and distance to the continuum fit.

    g2, g4, g6 (architecture, width, pair | quad | sext): of the points; NaN when components had to be left out.
    `principal` (architecture, mode, point): the rows of W, u = W phi, largest variance first; `modes`: how many there
    are. `g*_principal` with `_stderr`, `_replicate`: couplings of u, on the same packed dimensions with modes in
    place of points (g = g_principal with W on every leg when modes = points); `g4_principal_leading`: at leading
    order; `g4_principal_continuum` (..., model, quad): the same of the G4c that the fit at the largest cutoff stands
    for; `continuum_distance`: norm of their difference over the norm of the first, `continuum_noise`: what statistical
    errors alone contribute to it. `condition`; `kurtosis` (..., mode); `expansion_parameter`, and `expansion_by_modes`,
    that of the first 1, 2, ... components alone. `status`: why something is missing, or in doubt.
    """
    basis, n = scan.basis(group[0].points), len(scan.points[group[0].points])
    shape, R = (len(group), len(scan.widths)), cumulants.sizes["replicate"]
    orders = [order for order, name in CUMULANTS.items() if name in cumulants]
    coords = coordinates(group) | {"width": np.array(scan.widths, dtype=np.int64), "model": model_names(scan)}
    coords |= component_coordinates(basis, orders)
    title = "action on the points: couplings from connected correlators"
    if missing := _missing(basis, orders):
        empty = {
            f"{NAMES[k]}{end}": np.full((*shape, number(basis, k)), np.nan) for k in orders for end in ("", "_stderr")
        }
        nothing = {name: (_dims(name), values) for name, values in empty.items()}
        return dataset(nothing | {"status": (DIMS, np.full(shape, missing, dtype=object))}, coords, title)
    found = _empty(shape, n, R, orders, len(scan.couplings.models))
    status = np.full(shape, "", dtype=object)
    for a, architecture in enumerate(group):
        cells = [_cell(cumulants, a, w) for w in range(shape[1])]
        rows = _resolved(cells, n)
        found["principal"][a, : len(rows)], found["modes"][a] = rows, len(rows)
        fits = _continuum(scan, architecture, fitted, a)
        for w, cell in enumerate(cells):
            found["condition"][a, w] = condition(cell.tensors[2][0], n)
            if not len(rows):
                status[a, w] = "no variance is measured: there is nothing to amputate with"
                continue
            _fill(found, (a, w), cell, rows, n, fits[w])
            status[a, w] = _status(cell, found, (a, w), n)
    variables: dict[str, Any] = {name: (_dims(name), values) for name, values in found.items()}
    variables["status"] = (DIMS, status)
    return dataset(variables, coords, title)


def _empty(shape: tuple[int, int], n: int, R: int, orders: list[int], models: int) -> dict[str, Any]:
    """All variables, NaN."""
    found: dict[str, Any] = {}
    for order in orders:
        name, size = NAMES[order], number(n, order)
        for key in (name, f"{name}_stderr", f"{name}_principal", f"{name}_principal_stderr"):
            found[key] = np.full((*shape, size), np.nan)
        found[f"{name}_principal_replicate"] = np.full((*shape, R, size), np.nan)
    for key in ("g4_principal_leading", "g4_principal_leading_stderr"):
        found[key] = np.full((*shape, number(n, 4)), np.nan)
    found["g4_principal_continuum"] = np.full((*shape, models, number(n, 4)), np.nan)
    for key in ("continuum_distance", "continuum_noise"):
        found[key] = np.full((*shape, models), np.nan)
    found |= {"condition": np.full(shape, np.nan), "expansion_parameter": np.full(shape, np.nan)}
    found |= {key: np.full((*shape, n), np.nan) for key in ("kurtosis", "expansion_by_modes")}
    return found | {"principal": np.full((shape[0], n, n), np.nan), "modes": np.zeros(shape[0], dtype=np.int64)}


def _dims(name: str) -> tuple[str, ...]:
    """Dimensions of a variable."""
    special = {
        "condition": DIMS, "expansion_parameter": DIMS, "kurtosis": (*DIMS, "mode"),
        "expansion_by_modes": (*DIMS, "mode"), "modes": DIMS[:1],
        "principal": (DIMS[0], "mode", "point"), "continuum_distance": (*DIMS, "model"),
        "continuum_noise": (*DIMS, "model"), "g4_principal_continuum": (*DIMS, "model", "quad"),
    }  # fmt: skip
    middle = ("replicate",) if name.endswith("_replicate") else ()
    return special.get(name) or (*DIMS, *middle, DIMENSION[int(name[1])])


def _missing(basis: Basis, orders: list[int]) -> str:
    """Why there is no action at all for a point set; empty if there is."""
    if isinstance(basis, Components):
        return "amputation mixes all components, and only some were measured (cumulants.components)"
    return "" if 4 in orders else "the four-point cumulant was not estimated (cumulants.orders)"


def _cell(cumulants: xr.Dataset, a: int, w: int) -> Cell:
    tensors = {
        order: np.concatenate([cumulants[name].values[a, w, None], cumulants[f"{name}_replicate"].values[a, w]])
        for order, name in CUMULANTS.items()
        if name in cumulants
    }
    return Cell(tensors, {order: bool(cumulants["trusted"].sel(order=order).values[a, w]) for order in tensors})


def _resolved(cells: list[Cell], n: int) -> Array:
    """Principal components (m, n) of the covariance, averaged over widths; only those that every width resolves."""
    finite = [cell for cell in cells if np.isfinite(cell.tensors[2]).all()]
    if not finite:
        return np.empty((0, n))
    rows = principal(np.mean([cell.tensors[2][0] for cell in finite], axis=0), n)
    diagonal = [c for c, (i, j) in enumerate(zip(*np.triu_indices(len(rows)), strict=True)) if i == j]
    good = np.ones(len(rows), dtype=bool)
    for cell in finite:
        variance = transform(cell.tensors[2], 2, rows)[:, diagonal] if len(rows) else np.empty((2, 0))
        good &= stderr(variance[1:]) < RESOLVED * variance[0]
    return rows[: int(np.argmin(good)) if not good.all() else len(rows)]


def _fill(found: dict[str, Any], at: tuple[int, int], cell: Cell, rows: Array, n: int, fits: Array) -> None:
    """One cell in all coordinates; fits (models, quads): the G4c of the fitted continuum couplings."""
    m = len(rows)
    seen = cell.seen(rows)
    full = couplings(seen[2], seen[4], seen.get(6), n=m)
    leading = couplings(seen[2], seen[4], n=m).g4
    for order, values in _by_order(full).items():
        name, slots = NAMES[order], rank(multisets(m, order), n)
        found[f"{name}_principal"][at][slots] = values[0]
        found[f"{name}_principal_stderr"][at][slots] = stderr(values[1:])
        found[f"{name}_principal_replicate"][at][:, slots] = values[1:]
        if m == n:
            points = transform(values, order, rows.T)
            found[name][at], found[f"{name}_stderr"][at] = points[0], stderr(points[1:])
    slots, error = rank(multisets(m, 4), n), stderr(leading[1:])
    found["g4_principal_leading"][at][slots], found["g4_principal_leading_stderr"][at][slots] = leading[0], error
    continuum = couplings(seen[2][0], transform(fits, 4, rows), n=m).g4
    found["g4_principal_continuum"][at][:, slots] = continuum
    norm = _norm(leading[0], m)
    found["continuum_distance"][at] = _norm(continuum - leading[0], m) / norm
    found["continuum_noise"][at] = np.where(np.isfinite(continuum).all(axis=1), _norm(error, m) / norm, np.nan)
    for c in range(1, m + 1):
        G2, G4c = (transform(cell.tensors[order][0], order, rows[:c]) for order in (2, 4))
        found["expansion_by_modes"][at][c - 1] = expansion(G2, G4c, n=c).parameter
        found["kurtosis"][at][c - 1] = G4c[-1] / G2[-1] ** 2
    found["expansion_parameter"][at] = found["expansion_by_modes"][at][m - 1]


def _by_order(found: Couplings) -> dict[int, Array]:
    return {order: g for order, g in zip(NAMES, found, strict=True) if g is not None}


def _norm(tensor: Array, m: int) -> Array:
    """Norm (...) of a packed tensor of four legs, every entry of the whole tensor counted."""
    weight = np.bincount(rank(np.indices((m,) * 4).reshape(4, -1).T, m))
    return np.sqrt((weight * tensor**2).sum(axis=-1))


def _continuum(scan: Scan, architecture: Architecture, fitted: xr.Dataset, a: int) -> Array:
    """G4c (widths, models, quads) of the couplings fitted at the largest cutoff; NaN where there are none."""
    k = int(np.argmax(scan.couplings.cutoffs))
    basis = scan.basis(architecture.points)
    integrals = vertices(architecture, [scan.couplings.cutoffs[k]], basis, None, scan.couplings.models).integrals
    found = np.full((len(scan.widths), len(scan.couplings.models), number(basis, 4)), np.nan)
    if integrals is None:
        return found
    for m, model in enumerate(scan.couplings.models):
        values = np.stack([fitted[name].values[a, :, k, m] for name in model], axis=-1)
        found[:, m] = values @ design(integrals, model)[0].T
    return found


def _status(cell: Cell, found: dict[str, Any], at: tuple[int, int], n: int) -> str:
    """What to keep in mind about one cell; empty when there is nothing."""
    m, size, said = int(found["modes"][at[0]]), float(found["expansion_parameter"][at]), []
    if m < n:
        said.append(
            f"condition number {found['condition'][at]:.2g}: couplings of {m} principal component(s) only, none of the "
            f"{n} points"
        )
    if 6 not in cell.tensors:
        said.append("leading order: the six-point cumulant was not estimated (cumulants.orders)")
    if not all(cell.trusted.values()):
        said.append("cumulants are not converged here (heavy tail): error bars are not to be trusted")
    if not size <= EXPANSION_LIMIT:
        few = int(np.count_nonzero(found["expansion_by_modes"][at] <= EXPANSION_LIMIT))
        said.append(
            f"expansion parameter {size:.2g} (limit {EXPANSION_LIMIT:g}; {few} leading component(s) alone "
            "are within it): the series in 1/N is not reliable"
        )
    return "; ".join(said)
