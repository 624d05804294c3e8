"""``trainability.zarr``: accuracy after training over (sigma_w, depth), one group for every map."""

from typing import Any

import numpy as np
import xarray as xr

from nnqft.criticality.fixed_points import mean_field
from nnqft.sampling.unit import unpacked
from nnqft.spec.model import Scan
from nnqft.stages.layout import Layout, dataset
from nnqft.stages.source import Source
from nnqft.storage.product import save
from nnqft.training.cells import statistics, training_cell
from nnqft.training.datasets import dataset as points_of
from nnqft.training.trainability import estimates, trainable_depth

STAGE = "trainability"


def measure_trainability(scan: Scan, layout: Layout) -> None:
    """Write the store and its receipt."""
    source = Source(scan, layout, STAGE)
    groups = {name: trained_map(scan, name, source) for name in scan.trainability}
    save(layout.store(STAGE), layout.receipt(STAGE), groups, {})


def trained_map(scan: Scan, name: str, source: Source) -> xr.Dataset:
    """One map: statistics of the networks at every (sigma_w, depth), values rising, and what follows from them.

    accuracy and its like (sigma_w, depth) with `_stderr`; loss (sigma_w, depth, step); `trained`, the fraction of
    networks that train, with its one-sigma interval; trainable_depth (sigma_w) with error, bounds and status, also over
    xi_c; accuracy_networks (sigma_w, depth, network): every single one.
    """
    t = scan.trainability[name]
    sigmas, depths = sorted(t.sigma_w), sorted(t.depth)
    data = points_of(t.data)
    sizes = len(data.y_train), len(data.y_test)
    found: list[list[dict[str, Any]]] = []
    single: list[list[np.ndarray]] = []
    for sigma_w in sigmas:
        row = [_values(source, training_cell(scan, name, sigma_w, depth)) for depth in depths]
        found.append([estimates(values, *sizes) for values in row])
        single.append([values["accuracy"] for values in row])
    plane = ("sigma_w", "depth")
    more = {"loss": ("step",), "loss_stderr": ("step",), "final_losses": ("rate",), "final_losses_stderr": ("rate",)}
    variables: dict[str, Any] = {
        key: ((*plane, *more.get(key, ())), np.array([[cell[key] for cell in row] for row in found]))
        for key in found[0][0]
    }
    variables["accuracy_networks"] = ((*plane, "network"), np.array(single))
    at = mean_field(t.activation, np.array(sigmas), t.sigma_b)
    variables |= {key: (("sigma_w",), np.asarray(getattr(at, key))) for key in ("q_star", "chi_perp", "xi_c")}
    crossings = [trainable_depth(depths, np.array(row), sizes[0]) for row in single]
    for suffix, rows in (
        ("", crossings),
        ("_over_xi_c", [c.over(float(xi)) for c, xi in zip(crossings, at.xi_c, strict=True)]),
    ):
        for key, label in (("depth", ""), ("stderr", "_stderr"), ("low", "_low"), ("high", "_high")):
            values = np.array([getattr(c, key) for c in rows])
            variables[f"trainable_depth{suffix}{label}"] = (("sigma_w",), values)
        status = np.array([c.status for c in rows], dtype=object)
        variables[f"trainable_depth{suffix}_status"] = (("sigma_w",), status)
    cell = training_cell(scan, name, sigmas[0], depths[0])
    coords = {"sigma_w": np.array(sigmas), "depth": np.array(depths), "step": cell.spec.recorded, "rate": list(t.rates)}
    coords |= {key: getattr(t, key) for key in ("sigma_b", "width", "steps")}
    coords |= {key: np.array(getattr(t, key), dtype=object) for key in ("activation", "data")}
    return dataset(variables, coords, f"accuracy after training: {t.data}, {t.activation}, width {t.width}")


def _values(source: Source, cell: Any) -> dict[str, np.ndarray]:
    """Statistics (networks, *shape) of one place."""
    moments = source.data(cell)["moments"]
    return unpacked(statistics(moments.reshape(-1, moments.shape[-1])), cell.spec.layout)
