"""Technical naturalness: the invariances of every kernel beside the fate of a constant quartic coupling."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nnqft.couplings.component_tests import (
    class_violation,
    equal_components,
    explained,
    orthogonal_classes,
    proportional_components,
    translation_classes,
)
from nnqft.couplings.invariance import Invariance, Kernel, kernel_length, rotation, scaling, translation
from nnqft.figures import comparison
from nnqft.figures.running import trusted_quartic
from nnqft.figures.table import Table, table
from nnqft.nets.registry import law
from nnqft.spec.grid import Architecture
from nnqft.spec.model import Scan
from nnqft.stages.layout import by_points
from nnqft.stages.naturalness_verdict import Evidence, Looked, as_expected, constant, sentence, smallest
from nnqft.stages.vertices import vertices
from nnqft.storage.integrals import IntegralCache

Array = NDArray[np.float64]
Group = Mapping[str, xr.Dataset]

COLUMNS = (
    "points", "architecture", "kernel_translation", "translation_violation", "translation_here", "kernel_rotation",
    "rotation_violation", "kernel_scaling", "scaling_violation", "scaling_degree", "tolerance", "G4c_translation_p",
    "G4c_translation_exact", "G4c_rotation_p", "p_constant", "looks", "p_fit", "p_components", "width", "cutoff",
    "best_cutoff", "p_best_cutoff", "p_featureless", "explained", "lambda_spread", "precision", "modes", "constant",
    "as_expected", "sentence", "status",
)  # fmt: skip
"""Of the table; docs/naturalness.md defines each."""

MODEL = "lambda_0"
ONE_MODE = "G4c fluctuates in one mode only (rank 1), which any coupling fits"


@dataclass(frozen=True)
class Cells:
    """G4c of one architecture at its trusted widths (w), with what the tests need.

    values, errors (w, q); replicates (w, R, q); size (w, q): product of sqrt K_w(x, x) over the legs, over the width;
    I4 (cutoffs, q) or None; widths: their positions among all.
    """

    values: Array
    errors: Array
    replicates: Array
    size: Array
    I4: Array | None
    widths: NDArray[np.int64]

    def p_values(self, test: Any, *arguments: Any) -> tuple[Array, str]:
        """Its p of test(values, replicates, *arguments, size) at each width (w,), and the first reason for a NaN."""
        cells = zip(self.values, self.replicates, self.size, strict=True)
        found = [test(values, samples, *arguments, size) for values, samples, size in cells]
        return np.array([f.p_value for f in found]), next((f.reason for f in found if f.reason), "")


def naturalness_table(scan: Scan, groups: Mapping[str, Group], cache: IntegralCache | None = None) -> Table:
    """One row for each (point set, architecture); vertex integrals from the cache, if there is one."""
    rows = []
    for points, architectures in by_points(scan).items():
        group = {stage: groups[points][stage].load() for stage in ("cumulants", "theory", "couplings")}
        rows += [_row(scan, points, a, architecture, group, cache) for a, architecture in enumerate(architectures)]
    return table(COLUMNS, rows)


def legs(architecture: Architecture) -> Kernel:
    """K_w(x, y) = K - Var(output bias) of any network that knows its kernel; closed form or quadrature."""
    a = architecture
    net = law(a, 1)
    bias = float(net.readout(np.float64(a.sigma_w), np.float64(a.sigma_b))[1])  # pyright: ignore[reportArgumentType]

    def kernel(x: Array, y: Array) -> Array:
        if x is y:
            return net.gp_kernel(x, a.sigma_w, a.sigma_b) - bias
        both = net.gp_kernel(np.concatenate([x, y]), a.sigma_w, a.sigma_b)
        return both[: len(x), len(x) :] - bias

    return kernel


def kernel_invariances(architecture: Architecture) -> tuple[Invariance, Invariance, Invariance]:
    """Translation, rotation and scaling of the legs; NaN with a reason where the kernel cannot be evaluated."""
    x = architecture.x
    try:
        kernel = legs(architecture)
        length = kernel_length(kernel, x)
        return translation(kernel, x, length), rotation(kernel, x, length), scaling(kernel, x, length)
    except (ValueError, RuntimeError) as error:
        missing = Invariance(np.nan, np.nan, np.nan, reason=str(error))
        return missing, missing, missing


def _row(
    scan: Scan, points: str, a: int, architecture: Architecture, group: Group, cache: IntegralCache | None
) -> tuple[Any, ...]:
    moved, turned, scaled = kernel_invariances(architecture)
    fits, nan = group["couplings"], float("nan")
    numbers = dict.fromkeys(COLUMNS, nan) | {
        "points": points, "architecture": architecture.name, "kernel_translation": _word(moved),
        "translation_violation": moved.violation, "translation_here": moved.here, "kernel_rotation": _word(turned),
        "rotation_violation": turned.violation, "kernel_scaling": _word(scaled), "scaling_violation": scaled.violation,
        "scaling_degree": scaled.degree, "tolerance": moved.tolerance, "looks": 0, "width": 0, "modes": 0,
    }  # fmt: skip
    reasons = [moved.reason, scaled.reason]
    cells = _cells(scan, a, architecture, group, cache)
    if isinstance(cells, str):
        evidence = Evidence(moved, reason=cells)
    else:
        shifts, why = _symmetries(a, architecture, cells, group, numbers)
        evidence = _coupling(a, moved, shifts, cells, fits, numbers)
        reasons += why
    numbers |= {
        "p_constant": evidence.constant.p_value, "looks": evidence.constant.looks, "best_cutoff": evidence.best_cutoff,
        "p_best_cutoff": evidence.p_best_cutoff, "p_featureless": evidence.featureless.p_value,
        "explained": evidence.explained, "constant": constant(evidence), "as_expected": as_expected(evidence),
        "sentence": sentence(evidence), "status": "; ".join(dict.fromkeys(filter(None, [*reasons, evidence.reason]))),
    }  # fmt: skip
    return tuple(numbers[name] for name in COLUMNS)


def _cells(scan: Scan, a: int, architecture: Architecture, group: Group, cache: IntegralCache | None) -> Cells | str:
    data = group["cumulants"]
    if "G4c" not in data:
        return "the four-point cumulant was not estimated (cumulants.orders)"
    trusted = np.flatnonzero(trusted_quartic(data)[a])
    if not len(trusted):
        return "G4c is not converged at any width"
    values, errors, replicates = (data[f"G4c{end}"].values[a, trusted] for end in ("", "_stderr", "_replicate"))
    size = _variances(architecture)[data["quad_points"].values].prod(axis=1) / data["width"].values[trusted][:, None]
    c, basis = scan.couplings, scan.basis(architecture.points)
    found = vertices(architecture, c.cutoffs, basis, cache, c.models).integrals
    return Cells(values, errors, replicates, size, None if found is None else found.get("I4"), trusted)


def _symmetries(
    a: int, architecture: Architecture, cells: Cells, group: Group, numbers: dict[str, Any]
) -> tuple[Looked, list[str]]:
    """Tests of G4c under translations (returned) and orthogonal maps; what its prediction does under translations."""
    quads, theory = group["cumulants"]["quad_points"].values, group["theory"]
    moved, turned = (classes(architecture.x, quads) for classes in (translation_classes, orthogonal_classes))
    p, shifts_reason = cells.p_values(equal_components, moved)
    q, turns_reason = cells.p_values(equal_components, turned)
    numbers |= {"G4c_translation_p": smallest(p).p_value, "G4c_rotation_p": smallest(q).p_value}
    if str(theory["prediction"].sel(order=4).values[a]) in comparison.EXACT:
        numbers["G4c_translation_exact"] = class_violation(theory["G4c"].values[a, -1], moved)
    named = zip(("translations", "orthogonal maps"), (shifts_reason, turns_reason), strict=True)
    return smallest(p), [f"{name}: {reason}" for name, reason in named if reason]


def _coupling(
    a: int, moved: Invariance, shifts: Looked, cells: Cells, fits: xr.Dataset, numbers: dict[str, Any]
) -> Evidence:
    """Tests of a constant coupling: by the fits of {lambda_0}, and component against component."""
    models, w = [str(model) for model in fits["model"].values], cells.widths
    sizes, relative = np.linalg.norm(cells.values, axis=1), np.linalg.norm(cells.errors, axis=1)
    relative = np.divide(relative, sizes, out=np.full_like(sizes, np.inf), where=sizes > 0)
    best = int(np.argmin(relative))
    numbers["precision"] = float(relative[best])
    featureless = smallest(cells.p_values(proportional_components, cells.size[best])[0])
    evidence = Evidence(moved, featureless=featureless, shifts=shifts)
    if cells.I4 is None:
        known = any(MODEL in model.split("+") for model in models)
        reason = str(fits["status"].values[a].ravel()[0]).split("; ")[0]
        return _with(evidence, reason=reason if known else "no model has lambda_0 (couplings.models)")
    p = np.full((2, len(w), fits.sizes["cutoff"]), np.nan)
    if MODEL in models:
        p[0] = fits["p_value"].values[a, w, :, models.index(MODEL)]
        numbers["modes"] = int(fits["modes"].values[a, w, :, models.index(MODEL)].max())
    tests = [cells.p_values(proportional_components, column) for column in cells.I4]
    p[1] = np.array([values for values, _ in tests]).T
    looked = smallest(p)
    cutoff = looked.at[2] if looked.at else -1
    numbers |= {
        "p_fit": smallest(p[0]).p_value, "p_components": smallest(p[1]).p_value,
        "lambda_spread": float(fits["lambda_spread"].values[a, w[best], cutoff]),
    }  # fmt: skip
    share = explained(cells.values[best], cells.I4[cutoff], cells.size[best])
    evidence = _with(evidence, fit=smallest(p[0]), spread=numbers["lambda_spread"], explained=share)
    if not looked.looks:
        reason = f"{ONE_MODE}; {tests[-1][1]}" if numbers["modes"] == 1 else tests[-1][1]
        return _with(evidence, reason=reason)
    numbers |= {"width": int(fits["width"].values[w[looked.at[1]]]), "cutoff": float(fits["cutoff"].values[cutoff])}
    by_cutoff = [smallest(p[:, :, c]).p_value for c in range(p.shape[2])]
    chosen = int(np.nanargmax(by_cutoff))
    at = float(fits["cutoff"].values[chosen])
    return _with(evidence, constant=looked, best_cutoff=at, p_best_cutoff=by_cutoff[chosen])


def _variances(architecture: Architecture) -> Array:
    """Standard deviations sqrt K_w(x_a, x_a) (n,); ones where the kernel is not known."""
    try:
        return np.sqrt(np.diag(legs(architecture)(architecture.x, architecture.x)).clip(min=0.0))
    except (ValueError, RuntimeError):
        return np.ones(len(architecture.x))


def _with(evidence: Evidence, **changes: Any) -> Evidence:
    return Evidence(**{**evidence.__dict__, **changes})


def _word(found: Invariance) -> str:
    return "unknown" if found.reason else "yes" if found.holds else "no"
