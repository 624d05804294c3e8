"""Predictions beside the measurements: ``theory.zarr`` has the same names, NaN where no prediction exists."""

from typing import Any

import numpy as np
import xarray as xr

from nnqft.predictions.predict import predict
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
from nnqft.storage.product import save

FINITE = {2: ("G2",), 4: ("G4c", "G4"), 6: ("G6c", "G6"), 8: ("G8c", "G8")}


def predict_theory(scan: Scan, layout: Layout) -> None:
    """Predict every (architecture, width) of a scan."""
    groups = {points: theory(scan, points, group) for points, group in by_points(scan).items()}
    save(layout.store("theory"), layout.receipt("theory"), groups, {})


def theory(scan: Scan, points: str, group: list[Architecture]) -> xr.Dataset:
    """Predictions for the architectures on one point set."""
    orders, basis = sorted(scan.cumulants.orders), scan.basis(points)
    found = [predict(a, scan.widths, orders, basis) for a in group]
    variables: dict[str, Any] = {}
    for order in orders:
        component = DIMENSION[order]
        free, (connected, *_) = f"G{order}_gp", FINITE[order]
        variables[free] = (("architecture", component), np.stack([p.values[free] for p in found]))
        for name in FINITE[order]:
            variables[name] = (("architecture", "width", component), np.stack([p.values[name] for p in found]))
        errors = np.stack([p.errors[connected] for p in found])
        if errors.any():
            variables[f"{connected}_stderr"] = (("architecture", "width", component), errors)
    labels = np.array([[p.prediction[k] for k in orders] for p in found], dtype=object)
    variables["prediction"] = (("architecture", "order"), labels)
    status = np.array([[p.reason[k] for k in orders] for p in found], dtype=object)
    variables["status"] = (("architecture", "order"), status)
    coords = coordinates(group) | {"width": np.array(scan.widths, dtype=np.int64), "order": orders}
    coords |= component_coordinates(basis, orders) | point_coordinates(scan, points)
    return dataset(variables, coords, "free, exact and leading-order predictions")
