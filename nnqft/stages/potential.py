"""Part of ``flow.zarr``: couplings u2, u4, u6 of Gauss-nets against sigma_w, as measured and as the LPA flows.

sigma_w, the inverse correlation length of the outputs, is taken for the scale k of the Wetterich equation (Erbin,
Lahoche, Ousmane Samary, arXiv:2108.01403, whose identification this is). The flow in the local-potential approximation
(:mod:`nnqft.couplings.lpa`) starts at the largest sigma_w of a sweep from the couplings measured there, with their
replicates, and runs to the others. Beside it tree level, where lambda ~ sigma_w^(d - 4) and kappa ~ sigma_w^(d - 6):

    u2 ~ sigma_w^2,        u4 ~ sigma_w^(4 - d),        u6 ~ sigma_w^(6 - 2d),

exact for a Gauss-net whose points shrink like 1 / sigma_w, and so for points much closer than 1 / sigma_w. The measured
couplings belong to different ensembles, those of the flow to one action seen at different scales: that they agree is an
assumption to be tested here, not a result.
"""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nnqft.couplings.conventions import gauss_field, potential_start
from nnqft.couplings.lpa import potential_flow
from nnqft.couplings.widths import power_law
from nnqft.estimation.jackknife import stderr
from nnqft.figures.running import REJECTED
from nnqft.spec.grid import Architecture
from nnqft.spec.model import Scan
from nnqft.stages.gallery import potential_sweeps

Array = NDArray[np.float64]

DIMS = ("architecture", "width")
MODEL = "lambda_0"
NOT_SWEPT = "no sweep of sigma_w in a Gauss-net: a perceptron with activation gauss, one hidden layer and no options"


def flow_with_sigma(scan: Scan, group: list[Architecture], cumulants: xr.Dataset, fitted: xr.Dataset) -> dict[str, Any]:
    """Variables on (architecture, width), of the couplings of model {lambda_0} at the largest cutoff.

    `u2`, `u4`, `u6`: measured, with `_stderr` (u2 is that of the kernel: known exactly); `u2_lpa`, `u4_lpa`, `u6_lpa`:
    the flow from the largest sigma_w of the sweep, with errors; `u2_tree`, `u4_tree`, `u6_tree`: tree level from there;
    `u4_exponent` with `_stderr`, `_p_value`: the measured power of sigma_w in u4 at this width, the same for a whole
    sweep, beside `u4_exponent_tree` = 4 - d. `potential_status`: why something is missing.
    """
    shape = len(group), len(scan.widths)
    names = [f"{u}{kind}{end}" for u in ("u2", "u4", "u6") for kind in ("", "_lpa", "_tree") for end in ("", "_stderr")]
    names += [f"u4_exponent{end}" for end in ("", "_stderr", "_p_value", "_tree")]
    found = {name: np.full(shape, np.nan) for name in names}
    status = np.full(shape, NOT_SWEPT, dtype=object)
    for places in potential_sweeps(group):
        sigmas, dimension = [group[a].sigma_w for a in places], group[places[0]].x.shape[1]
        for w in range(len(scan.widths)):
            measured = [_start(scan, group[a], fitted, a, w) for a in places]
            for a, (values, replicates) in zip(places, measured, strict=True):
                _enter(found, "", (a, w), values, stderr(replicates))
            reasons = _predict(found, places, w, sigmas, measured, dimension)
            trusted = _trusted(cumulants, places, w)
            _exponent(found, places, w, sigmas, dimension, trusted[:, 0])
            for a, why, good in zip(places, reasons, trusted, strict=True):
                doubt = "" if good.all() else "correlators are not converged here (heavy tail)"
                status[a, w] = "; ".join(filter(None, [why, doubt, _rejected(scan, fitted, a, w)]))
    return {name: (DIMS, values) for name, values in found.items()} | {"potential_status": (DIMS, status)}


def _start(scan: Scan, architecture: Architecture, fitted: xr.Dataset, a: int, w: int) -> tuple[Array, Array]:
    """Canonical couplings (3,) and replicates (R, 3) at the largest cutoff; NaN for those that were not fitted."""
    field = gauss_field(architecture.sigma_w, architecture.x.shape[1])
    k = int(np.argmax(scan.couplings.cutoffs))
    models = [str(model) for model in fitted["model"].values]
    missing = np.array(np.nan), np.full(fitted.sizes["replicate"], np.nan)

    def coupling(name: str) -> tuple[Array, Array]:
        if MODEL not in models or name not in fitted or f"{name}_replicate" not in fitted:
            return missing
        at = a, w, k, models.index(MODEL)
        return fitted[name].values[at], fitted[f"{name}_replicate"].values[at]

    quartic, sextic = coupling("lambda_0"), coupling("kappa")
    return potential_start(quartic[0], sextic[0], field), potential_start(quartic[1], sextic[1], field)


def _rejected(scan: Scan, fitted: xr.Dataset, a: int, w: int) -> str:
    """Which of the couplings is not constant, by the p-values of the fits."""
    models = [str(model) for model in fitted["model"].values]
    if MODEL not in models:
        return ""
    at = a, w, int(np.argmax(scan.couplings.cutoffs)), models.index(MODEL)
    tests = {"lambda_0": "p_value", "kappa": "kappa_p_value"}
    names = [name for name, test in tests.items() if test in fitted and fitted[test].values[at] < REJECTED]
    return f"a constant {' and '.join(names)} is rejected: what was fitted means little" if names else ""


def _predict(
    found: dict[str, Array], places: list[int], w: int, sigmas: list[float],
    measured: list[tuple[Array, Array]], dimension: int,
) -> list[str]:  # fmt: skip
    """Enter tree level and the flow from the last place; why the latter is missing at each."""
    values, replicates = measured[-1]
    for a, sigma in zip(places, sigmas, strict=True):
        scaling = (sigma / sigmas[-1]) ** np.array([2.0, 4.0 - dimension, 6.0 - 2 * dimension])
        _enter(found, "_tree", (a, w), values * scaling, stderr(replicates * scaling))
    names = [n for n, u in zip(("lambda_0", "kappa"), values[1:], strict=True) if not np.isfinite(u)]
    if names or not np.isfinite(replicates).all():
        what = " and ".join(names) or "complete set of replicates"
        why = f"no flow: model {{{MODEL}}} has no {what} at sigma_w = {sigmas[-1]:g}, where it starts"
        return [why] * len(places)
    flow = potential_flow(values, replicates, sigmas[::-1], dimension)
    for a, u, error in zip(reversed(places), flow.values, flow.stderr, strict=True):
        _enter(found, "_lpa", (a, w), u, error)
    whole = np.asarray(np.isfinite(np.concatenate([flow.values, flow.stderr], axis=1)).all(axis=1))
    return ["" if good else flow.reason for good in whole[::-1]]


def _trusted(cumulants: xr.Dataset, places: list[int], w: int) -> NDArray[np.bool_]:
    """Whether the four-point function is trusted, and the six-point function: (places, 2); those not estimated are."""
    known = [int(order) for order in cumulants["order"].values]
    good = np.ones((len(places), 2), dtype=bool)
    for column, order in enumerate((4, 6)):
        if order in known:
            good[:, column] = cumulants["trusted"].sel(order=order).values[places, w].astype(bool)
    return good


def _exponent(
    found: dict[str, Array], places: list[int], w: int, sigmas: list[float], dimension: int, trusted: NDArray[np.bool_]
) -> None:
    u4, error = found["u4"][places, w], found["u4_stderr"][places, w]
    fit = power_law(sigmas, np.where(trusted, u4, np.nan), error, 4 - dimension)
    found["u4_exponent_tree"][places, w] = 4 - dimension
    for end, value in (("", fit.exponent), ("_stderr", fit.stderr), ("_p_value", fit.p_value)):
        found[f"u4_exponent{end}"][places, w] = value


def _enter(found: dict[str, Array], kind: str, at: tuple[int, int], values: Array, errors: Array) -> None:
    for name, value, error in zip(("u2", "u4", "u6"), values, errors, strict=True):
        found[f"{name}{kind}"][at], found[f"{name}{kind}_stderr"][at] = value, error
