"""Every fit of a scan: quartic couplings to G4c and kappa to G6c, at each (architecture, width, cutoff, model)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nnqft.couplings.fit import CouplingFit, fit_couplings, whiten
from nnqft.couplings.operators import design, design_slope
from nnqft.couplings.sextic import SexticFit, fit_sextic
from nnqft.couplings.truncation import LeftOut, left_out, moved, six_point_columns, widened
from nnqft.spec.grid import Architecture
from nnqft.spec.model import Scan
from nnqft.stages.vertices import SixLegs, Vertices, six_legs, vertices
from nnqft.storage.integrals import IntegralCache

Array = NDArray[np.float64]

UNRESOLVED = 3.0
"""Components that are not so many standard errors from zero have no percentage error."""


@dataclass(frozen=True)
class Integrals:
    """All integrals of one architecture: four legs, and six legs (None without six-point data)."""

    four: Vertices
    six: SixLegs | None


@dataclass(frozen=True)
class CellFit:
    """One fit with its place (architecture, width, cutoff, model) in the arrays, its model, and what was fitted.

    data (q,), samples (R, q), design (q, m) with d design / d Lambda, whitening (p, q); missing: the operators left
    out, if an error of truncation is asked for, and `shift` (m, t), what they do to the couplings; zeros (q,):
    components without a percentage error; sextic: None with a reason.
    """

    position: tuple[int, int, int, int]
    model: Sequence[str]
    data: Array
    samples: Array
    design: Array
    design_slope: Array
    whitening: Array
    missing: LeftOut | None
    shift: Array | None
    zeros: NDArray[np.bool_]
    cutoff: float
    fit: CouplingFit
    sextic: SexticFit | None
    sextic_reason: str


def find_integrals(
    scan: Scan, group: list[Architecture], cumulants: xr.Dataset, cache: IntegralCache | None
) -> list[Integrals]:
    """The integrals of the architectures of one point set."""
    c, found = scan.couplings, []
    models = [["lambda_0"], *c.models, *([c.truncation.operators] if c.truncation else [])]
    names = tuple(dict.fromkeys(name for model in models for name in model))
    for a in group:
        basis = scan.basis(a.points)
        four = vertices(a, c.cutoffs, basis, cache, models)
        wanted = "G6c" in cumulants and four.integrals is not None
        found.append(Integrals(four, six_legs(a, c.cutoffs, basis, names, cache) if wanted else None))
    return found


def fits(
    scan: Scan,
    integrals: list[Integrals],
    cumulants: xr.Dataset,
    theory: xr.Dataset,
    only: Sequence[int] | None = None,
) -> Iterator[CellFit]:
    """The fit at every (architecture, width, cutoff, model) where there is something to fit.

    theory: tells which components vanish exactly; only: the one position of the cutoff for each architecture.
    """
    if "G4c" not in cumulants:
        return
    for a, of_one in enumerate(integrals):
        if of_one.four.integrals is None:
            continue
        for w in range(cumulants.sizes["width"]):
            cutoffs = range(len(scan.couplings.cutoffs)) if only is None else [only[a]]
            yield from _cell(scan, of_one, cumulants, theory, a, w, cutoffs)


def _cell(
    scan: Scan,
    integrals: Integrals,
    cumulants: xr.Dataset,
    theory: xr.Dataset,
    a: int,
    w: int,
    cutoffs: Sequence[int],
) -> Iterator[CellFit]:
    four, c = integrals.four, scan.couplings
    assert four.integrals is not None
    data, samples = cumulants["G4c"].values[a, w], cumulants["G4c_replicate"].values[a, w]
    zeros = without_percentage(cumulants, theory, "G4c", a, w)
    whitening = whiten(samples, c.svd_cut)
    six: tuple[Array, Array, Array, NDArray[np.bool_]] | None = None
    if "G6c" in cumulants:
        sixth = cumulants["G6c"].values[a, w], cumulants["G6c_replicate"].values[a, w]
        six = sixth[0], sixth[1], whiten(sixth[1], c.svd_cut), without_percentage(cumulants, theory, "G6c", a, w)
    for m, model in enumerate(c.models):
        columns, slopes = (make(four.integrals, model, four.basis) for make in (design, design_slope))
        for k in cutoffs:
            missing, shift = _truncation(scan, four, model, data, columns, k), None
            weights = whitening if missing is None else widened(whitening, missing.columns)
            chosen = None if c.weights == "unit" else weights
            fit = fit_couplings(data, samples, columns[k], whitening=chosen, weights=c.weights, zeros=zeros)
            if missing is not None and fit.accepted:
                shift = moved(weights, columns[k], missing.columns)
            sextic, reason = _sextic(scan, integrals, model, k, fit, missing, shift, six)
            yield CellFit(
                (a, w, k, m), model, data, samples, columns[k], slopes[k], whitening, missing, shift, zeros,
                c.cutoffs[k], fit, sextic, reason,
            )  # fmt: skip


def further_operators(scan: Scan, model: Sequence[str]) -> list[str]:
    """The operators that a model leaves out and whose size is estimated."""
    t = scan.couplings.truncation
    return [name for name in t.operators if name not in model] if t else []


def _truncation(
    scan: Scan, four: Vertices, model: Sequence[str], data: Array, columns: Array, k: int
) -> LeftOut | None:
    """What one model leaves out; None if that is not asked for, or nothing."""
    further, t = further_operators(scan, model), scan.couplings.truncation
    if t is None or not further or not np.isfinite(data).all():
        return None
    assert four.integrals is not None
    return left_out(data, columns[k], design(four.integrals, further, four.basis)[k], t.naturalness)


def _sextic(
    scan: Scan,
    integrals: Integrals,
    model: Sequence[str],
    k: int,
    fit: CouplingFit,
    missing: LeftOut | None,
    shift: Array | None,
    six: tuple[Array, Array, Array, NDArray[np.bool_]] | None,
) -> tuple[SexticFit | None, str]:
    """Kappa of one quartic fit, and why there is none."""
    if six is None or integrals.six is None:
        return None, "no kappa: the six-point cumulant was not estimated (cumulants.orders)"
    legs, (data, samples, modes, zeros) = integrals.six, six
    if legs.reasons[k]:
        return None, f"no kappa: {legs.reasons[k]}"
    if not fit.accepted:
        return None, "no kappa: it needs the quartic couplings"
    trees, extra = legs.between(model, model, k), None
    if missing is not None and shift is not None:
        outside = legs.between(model, further_operators(scan, model), k)
        extra = six_point_columns(fit.values, missing, shift, trees, outside, legs.I6[k])
    if scan.couplings.weights == "unit":
        modes = None
    found = fit_sextic(data, samples, fit, trees, legs.I6[k], modes, zeros=zeros, extra=extra)
    return found, f"kappa: {found.fit.reason}" if found.fit.reason else ""


def without_percentage(cumulants: xr.Dataset, theory: xr.Dataset, name: str, a: int, w: int) -> NDArray[np.bool_]:
    """Components (q,) without a percentage error: exactly zero, or not resolved from zero by the data."""
    unresolved = np.abs(cumulants[name].values[a, w]) < UNRESOLVED * cumulants[f"{name}_stderr"].values[a, w]
    exact = theory[name].values[a, w] if name in theory else np.full(unresolved.shape, np.nan)
    size = np.nanmax(np.abs(exact), initial=0.0)
    return unresolved | (np.abs(exact) < 1e-12 * size)


def no_fit(integrals: list[Integrals], cumulants: xr.Dataset) -> NDArray[Any]:
    """Why there are no fits, for each architecture; empty where there are."""
    missing = "" if "G4c" in cumulants else "the four-point cumulant was not estimated (cumulants.orders)"
    return np.array([own.four.reason or missing for own in integrals], dtype=object)
