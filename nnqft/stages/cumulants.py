"""From ``ensemble.zarr`` to ``cumulants.zarr``: correlators with jackknife errors and tail verdicts."""

from dataclasses import fields
from typing import Any

import numpy as np
import xarray as xr

from nnqft.core.packing import Basis, multisets, pair_products
from nnqft.estimation.cumulants import CONNECTED, FULL, OUTPUTS, CumulantEstimate, estimate
from nnqft.estimation.kstatistics import Amplitude, PowerSums
from nnqft.spec.model import Scan
from nnqft.stages.layout import DIMENSION, Layout, component_coordinates, dataset
from nnqft.storage.product import read_whole, save


def estimate_cumulants(scan: Scan, layout: Layout) -> None:
    """Estimate every correlator of every (architecture, width)."""
    tree = read_whole(layout.store("ensemble"), layout.receipt("ensemble"))
    groups = {name: cumulants(node.to_dataset(), scan.basis(name)) for name, node in tree.children.items()}
    save(layout.store("cumulants"), layout.receipt("cumulants"), groups, {})


def cumulants(ensemble: xr.Dataset, points: Basis) -> xr.Dataset:
    """Correlators of one group of ``ensemble.zarr``: G2, G4c, G4, G6c, ..., errors, replicates, tails, verdicts.

    points: their number, or the components that the power sums are for.
    """
    ensemble = ensemble.load()
    shape = ensemble.sizes["architecture"], ensemble.sizes["width"]
    found = np.empty(shape, dtype=object)
    for position in np.ndindex(shape):
        found[position] = _estimate(ensemble.isel(architecture=position[0], width=position[1]), points)
    orders = sorted(found[0, 0].tail_index)
    variables: dict[str, Any] = {key: ensemble[key].variable for key in ("networks", "kind", "budget")}
    for order, name in [(k, names[k]) for names in (CONNECTED, FULL) for k in orders if k in names]:
        dims = ("architecture", "width")
        component = DIMENSION[order]
        variables[name] = ((*dims, component), _stack(found, "values", name))
        variables[f"{name}_stderr"] = ((*dims, component), _stack(found, "stderr", name))
        variables[f"{name}_replicate"] = ((*dims, "replicate", component), _stack(found, "replicates", name))
    if OUTPUTS in found[0, 0].values:
        for name, field in ((OUTPUTS, "values"), (f"{OUTPUTS}_stderr", "stderr")):
            variables[name] = (("architecture", "width", "pair_product"), _stack(found, field, OUTPUTS))
    for key in ("tail_index", "trusted", "top_share"):
        values = np.array([[[getattr(e, key)[k] for k in orders] for e in row] for row in found])
        variables[key] = (("architecture", "width", "order"), values)
    keep: dict[str, Any] = {
        str(k): v for k, v in ensemble.coords.items() if k not in ("power", "moment") and not str(k).endswith("_points")
    }
    coords = keep | component_coordinates(points, orders) | {"order": orders}
    if OUTPUTS in variables:
        pairs, (left, right) = multisets(points, 2), pair_products(points)
        legs = np.concatenate([pairs[left], pairs[right]], axis=1)
        coords |= {"pair_product_points": (("pair_product", "leg22"), legs)}
    return dataset(variables, coords, "unbiased correlators with delete-one-group jackknife replicates")


def _estimate(cell: xr.Dataset, points: Basis) -> CumulantEstimate:
    sums = {}
    for field in fields(PowerSums)[1:]:
        values = cell[f"sum_{field.name}"].values if f"sum_{field.name}" in cell else None
        if values is not None and not np.isnan(values).all():
            sums[field.name] = values
    groups = PowerSums(cell["count"].values, **sums)
    amplitude = Amplitude(
        *(float(m) for m in cell["amplitude"].values), pooled=int(cell["pooled"]), textbook=bool(cell["textbook"])
    )
    largest = cell["tail_largest"].values
    centre, tail_sums = cell["centre"].values, cell["tail_sums"].values
    return estimate(groups, centre, points, amplitude, largest[~np.isnan(largest)], tail_sums)


def _stack(found: np.ndarray, field: str, name: str) -> np.ndarray:
    return np.array([[getattr(e, field)[name] for e in row] for row in found])
