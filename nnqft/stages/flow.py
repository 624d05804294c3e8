"""From couplings to ``flow.zarr``: beta functions, slopes against the cutoff, exponents of the width."""

from typing import Any

import numpy as np
import xarray as xr

from nnqft.couplings.flow import beta_function, slope
from nnqft.spec.grid import Architecture
from nnqft.spec.model import Scan
from nnqft.stages.couplings import DIMS, fits, model_names, no_fit, vertices
from nnqft.stages.depth import flow_with_depth
from nnqft.stages.layout import Layout, by_points, coordinates, dataset
from nnqft.stages.potential import flow_with_sigma
from nnqft.stages.widths import flow_with_width
from nnqft.storage.integrals import IntegralCache
from nnqft.storage.product import read_tree, write_receipt, write_tree

NO_KAPPA = "beta_kappa needs the six-point fit, which this version does not make"


def measure_flow(scan: Scan, layout: Layout) -> None:
    """Measure the running of every coupling."""
    cumulants, fitted, theory = (read_tree(layout.store(s)) for s in ("cumulants", "couplings", "theory"))
    cache = IntegralCache(layout.integrals)
    groups = {
        p: flow(scan, group, cumulants[p].to_dataset().load(), fitted[p].to_dataset().load(),
                theory[p].to_dataset().load(), cache)
        for p, group in by_points(scan).items()
    }  # fmt: skip
    sha = write_tree(layout.store("flow"), groups, {})
    write_receipt(layout.receipt("flow"), {"store": "flow.zarr", "sha256": sha})


def flow(
    scan: Scan,
    group: list[Architecture],
    cumulants: xr.Dataset,
    fitted: xr.Dataset,
    theory: xr.Dataset,
    cache: IntegralCache | None = None,
) -> xr.Dataset:
    """beta_lambda with error and theory, slope of log |lambda_0| against log Lambda, width exponents."""
    variables = _betas(scan, group, cumulants, cache) | _slopes(scan, fitted)
    variables |= flow_with_width(scan, cumulants, fitted, theory) | flow_with_depth(scan, group, cumulants, theory)
    variables |= flow_with_sigma(scan, group, cumulants, fitted)
    coords = coordinates(group) | {"width": np.array(scan.widths, dtype=np.int64)}
    coords |= {"cutoff": np.array(scan.couplings.cutoffs, dtype=np.float64), "model": model_names(scan)}
    coords["order"] = [k for k in sorted(scan.cumulants.orders) if k > 2]
    return dataset(variables, coords, "flow of the effective couplings with cutoff and width")


def _betas(scan: Scan, group: list[Architecture], cumulants: xr.Dataset, cache: IntegralCache | None) -> dict[str, Any]:
    c = scan.couplings
    shape = len(group), len(scan.widths), len(c.cutoffs), len(c.models)
    names = [f"beta_{g}{suffix}" for g in ("lambda", "kappa") for suffix in ("", "_stderr", "_theory")]
    numbers = {name: np.full(shape, np.nan) for name in names}
    integrals = [vertices(a, c.cutoffs, scan.basis(a.points), cache) for a in group]
    status = np.full(shape, "", dtype=object)
    status[:] = no_fit(integrals, cumulants)[:, None, None, None]
    for found in fits(scan, integrals, cumulants):
        if "lambda_0" not in found.model:
            status[found.position] = f"{'+'.join(found.model)} has no lambda_0"
            continue
        beta = beta_function(found.fit, found.data, found.samples, found.design, found.design_slope, found.cutoff)
        i = found.model.index("lambda_0")
        for suffix, values in (("", beta.values), ("_stderr", beta.stderr), ("_theory", beta.theory)):
            numbers[f"beta_lambda{suffix}"][found.position] = values[i]
        status[found.position] = "; ".join(filter(None, [found.fit.reason, NO_KAPPA]))
    return {name: (DIMS, values) for name, values in numbers.items()} | {"status": (DIMS, status)}


def _slopes(scan: Scan, fitted: xr.Dataset) -> dict[str, Any]:
    """Slope of log |lambda_0| against log Lambda over all cutoffs, for each (architecture, width, model)."""
    values, samples = fitted["lambda_0"].values, fitted["lambda_0_replicate"].values
    shape = (*values.shape[:2], values.shape[3])
    found, error = np.full(shape, np.nan), np.full(shape, np.nan)
    status = np.full(shape, "", dtype=object)
    for a, w, m in np.ndindex(shape):
        fit = slope(scan.couplings.cutoffs, values[a, w, :, m], samples[a, w, :, m].T)
        found[a, w, m], error[a, w, m], status[a, w, m] = fit.value, fit.stderr, fit.reason
    dims = ("architecture", "width", "model")
    return {"slope_lambda": (dims, found), "slope_lambda_stderr": (dims, error), "slope_status": (dims, status)}
