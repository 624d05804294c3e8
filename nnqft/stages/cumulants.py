"""From ``ensemble.zarr`` to ``cumulants.zarr``: correlators with jackknife errors and tail verdicts."""

from typing import Any

import numpy as np
import xarray as xr

from nnqft.estimation.cumulants import CONNECTED, FULL, CumulantEstimate, estimate
from nnqft.estimation.kstatistics import PowerSums
from nnqft.spec.model import Scan
from nnqft.stages.layout import DIMENSION, Layout, component_coordinates, dataset
from nnqft.storage.product import read_tree, write_receipt, write_tree


def estimate_cumulants(scan: Scan, layout: Layout) -> None:
    """Estimate every correlator of every (architecture, width)."""
    tree = read_tree(layout.store("ensemble"))
    groups = {name: cumulants(node.to_dataset(), scan.ensemble.estimator) for name, node in tree.children.items()}
    sha = write_tree(layout.store("cumulants"), groups, {"estimator": scan.ensemble.estimator})
    write_receipt(layout.receipt("cumulants"), {"store": "cumulants.zarr", "sha256": sha})


def cumulants(ensemble: xr.Dataset, estimator: str = "marginal") -> xr.Dataset:
    """Correlators of one group of ``ensemble.zarr``: G2, G4, G4c, G6, G6c, errors, replicates, tails, verdicts."""
    ensemble = ensemble.load()
    points = ensemble.sizes["point"]
    shape = ensemble.sizes["architecture"], ensemble.sizes["width"]
    found = np.empty(shape, dtype=object)
    for position in np.ndindex(shape):
        found[position] = _estimate(ensemble.isel(architecture=position[0], width=position[1]), points, estimator)
    orders = sorted(found[0, 0].tail_index)
    variables: dict[str, Any] = {"networks": ensemble["networks"].variable}
    for order, name in [(k, names[k]) for names in (CONNECTED, FULL) for k in orders if k in names]:
        dims = ("architecture", "width")
        component = DIMENSION[order]
        variables[name] = ((*dims, component), _stack(found, "values", name))
        variables[f"{name}_stderr"] = ((*dims, component), _stack(found, "stderr", name))
        variables[f"{name}_replicate"] = ((*dims, "replicate", component), _stack(found, "replicates", name))
    for key in ("tail_index", "trusted", "top_share"):
        values = np.array([[[getattr(e, key)[k] for k in orders] for e in row] for row in found])
        variables[key] = (("architecture", "width", "order"), values)
    keep: dict[str, Any] = {
        str(k): v for k, v in ensemble.coords.items() if k not in ("power",) and not str(k).endswith("_points")
    }
    coords = keep | component_coordinates(points, orders) | {"order": orders}
    return dataset(variables, coords, "unbiased correlators with delete-one-group jackknife replicates")


def _estimate(cell: xr.Dataset, points: int, estimator: str) -> CumulantEstimate:
    sums = PowerSums(
        cell["count"].values,
        cell["sum_1"].values,
        cell["sum_2"].values if "sum_2" in cell else None,
        cell["sum_3"].values if "sum_3" in cell else None,
    )
    largest = cell["tail_largest"].values
    return estimate(
        sums, cell["centre"].values, points, estimator, largest[~np.isnan(largest)], cell["tail_sums"].values
    )


def _stack(found: np.ndarray, field: str, name: str) -> np.ndarray:
    return np.array([[getattr(e, field)[name] for e in row] for row in found])
