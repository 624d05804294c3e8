"""From couplings to ``flow.zarr``: beta functions, slopes against the cutoff, exponents of the width."""

from typing import Any

import numpy as np
import xarray as xr

from nnqft.couplings.flow import Beta, beta_function, finite_difference_beta, relevance, slope
from nnqft.couplings.sextic import sextic_beta
from nnqft.estimation.jackknife import stderr as jackknife_stderr
from nnqft.spec.model import Scan
from nnqft.stages.couplings import DIMS, model_names
from nnqft.stages.depth import flow_with_depth
from nnqft.stages.fits import CellFit, Integrals, find_integrals, fits, no_fit
from nnqft.stages.groups import Stores, make_store
from nnqft.stages.layout import Layout, by_points, coordinates, dataset
from nnqft.stages.potential import flow_with_sigma
from nnqft.stages.widths import flow_with_width
from nnqft.storage.integrals import IntegralCache

RUNNING = {"lambda": "lambda_0", "kappa": "kappa"}
"""Couplings whose running is stored, by their names there."""


def measure_flow(scan: Scan, layout: Layout) -> None:
    """Measure the running of every coupling."""
    make_store(scan, layout, "flow", ("cumulants", "couplings", "theory"), flow)


def flow(
    scan: Scan,
    points: str,
    cumulants: Stores,
    couplings: Stores,
    theory: Stores,
    cache: IntegralCache | None = None,
) -> xr.Dataset:
    """Beta functions with errors and theory, slopes of log |g| against log Lambda, width exponents: one point set."""
    group, data, fitted, exact = by_points(scan)[points], cumulants[points], couplings[points], theory[points]
    variables = _betas(scan, find_integrals(scan, group, data, cache), data, exact)
    variables |= _slopes(scan, fitted) | _differences(scan, fitted) | flow_with_width(scan, data, fitted, exact)
    variables |= flow_with_depth(scan, group, data, exact) | flow_with_sigma(scan, group, data, fitted)
    coords = coordinates(group) | {"width": np.array(scan.widths, dtype=np.int64)}
    coords |= {"cutoff": np.array(scan.couplings.cutoffs, dtype=np.float64), "model": model_names(scan)}
    coords["order"] = [k for k in sorted(scan.cumulants.orders) if k > 2]
    return dataset(variables, coords, "flow of the effective couplings with cutoff and width")


def _betas(scan: Scan, integrals: list[Integrals], cumulants: xr.Dataset, theory: xr.Dataset) -> dict[str, Any]:
    """beta(lambda_0) and beta(kappa) of every fit."""
    shape = len(integrals), len(scan.widths), len(scan.couplings.cutoffs), len(scan.couplings.models)
    numbers = {f"beta_{g}{end}": np.full(shape, np.nan) for g in RUNNING for end in ("", "_stderr", "_theory")}
    status = np.full(shape, "", dtype=object)
    status[:] = no_fit(integrals, cumulants)[:, None, None, None]
    for own in fits(scan, integrals, cumulants, theory):
        found = _running(own, integrals)
        for g, beta in found.items():
            i = own.model.index("lambda_0") if g == "lambda" else 0
            for end, values in (("", beta.values), ("_stderr", beta.stderr), ("_theory", beta.theory)):
                numbers[f"beta_{g}{end}"][own.position] = values[i]
        without = "" if "lambda" in found else f"{'+'.join(own.model)} has no lambda_0"
        status[own.position] = "; ".join(filter(None, [without, own.fit.reason, own.sextic_reason]))
    return {name: (DIMS, values) for name, values in numbers.items()} | {"status": (DIMS, status)}


def _running(own: CellFit, integrals: list[Integrals]) -> dict[str, Beta]:
    """The beta functions that one fit has."""
    quartic = beta_function(own.fit, own.data, own.samples, own.design, own.design_slope, own.cutoff)
    found = {"lambda": quartic} if "lambda_0" in own.model else {}
    if own.sextic is not None:
        a, _, k, _ = own.position
        six = integrals[a].six
        assert six is not None
        trees, slopes = six.between(own.model, own.model, k), six.between(own.model, own.model, k, slope=True)
        found["kappa"] = sextic_beta(own.sextic, own.fit, quartic, trees, slopes, six.I6_slope[k], own.cutoff)
    return found


def _slopes(scan: Scan, fitted: xr.Dataset) -> dict[str, Any]:
    """Slope of log |g| against log Lambda over all cutoffs and what it means, for each (architecture, width, model)."""
    dims, found = ("architecture", "width", "model"), {}
    for g, name in RUNNING.items():
        values, samples = fitted[name].values, fitted[f"{name}_replicate"].values
        shape = (*values.shape[:2], values.shape[3])
        numbers = {end: np.full(shape, np.nan) for end in ("", "_stderr")}
        words = {end: np.full(shape, "", dtype=object) for end in ("_status", "_relevance")}
        for a, w, m in np.ndindex(shape):
            fit = slope(scan.couplings.cutoffs, values[a, w, :, m], samples[a, w, :, m].T)
            numbers[""][a, w, m], numbers["_stderr"][a, w, m] = fit.value, fit.stderr
            words["_status"][a, w, m], words["_relevance"][a, w, m] = fit.reason, relevance(fit)
        found |= {f"slope_{g}{end}": (dims, v) for end, v in numbers.items()}
        found |= {f"{'slope_' if end == '_status' else ''}{g}{end}": (dims, v) for end, v in words.items()}
    return found


def _differences(scan: Scan, fitted: xr.Dataset) -> dict[str, Any]:
    """Beta functions by finite differences of the measured couplings between neighbouring cutoffs."""
    cutoffs = np.array(scan.couplings.cutoffs, dtype=np.float64)
    order = np.argsort(cutoffs)
    found = {}
    for g, name in RUNNING.items():
        for end, given in (("", fitted[name].values), ("_stderr", fitted[f"{name}_replicate"].values)):
            beta = np.full(given.shape, np.nan)
            if len(cutoffs) > 1:
                at_cutoffs = np.moveaxis(given, 2, 0)[order]
                beta = np.moveaxis(finite_difference_beta(cutoffs[order], at_cutoffs)[np.argsort(order)], 0, 2)
            found[f"beta_{g}_difference{end}"] = DIMS, jackknife_stderr(beta, axis=-1) if end else beta
    return found
