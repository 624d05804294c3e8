"""From ``cumulants.zarr`` to ``couplings.zarr``: couplings at every cutoff, by correlated fits of G4c."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nnqft.core.packing import Basis, Components
from nnqft.couplings.components import component_mean
from nnqft.couplings.fit import CouplingFit, fit_couplings, whiten
from nnqft.couplings.vertices import (
    COUPLINGS,
    QUARTIC,
    VERSION,
    design,
    design_slope,
    selected_integrals,
    vertex_integrals,
)
from nnqft.nets.activations import Activation
from nnqft.nets.registry import law
from nnqft.spec.grid import Architecture
from nnqft.spec.model import Scan
from nnqft.stages.layout import Layout, by_points, coordinates, dataset
from nnqft.storage.integrals import IntegralCache
from nnqft.storage.product import read_tree, write_receipt, write_tree

DIMS = ("architecture", "width", "cutoff", "model")
NOT_YET = "kappa and held-out points need the six-point fit, which this version does not make"
UNTRUSTED = "G4c is not converged here (heavy tail): the value is shown, its error bar is not to be trusted"


@dataclass(frozen=True)
class Vertices:
    """Vertex integrals of one architecture, or the reason why there are none; the components that they are for."""

    integrals: dict[str, NDArray[np.float64]] | None
    reason: str = ""
    basis: Basis | None = None


def fit_all_couplings(scan: Scan, layout: Layout) -> None:
    """Fit every model at every cutoff for every (architecture, width)."""
    tree = read_tree(layout.store("cumulants"))
    cache = IntegralCache(layout.integrals)
    groups = {p: couplings(scan, group, tree[p].to_dataset().load(), cache) for p, group in by_points(scan).items()}
    sha = write_tree(layout.store("couplings"), groups, {"couplings_of": "the 1PI effective action"})
    write_receipt(layout.receipt("couplings"), {"store": "couplings.zarr", "sha256": sha})


def couplings(
    scan: Scan, group: list[Architecture], cumulants: xr.Dataset, cache: IntegralCache | None = None
) -> xr.Dataset:
    """Couplings, errors, replicates and goodness of fit for the architectures of one point set."""
    c = scan.couplings
    shape = len(group), len(scan.widths), len(c.cutoffs), len(c.models)
    numbers = {name: np.full(shape, np.nan) for name in (*COUPLINGS, "kappa")}
    errors = {f"{name}_stderr": np.full(shape, np.nan) for name in numbers}
    quality = {name: np.full(shape, np.nan) for name in ("chi2", "p_value", "mape", "mape_heldout", "condition")}
    counts = {name: np.zeros(shape, dtype=np.int64) for name in ("dof", "modes", "rank")}
    replicates = {f"{n}_replicate": np.full((*shape, cumulants.sizes["replicate"]), np.nan) for n in COUPLINGS}
    status = np.full(shape, "", dtype=object)
    integrals = [vertices(a, c.cutoffs, scan.basis(a.points), cache) for a in group]
    status[:] = no_fit(integrals, cumulants)[:, None, None, None]
    for found in fits(scan, integrals, cumulants):
        position, fit = found.position, found.fit
        for i, name in enumerate(found.model):
            numbers[name][position] = fit.values[i]
            errors[f"{name}_stderr"][position] = fit.stderr[i]
            replicates[f"{name}_replicate"][position] = fit.replicates[:, i]
        for name in ("chi2", "p_value", "mape", "condition"):
            quality[name][position] = getattr(fit, name)
        for name in counts:
            counts[name][position] = getattr(fit, name)
        status[position] = "; ".join(filter(None, [fit.reason, _doubt(cumulants, position), NOT_YET]))
    variables: dict[str, Any] = {name: (DIMS, v) for name, v in (numbers | errors | quality | counts).items()}
    variables |= {name: ((*DIMS, "replicate"), values) for name, values in replicates.items()}
    variables["status"] = (DIMS, status)
    variables |= _component_means(scan, integrals, cumulants)
    coords = coordinates(group) | {"width": np.array(scan.widths, dtype=np.int64)}
    coords |= {"cutoff": np.array(c.cutoffs, dtype=np.float64), "model": model_names(scan)}
    return dataset(variables, coords, "effective couplings by generalised least squares of G4c")


def model_names(scan: Scan) -> NDArray[Any]:
    """Labels of the models: their couplings joined by '+'."""
    return np.array(["+".join(model) for model in scan.couplings.models], dtype=object)


def vertices(
    architecture: Architecture, cutoffs: list[float], basis: Basis, cache: IntegralCache | None = None
) -> Vertices:
    """Vertex integrals of one architecture at all cutoffs; a reason instead where the theory has none.

    They are looked up in the cache first, if there is one.
    """
    a = architecture
    if a.network not in ("mlp", "linear") or a.options != "{}":
        return Vertices(None, f"vertices are known for plain perceptrons only, not for {a.network} with {a.options}")
    activation = law(a, 1).activation
    selected = basis if isinstance(basis, Components) and 4 in basis.orders else None

    def compute() -> dict[str, NDArray[np.float64]]:
        law_and_points = activation.name, a.sigma_w, a.sigma_b, a.x, cutoffs
        if selected is None:
            return vertex_integrals(*law_and_points, depth=a.depth)
        return selected_integrals(*law_and_points, selected, depth=a.depth)

    try:
        found = compute() if cache is None else cache.fetch(_content(a, activation, cutoffs, selected), compute)
    except (ValueError, RuntimeError) as error:
        return Vertices(None, str(error))
    return Vertices(found, basis=selected)


def _content(a: Architecture, activation: Activation, cutoffs: list[float], basis: Components | None) -> dict[str, Any]:
    """All that vertex integrals depend on. An activation is its name and what it does to some numbers."""
    z = np.linspace(-2.5, 2.5, 11)
    legs = [] if basis is None else [[order, rows.hex()] for order, rows in basis.legs]
    return {
        "version": VERSION,
        "names": QUARTIC,
        "region": "box",
        "activation": [activation.name, np.asarray(activation(jnp.asarray(z), jnp.ones_like(z))).tolist()],
        "law": [a.sigma_w, a.sigma_b, a.depth],
        "x": np.asarray(a.x, dtype=np.float64).tolist(),
        "cutoffs": [float(cutoff) for cutoff in cutoffs],
        "legs": legs,
    }


def _component_means(scan: Scan, integrals: list[Vertices], cumulants: xr.Dataset) -> dict[str, Any]:
    """lambda_mean, its error, and the relative spread over components: (architecture, width, cutoff)."""
    shape = len(integrals), len(scan.widths), len(scan.couplings.cutoffs)
    found = {name: np.full(shape, np.nan) for name in ("lambda_mean", "lambda_mean_stderr", "lambda_spread")}
    for a, w, k in np.ndindex(shape):
        vertex = integrals[a].integrals
        if vertex is None or "G4c" not in cumulants:
            continue
        data, samples = cumulants["G4c"].values[a, w], cumulants["G4c_replicate"].values[a, w]
        c = component_mean(data, samples, vertex["I4"][k])
        for name, value in zip(found, (c.mean, c.stderr, c.spread), strict=True):
            found[name][a, w, k] = value
    return {name: (DIMS[:3], values) for name, values in found.items()}


@dataclass(frozen=True)
class CellFit:
    """One fit with its place in the arrays, its model, its data, and its design (q, m) with d design / d Lambda."""

    position: tuple[int, int, int, int]
    model: Sequence[str]
    data: NDArray[np.float64]
    samples: NDArray[np.float64]
    design: NDArray[np.float64]
    design_slope: NDArray[np.float64]
    cutoff: float
    fit: CouplingFit


def fits(scan: Scan, integrals: list[Vertices], cumulants: xr.Dataset) -> Iterator[CellFit]:
    """The fit at every (architecture, width, cutoff, model) where there is something to fit."""
    if "G4c" not in cumulants:
        return
    data, samples, c = cumulants["G4c"].values, cumulants["G4c_replicate"].values, scan.couplings
    for a, vertex in enumerate(integrals):
        if vertex.integrals is None:
            continue
        designs = [
            (design(vertex.integrals, m, vertex.basis), design_slope(vertex.integrals, m, vertex.basis))
            for m in c.models
        ]
        for w in range(cumulants.sizes["width"]):
            whitening = whiten(samples[a, w])
            for (m, (columns, slopes)), k in product(enumerate(designs), range(len(c.cutoffs))):
                found = fit_couplings(data[a, w], samples[a, w], columns[k], whitening=whitening)
                yield CellFit(
                    (a, w, k, m), c.models[m], data[a, w], samples[a, w], columns[k], slopes[k], c.cutoffs[k], found
                )


def no_fit(integrals: list[Vertices], cumulants: xr.Dataset) -> NDArray[Any]:
    """Why there are no fits, for each architecture; empty where there are."""
    missing = "" if "G4c" in cumulants else "the four-point cumulant was not estimated (cumulants.orders)"
    return np.array([vertex.reason or missing for vertex in integrals], dtype=object)


def _doubt(cumulants: xr.Dataset, position: tuple[int, ...]) -> str:
    trusted = cumulants["trusted"].sel(order=4).values[position[0], position[1]]
    return "" if trusted else UNTRUSTED
