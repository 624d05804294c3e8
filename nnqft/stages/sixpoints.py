"""From couplings to ``sixpoints.zarr``: does the effective action predict the six-point function?

With the free two-point function K and the couplings of one model (Halverson, Maiti, Stoner, arXiv:2008.08601,
section 4),

    G6 = sum_15 K K K + sum_15 K G4c + G6c,   G4c from the quartic couplings,   G6c = g T g - 720 kappa I6.

The steps of the ladder are `gp` (the first term), `lambda` (the first two) and `complete` (all three). Trees and kappa
are of one order in 1/N and belong together: there is no step between. A kappa that was fitted to the components that
it predicts would be no prediction: here it comes from other points where the architecture has held-out points
(couplings and kappa of the fit on `points` predict the components on `heldout`), and else from the other half of the
components (even and odd positions in the store).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nnqft.core.packing import Basis, number, splits
from nnqft.couplings.fit import prediction_errors, whiten
from nnqft.couplings.sextic import fit_sextic, predicted
from nnqft.estimation.agreement import agreement
from nnqft.estimation.jackknife import stderr
from nnqft.spec.grid import Architecture
from nnqft.spec.model import Couplings, Scan
from nnqft.stages.couplings import Stores, model_names, read_groups
from nnqft.stages.fits import CellFit, Integrals, find_integrals, fits, no_fit, without_percentage
from nnqft.stages.layout import Layout, by_points, component_coordinates, coordinates, dataset
from nnqft.storage.integrals import IntegralCache
from nnqft.storage.product import write_receipt, write_tree

Array = NDArray[np.float64]

LADDER = ("gp", "lambda", "complete")
"""Steps of the prediction."""

DIMS = ("architecture", "width", "model")
_TESTS = ("mape", "max_ape", "nrms", "chi2", "modes", "p_value")


@dataclass(frozen=True)
class Prediction:
    """G4c (quads,) and G6c (sexts,) of a set of couplings, each with replicates (R, ...); why one is missing."""

    G4c: Array
    G4c_replicates: Array
    G6c: Array
    G6c_replicates: Array
    source: str
    reason: str = ""


def predict_six_points(scan: Scan, layout: Layout) -> None:
    """Predict the six-point function of every (architecture, width) from every model."""
    cumulants, theory, couplings = (read_groups(layout, s, scan) for s in ("cumulants", "theory", "couplings"))
    cache = IntegralCache(layout.integrals)
    groups = {points: six_points(scan, points, cumulants, theory, couplings, cache) for points in by_points(scan)}
    sha = write_tree(layout.store("sixpoints"), groups, {})
    write_receipt(layout.receipt("sixpoints"), {"store": "sixpoints.zarr", "sha256": sha})


def six_points(
    scan: Scan, points: str, cumulants: Stores, theory: Stores, couplings: Stores, cache: IntegralCache | None = None
) -> xr.Dataset:
    """The ladder of predictions, their errors and how they agree with the measurement, for one point set.

    `G6_gp` (architecture, sext); `G6_lambda`, `G6_complete`, `G6c_predicted` (architecture, width, model, sext) with
    `_stderr`, `pull_*` of each step, and its `mape_*`, `max_ape_*`, `nrms_*`, `chi2_*`, `modes_*`, `p_value_*`
    (architecture, width, model), and the same of G6c alone (`*_G6c`); `cutoff` (architecture), `source` of kappa,
    `status`.
    """
    group, data, exact = by_points(scan)[points], cumulants[points], theory[points]
    basis = scan.basis(points)
    shape = len(group), len(scan.widths), len(scan.couplings.models)
    coords = coordinates(group) | {"width": np.array(scan.widths, dtype=np.int64), "model": model_names(scan)}
    coords |= component_coordinates(basis, [6] if "G6c" in data else [])
    title = "six-point functions predicted by the effective action"
    if "G6c" not in data:
        reason = "the six-point cumulant was not estimated (cumulants.orders)"
        return dataset({"status": (DIMS, np.full(shape, reason, dtype=object))}, coords, title)
    integrals = find_integrals(scan, group, data, cache)
    best = [reference_cutoff(scan, own) for own in integrals]
    found = _empty(shape, number(basis, 6))
    found["status"][:] = no_fit(integrals, data)[:, None, None]
    mains = {a.heldout: a for a in _all(scan) if a.heldout}
    for own in fits(scan, integrals, data, exact, best):
        a, w, _, m = own.position
        main = mains.get(group[a].name)
        prediction = (
            _from_other_half(own, integrals[a], data, scan.couplings)
            if main is None
            else _from_elsewhere(own, integrals[a], main, couplings[main.points])
        )
        _enter(found, (a, w, m), prediction, basis, data, exact)
    variables: dict[str, Any] = {name: (_dims(name), values) for name, values in found.items()}
    variables["G6_gp"] = ("architecture", "sext"), exact["G6_gp"].values
    cutoffs = np.array(scan.couplings.cutoffs, dtype=np.float64)[best]
    coords["cutoff"] = "architecture", np.where([own.four.integrals is not None for own in integrals], cutoffs, np.nan)
    return dataset(variables, coords, title)


def reference_cutoff(scan: Scan, integrals: Integrals) -> int:
    """Position of the largest cutoff at which all integrals exist; of the largest one where that is none."""
    order = np.argsort(scan.couplings.cutoffs)[::-1]
    complete = (int(k) for k in order if integrals.six is not None and not integrals.six.reasons[k])
    return next(complete, int(order[0]))


def _all(scan: Scan) -> list[Architecture]:
    return [a for group in by_points(scan).values() for a in group]


def _from_other_half(own: CellFit, integrals: Integrals, cumulants: xr.Dataset, c: Couplings) -> Prediction:
    """Quartic couplings of these points; kappa for each half of the components from the other one."""
    a, w, k, _ = own.position
    sixth, samples = cumulants["G6c"].values[a, w], cumulants["G6c_replicate"].values[a, w]
    G6c, refits, source = np.full(sixth.shape, np.nan), np.full(samples.shape, np.nan), "other half of the components"
    reason = own.sextic_reason if own.sextic is None else ""
    if own.sextic is not None:
        assert integrals.six is not None
        trees, I6 = integrals.six.between(own.model, own.model, k), integrals.six.I6[k]
        extra = own.sextic.extra
        halves = np.arange(len(sixth)) % 2
        for half in (0, 1):
            mine, other = np.flatnonzero(halves == half), np.flatnonzero(halves != half)
            modes = None if c.weights == "unit" else whiten(samples[:, other], c.svd_cut)
            fit = fit_sextic(sixth, samples, own.fit, trees, I6, modes, extra=extra, components=other)
            G6c[mine] = predicted(own.fit.values, fit.value, trees[mine], I6[mine])
            refits[:, mine] = predicted(own.fit.replicates, fit.replicates, trees[mine], I6[mine])
        reason = "" if np.isfinite(G6c).all() else "no kappa from half of the components"
    G4c, G4c_replicates = own.design @ own.fit.values, own.fit.replicates @ own.design.T
    return Prediction(G4c, G4c_replicates, G6c, refits, source, reason if own.fit.accepted else own.fit.reason)


def _from_elsewhere(own: CellFit, integrals: Integrals, main: Architecture, couplings: xr.Dataset) -> Prediction:
    """All couplings, kappa among them, as fitted on other points and independent networks."""
    _, w, k, m = own.position
    fitted = couplings.sel(architecture=main.name).isel(width=w, cutoff=k, model=m)
    values = np.array([float(fitted[name]) for name in own.model])
    refits = np.stack([fitted[f"{name}_replicate"].values for name in own.model], axis=1)
    kappa, kappa_refits = float(fitted["kappa"]), fitted["kappa_replicate"].values
    assert integrals.six is not None
    six = integrals.six
    reason, trees, I6 = six.reasons[k], six.between(own.model, own.model, k), six.I6[k]  # NaN where there is a reason
    G6c, G6c_refits = predicted(values, kappa, trees, I6), predicted(refits, kappa_refits, trees, I6)
    reason = str(fitted["status"].values) if np.isnan(G6c).all() and not reason else reason
    return Prediction(own.design @ values, refits @ own.design.T, G6c, G6c_refits, f"points {main.points}", reason)


def _empty(shape: tuple[int, int, int], sexts: int) -> dict[str, Any]:
    wide = [f"pull_{step}" for step in (*LADDER, "G6c")]
    wide += [f"{name}{end}" for name in ("G6_lambda", "G6_complete", "G6c_predicted") for end in ("", "_stderr")]
    found: dict[str, Any] = {name: np.full((*shape, sexts), np.nan) for name in wide}
    found |= {f"{test}_{step}": np.full(shape, np.nan) for test in _TESTS for step in (*LADDER, "G6c")}
    return found | {name: np.full(shape, "", dtype=object) for name in ("source", "status")}


def _dims(name: str) -> tuple[str, ...]:
    wide = name.startswith(("pull_", "G6_", "G6c_"))
    return (*DIMS, "sext") if wide else DIMS


def _enter(
    found: dict[str, Any], at: tuple[int, int, int], p: Prediction, basis: Basis, data: xr.Dataset, exact: xr.Dataset
) -> None:
    """One prediction, step by step, against the measurement."""
    a, w, _ = at
    free = exact["G6_gp"].values[a]
    K, (left, rest) = exact["G2_gp"].values[a], splits(basis, 2, 4)
    full = data["G6"].values[a, w], data["G6_replicate"].values[a, w]
    sixth = data["G6c"].values[a, w], data["G6c_replicate"].values[a, w]

    def exchange(G4c: Array) -> Array:
        return np.sum(K[left] * G4c[..., rest], axis=-1)

    steps: Mapping[str, tuple[Array, Array]] = {
        "gp": (free, np.zeros_like(full[1])),
        "lambda": (free + exchange(p.G4c), exchange(p.G4c_replicates)),
        "complete": (free + exchange(p.G4c) + p.G6c, exchange(p.G4c_replicates) + p.G6c_replicates),
    }
    for step, (values, refits) in steps.items():
        if step != "gp":
            found[f"G6_{step}"][at], found[f"G6_{step}_stderr"][at] = values, stderr(refits)
        _compare(found, at, step, full, values, refits, np.zeros(len(values), dtype=bool))
    found["G6c_predicted"][at], found["G6c_predicted_stderr"][at] = p.G6c, stderr(p.G6c_replicates)
    vague = without_percentage(data, exact, "G6c", a, w)
    _compare(found, at, "G6c", sixth, p.G6c, p.G6c_replicates, vague)
    found["source"][at], found["status"][at] = p.source, p.reason


def _compare(
    found: dict[str, Any],
    at: tuple[int, int, int],
    step: str,
    measured: tuple[Array, Array],
    values: Array,
    refits: Array,
    zeros: Sequence[bool] | NDArray[np.bool_],
) -> None:
    """Pulls and summary of one step. Replicates of estimate and prediction are of the same, or of other, networks."""
    if not np.isfinite(values).all():
        return
    joint = measured[1] - (refits - refits.mean(axis=0))
    a = agreement(measured[0], joint, values, size=np.abs(values))
    found[f"pull_{step}"][at] = a.pulls
    errors = prediction_errors(measured[0], values, zeros)
    for test, value in zip(_TESTS, (errors[1], errors[2], errors[0], a.chi2, a.modes, a.p_value), strict=True):
        found[f"{test}_{step}"][at] = value
