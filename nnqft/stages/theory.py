"""Predictions beside the measurements: ``theory.zarr`` has the same names, NaN where no prediction exists."""

from typing import Any

import numpy as np
import xarray as xr

from nnqft.predictions.predict import Prediction, predict
from nnqft.spec.grid import Architecture
from nnqft.spec.model import Scan
from nnqft.stages.layout import (
    DIMENSION,
    Layout,
    by_points,
    component_coordinates,
    coordinates,
    dataset,
    point_coordinates,
)
from nnqft.storage.product import write_receipt, write_tree

FREE = {2: "G2_gp", 4: "G4_gp", 6: "G6_gp"}
FINITE = {2: ("G2",), 4: ("G4c", "G4"), 6: ("G6c", "G6")}


def predict_theory(scan: Scan, layout: Layout) -> None:
    """Predict every (architecture, width) of a scan."""
    groups = {points: theory(scan, points, group) for points, group in by_points(scan).items()}
    sha = write_tree(layout.store("theory"), groups, {})
    write_receipt(layout.receipt("theory"), {"store": "theory.zarr", "sha256": sha})


def theory(scan: Scan, points: str, group: list[Architecture]) -> xr.Dataset:
    """Predictions for the architectures on one point set."""
    orders = sorted(scan.cumulants.orders)
    found = [predict(a.activation, a.depth, a.sigma_w, a.sigma_b, a.x, scan.widths) for a in group]
    variables: dict[str, Any] = {}
    for order in orders:
        component = DIMENSION[order]
        variables[FREE[order]] = (("architecture", component), _stack(found, FREE[order]))
        for name in FINITE[order]:
            variables[name] = (("architecture", "width", component), _stack(found, name))
    labels = np.array([[p.prediction[k] for k in orders] for p in found], dtype=object)
    variables["prediction"] = (("architecture", "order"), labels)
    status = np.array([[p.reason[k] for k in orders] for p in found], dtype=object)
    variables["status"] = (("architecture", "order"), status)
    coords = coordinates(group) | {"width": np.array(scan.widths, dtype=np.int64), "order": orders}
    coords |= component_coordinates(len(scan.points[points]), orders) | point_coordinates(scan, points)
    return dataset(variables, coords, "free, exact and leading-order predictions")


def _stack(found: list[Prediction], name: str) -> np.ndarray:
    return np.stack([getattr(p, name) for p in found])
