"""From cumulants to ``couplings.zarr``: quartic couplings and kappa with correlated errors, and their tests."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nnqft.couplings.comparison import UNKNOWN, average, criteria, weights
from nnqft.couplings.components import component_mean, sextic_mean
from nnqft.couplings.heldout import predict_heldout
from nnqft.couplings.operators import COUPLINGS, design
from nnqft.couplings.truncation import truncation_error
from nnqft.spec.model import Scan
from nnqft.stages.asymmetric import AsymmetricFits
from nnqft.stages.fits import CellFit, Integrals, find_integrals, fits, no_fit, without_percentage
from nnqft.stages.layout import Layout, by_points, coordinates, dataset
from nnqft.stages.vertices import Vertices, vertices
from nnqft.storage.integrals import IntegralCache
from nnqft.storage.product import read_tree, write_receipt, write_tree

DIMS = ("architecture", "width", "cutoff", "model")
UNTRUSTED = "G{}c is not converged here (heavy tail): the value is shown, its error bar is not to be trusted"
HELDOUT = ("mape_heldout", "max_ape_heldout", "nrms_heldout", "chi2_heldout", "dof_heldout", "p_value_heldout")
_QUALITY = ("chi2", "p_value", "mape", "max_ape", "nrms", "condition")
_COUNTS = ("dof", "modes", "rank")
_SEXTIC = ("chi2", "p_value", "dof", "mape")

Stores = Mapping[str, xr.Dataset]
"""One store: its dataset of each point set."""
Arrays = dict[str, NDArray[Any]]


def fit_all_couplings(scan: Scan, layout: Layout) -> None:
    """Fit every model at every cutoff for every (architecture, width)."""
    cumulants, theory = (read_groups(layout, stage, scan) for stage in ("cumulants", "theory"))
    cache = IntegralCache(layout.integrals)
    groups = {points: couplings(scan, points, cumulants, theory, cache) for points in by_points(scan)}
    sha = write_tree(layout.store("couplings"), groups, {"couplings_of": "the 1PI effective action"})
    write_receipt(layout.receipt("couplings"), {"store": "couplings.zarr", "sha256": sha})


def read_groups(layout: Layout, stage: str, scan: Scan) -> dict[str, xr.Dataset]:
    """One store as a dataset in memory for every point set in use."""
    tree = read_tree(layout.store(stage))
    return {points: tree[points].to_dataset().load() for points in by_points(scan)}


def couplings(
    scan: Scan, points: str, cumulants: Stores, theory: Stores, cache: IntegralCache | None = None
) -> xr.Dataset:
    """Couplings, errors, replicates, goodness of fit and of prediction for the architectures of one point set."""
    group, data = by_points(scan)[points], cumulants[points]
    c, names = scan.couplings, coupling_names(scan)
    shape = len(group), len(scan.widths), len(c.cutoffs), len(c.models)
    integrals = find_integrals(scan, group, data, cache)
    found = _empty(shape, names, data.sizes["replicate"], truncated=c.truncation is not None)
    found["status"][:] = no_fit(integrals, data)[:, None, None, None]
    elsewhere = [_HeldOut.of(scan, a.heldout, cumulants, theory, cache) for a in group]
    asymmetric = AsymmetricFits(shape, names, integrals, data) if c.asymmetric else None
    for own in fits(scan, integrals, data, theory[points]):
        _enter(found, own, data)
        at = own.position
        if (other := elsewhere[at[0]]) is not None:
            for name, value in zip(HELDOUT, other.predict(own), strict=True):
                found[name][at] = value
        if asymmetric is not None:
            asymmetric.enter(own)
    if asymmetric is not None:
        found |= asymmetric.arrays
    found["model_weight"] = weights(_log_odds(found, c.average))
    variables = {name: (_dims(name), values) for name, values in found.items()}
    variables |= _component_means(scan, integrals, data)
    if c.average is not None:
        variables |= _averages(found, c.average)
    coords = coordinates(group) | {"width": np.array(scan.widths, dtype=np.int64)}
    coords |= {"cutoff": np.array(c.cutoffs, dtype=np.float64), "model": model_names(scan)}
    coords["heldout"] = ("architecture", np.array([a.heldout for a in group], dtype=object))
    found_all = dataset(variables, coords, "effective couplings by generalised least squares of G4c and G6c")
    return found_all.assign_attrs(svd_cut=c.svd_cut)


def coupling_names(scan: Scan) -> tuple[str, ...]:
    """Quartic couplings in the store: the first three always, then those that models add."""
    more = [name for model in scan.couplings.models for name in model if name not in COUPLINGS]
    return *COUPLINGS, *dict.fromkeys(more)


def model_names(scan: Scan) -> NDArray[Any]:
    """Labels of the models: their couplings joined by '+'."""
    return np.array(["+".join(model) for model in scan.couplings.models], dtype=object)


def _empty(shape: tuple[int, ...], names: tuple[str, ...], R: int, *, truncated: bool) -> Arrays:
    """All variables, NaN or zero."""
    all_names = (*names, "kappa")
    floats = [*all_names, *(f"{name}_stderr" for name in all_names), *_QUALITY, *HELDOUT, "aic", "bic", "log_evidence"]
    floats += [f"kappa_{name}" for name in _SEXTIC] + [f"{name}_truncation" for name in all_names if truncated]
    found: Arrays = {name: np.full(shape, np.nan) for name in floats}
    found |= {name: np.zeros(shape, dtype=np.int64) for name in (*_COUNTS, "masked")}
    found |= {f"{name}_replicate": np.full((*shape, R), np.nan) for name in all_names}
    found["status"] = np.full(shape, "", dtype=object)
    return found


def _dims(name: str) -> tuple[str, ...]:
    return (*DIMS, "replicate") if name.endswith("_replicate") else DIMS


def _enter(found: Arrays, own: CellFit, cumulants: xr.Dataset) -> None:
    """One fit into the arrays."""
    at, fit = own.position, own.fit
    for i, name in enumerate(own.model):
        found[name][at], found[f"{name}_stderr"][at] = fit.values[i], fit.stderr[i]
        found[f"{name}_replicate"][at] = fit.replicates[:, i]
    for name in (*_QUALITY, *_COUNTS):
        found[name][at] = getattr(fit, name)
    found["masked"][at] = own.zeros.sum()
    extra = None
    if own.missing is not None and own.shift is not None:
        extra, wide = own.whitening @ own.missing.columns, truncation_error(own.shift)
        for i, name in enumerate(own.model):
            found[f"{name}_truncation"][at] = wide[i]
        if own.sextic is not None:
            found["kappa_truncation"][at] = own.sextic.truncation
    c = UNKNOWN
    if np.isfinite(fit.chi2):
        c = criteria(own.data, own.design, own.whitening, len(own.samples), extra=extra)
    found["aic"][at], found["bic"][at], found["log_evidence"][at] = c.aic, c.bic, c.log_evidence
    said = [fit.reason, _doubt(cumulants, at, 4)]
    if own.sextic is not None:
        found["kappa"][at], found["kappa_stderr"][at] = own.sextic.value, own.sextic.stderr
        found["kappa_replicate"][at] = own.sextic.replicates
        for name in _SEXTIC[:-1]:
            found[f"kappa_{name}"][at] = getattr(own.sextic.fit, name)
        found["kappa_mape"][at] = own.sextic.mape
        said.append(_doubt(cumulants, at, 6))
    found["status"][at] = "; ".join(filter(None, [*said, own.sextic_reason]))


class _HeldOut:
    """One architecture on its held-out points: what is measured there, and the integrals there."""

    def __init__(self, scan: Scan, data: xr.Dataset, theory: xr.Dataset, name: str, four: Vertices):
        self.scan, self.data, self.theory, self.four = scan, data, theory, four
        self.index = int(np.flatnonzero(data["architecture"].values == name)[0])
        self._designs: dict[tuple[str, ...], NDArray[np.float64]] = {}

    @classmethod
    def of(
        cls, scan: Scan, name: str, cumulants: Stores, theory: Stores, cache: IntegralCache | None
    ) -> "_HeldOut | None":
        """None without held-out points, or where there are no integrals or no four-point function on them."""
        if not name:
            return None
        points = name.rpartition("@")[2]
        architecture = next(a for a in by_points(scan)[points] if a.name == name)
        c = scan.couplings
        four = vertices(architecture, c.cutoffs, scan.basis(points), cache, c.models)
        if four.integrals is None or "G4c" not in cumulants[points]:
            return None
        return cls(scan, cumulants[points], theory[points], name, four)

    def predict(self, own: CellFit) -> tuple[float, ...]:
        """The numbers of `HELDOUT` for one fit."""
        if not own.fit.accepted:
            return (np.nan,) * len(HELDOUT)
        _, w, k, _ = own.position
        columns = self._designs.get(tuple(own.model))
        if columns is None:
            assert self.four.integrals is not None
            columns = self._designs[tuple(own.model)] = design(self.four.integrals, own.model, self.four.basis)
        found = predict_heldout(
            self.data["G4c"].values[self.index, w], self.data["G4c_replicate"].values[self.index, w],
            columns[k] @ own.fit.values, own.fit.replicates @ columns[k].T,
            without_percentage(self.data, self.theory, "G4c", self.index, w),
        )  # fmt: skip
        a = found.agreement
        return found.mape, found.max_ape, found.nrms, a.chi2, a.modes, a.p_value


def _log_odds(found: Arrays, kind: str | None) -> NDArray[np.float64]:
    """Logarithms of the models' relative probabilities."""
    return found["log_evidence"] if kind == "evidence" else -found["aic"] / 2


def _averages(found: Arrays, kind: str) -> dict[str, Any]:
    """lambda_0 averaged over models, (architecture, width, cutoff), with its two errors."""
    shape = found["lambda_0"].shape[:-1]
    ends = ("", "_stderr", "_systematic")
    averages = {end: np.full(shape, np.nan) for end in ends}
    odds = _log_odds(found, kind)
    for at in np.ndindex(shape):
        a = average(odds[at], found["lambda_0"][at], found["lambda_0_replicate"][at].T)
        for end, value in zip(ends, (a.mean, a.stderr, a.systematic), strict=True):
            averages[end][at] = value
    return {f"lambda_0_average{end}": (DIMS[:3], values) for end, values in averages.items()}


def _component_means(scan: Scan, integrals: list[Integrals], cumulants: xr.Dataset) -> dict[str, Any]:
    """lambda_mean and kappa_mean of a constant coupling, errors and relative spreads over components."""
    shape = len(integrals), len(scan.widths), len(scan.couplings.cutoffs)
    ends = ("_mean", "_mean_stderr", "_spread")
    found = {f"{g}{end}": np.full(shape, np.nan) for g in ("lambda", "kappa") for end in ends}
    for a, w, k in np.ndindex(shape):
        four, six = integrals[a].four.integrals, integrals[a].six
        if four is None or "G4c" not in cumulants:
            continue
        c = component_mean(cumulants["G4c"].values[a, w], cumulants["G4c_replicate"].values[a, w], four["I4"][k])
        means = {"lambda": c}
        if six is not None and not six.reasons[k]:
            sixth = cumulants["G6c"].values[a, w], cumulants["G6c_replicate"].values[a, w]
            means["kappa"] = sextic_mean(*sixth, c, six.between(["lambda_0"], ["lambda_0"], k)[:, 0, 0], six.I6[k])
        for g, mean in means.items():
            for end, value in zip(ends, (mean.mean, mean.stderr, mean.spread), strict=True):
                found[f"{g}{end}"][a, w, k] = value
    return {name: (DIMS[:3], values) for name, values in found.items()}


def _doubt(cumulants: xr.Dataset, position: tuple[int, ...], order: int) -> str:
    trusted = cumulants["trusted"].sel(order=order).values[position[0], position[1]]
    return "" if trusted else UNTRUSTED.format(order)
