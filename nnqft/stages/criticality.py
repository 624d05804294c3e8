"""``criticality.zarr``: what finite networks do layer by layer and step by step, with theory beside it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from nnqft.core.packing import multisets
from nnqft.criticality import dynamics_estimates, propagation_estimates
from nnqft.criticality.cells import CriticalCell, Perceptron, critical_cell
from nnqft.criticality.crossing import crossing
from nnqft.sampling.unit import unpacked
from nnqft.spec.grid import Architecture, sweeps
from nnqft.spec.model import Scan
from nnqft.stages.criticality_theory import NUMBERS, phase_diagrams, theory_of
from nnqft.stages.layout import Layout, by_points, component_coordinates, coordinates, dataset, point_coordinates
from nnqft.stages.source import Source
from nnqft.storage.product import save

STAGE = "criticality"
SCALES = {
    "xi_q": "xi_q_measured", "xi_c": "xi_c_measured", "xi_q_decay": "xi_q_decay", "xi_c_decay": "xi_c_decay",
    "lambda_par": "lambda_par", "lambda_perp": "lambda_perp", "lambda_pair": "lambda_pair",
    "lyapunov": "lyapunov", "lyapunov_annealed": "lyapunov_annealed", "dimension": "dimension", "entropy": "entropy",
}  # fmt: skip
"""Numbers of one (architecture, width): names of the estimates, and of the variables."""
ARRAYS: dict[str, tuple[str, tuple[str, ...]]] = {
    "K": ("K_measured", ("layer", "pair")), "G1": ("G1_measured", ("layer", "pair")),
    "V": ("V_measured", ("layer", "pair", "pair_b")), "U": ("U_measured", ("layer", "point")),
    "correlation": ("correlation", ("layer", "couple")), "gradient": ("gradient", ("layer",)),
    "gradient_log": ("gradient_log", ("layer",)), "correlator": ("two_time", ("time", "time_b")),
    "autocorrelation": ("autocorrelation", ("time",)), "spectrum": ("spectrum", ("exponent",)),
}  # fmt: skip
THEORY: dict[str, tuple[str, ...]] = {
    "K": ("layer", "pair"), "G1": ("layer", "pair"), "V": ("layer", "pair", "pair_b"), "U": ("layer", "point"),
    "gradient_theory": ("layer",), "two_time_theory": ("time", "time_b"), "autocorrelation_theory": ("time",),
}  # fmt: skip


def measure_criticality(scan: Scan, layout: Layout) -> None:
    """Write the store and its receipt."""
    source = Source(scan, layout, STAGE)
    groups = {points: measured(scan, points, group, source) for points, group in by_points(scan, STAGE).items()}
    save(layout.store(STAGE), layout.receipt(STAGE), groups, {})


def measured(scan: Scan, points: str, group: Sequence[Architecture], source: Source) -> xr.Dataset:
    """One point set: theory (architecture, ...), measurements (architecture, width, ...) with `_stderr` and reasons."""
    cells = [[critical_cell(scan, a, width) for width in scan.widths] for a in group]
    theory = [theory_of(row[0]) for row in cells]
    sums = [[source.grouped(cell) for cell in row] for row in cells]
    pairs = zip(cells, sums, strict=True)
    estimates = [[estimates_of(cell, *s, source) for cell, s in zip(*pair, strict=True)] for pair in pairs]
    sizes = _sizes(scan, group)
    variables = _theory(theory, sizes) | _measurements(estimates, sizes)
    variables |= _corrected(theory, scan.widths) | _crossings(group, variables)
    plane = ("architecture", "width")
    variables["networks"] = plane, np.array([[int(count.sum()) for _, count in row] for row in sums])
    variables["groups"] = plane, np.array([[len(count) for _, count in row] for row in sums])
    pairs = multisets(sizes["point"], 2)
    if "V" in variables:
        variables["V_pairs"] = variables.pop("V")
        variables["V"] = ("architecture", "layer", "quad"), _sorted_legs(variables["V_pairs"][1], sizes["point"])
    diagrams, grid = phase_diagrams(list(dict.fromkeys(a.activation for a in group)), scan.criticality.map)
    couples = pairs[pairs[:, 0] < pairs[:, 1]]
    coords = coordinates(list(group)) | point_coordinates(scan, points) | component_coordinates(sizes["point"], (2, 4))
    coords |= grid | {"width": np.array(scan.widths, dtype=np.int64)}
    coords |= {"layer": np.arange(1, sizes["layer"] + 1)} if sizes["layer"] else {}
    coords |= {"couple_points": (("couple", "leg2"), couples)} if len(couples) else {}
    title = "criticality: theory, and measurements of finite networks"
    return dataset(variables | diagrams, coords, title)


def estimates_of(cell: CriticalCell, moments: np.ndarray, count: np.ndarray, source: Source) -> dict[str, Any]:
    """Estimates by name: value, stderr, trusted, and (perceptrons) the reason."""
    sums = unpacked(moments, cell.spec.layout)
    if isinstance(cell, Perceptron):
        return dict(propagation_estimates.estimates(cell.spec, sums, count, cell.theory))
    return dict(dynamics_estimates.estimates(cell.spec, sums, count, float(source.row(cell).scale[0])))


def _sizes(scan: Scan, group: Sequence[Architecture]) -> dict[str, int]:
    """Lengths of the dimensions; architectures of fewer layers are padded with NaN."""
    n = len(group[0].x)
    perceptrons = [a.depth for a in group if a.network != "recurrent"]
    recurrent = len(perceptrons) < len(group)
    r = scan.criticality.recurrent
    return {
        "point": n, "pair": n * (n + 1) // 2, "pair_b": n * (n + 1) // 2, "couple": n * (n - 1) // 2,
        "layer": max(perceptrons, default=-1) + 1, "time": r.times + 1 if recurrent else 0,
        "time_b": r.times + 1 if recurrent else 0,
        "exponent": max(scan.widths) if recurrent and r.spectrum else 0,
    }  # fmt: skip


def _theory(found: list[dict[str, Any]], sizes: dict[str, int]) -> dict[str, Any]:
    variables: dict[str, Any] = {name: (("architecture",), np.array([t[name] for t in found])) for name in NUMBERS}
    for name, dims in THEORY.items():
        values = [t.get(name) for t in found]
        if any(value is not None for value in values):
            variables[name] = ("architecture", *dims), np.stack([_padded(v, dims, sizes) for v in values])
    variables["status"] = ("architecture",), np.array([t["status"] for t in found], dtype=object)
    return variables


def _measurements(found: list[list[dict[str, Any]]], sizes: dict[str, int]) -> dict[str, Any]:
    plane, variables = ("architecture", "width"), {}
    names = {name for row in found for cell in row for name in cell}
    for name, label in SCALES.items():
        if name not in names:
            continue
        values = [[cell.get(name) for cell in row] for row in found]
        for suffix, key in (("", "value"), ("_stderr", "stderr")):
            column = [[np.nan if v is None else float(getattr(v, key)) for v in row] for row in values]
            variables[label + suffix] = plane, np.array(column)
        trusted = [[v is not None and bool(v.trusted) for v in row] for row in values]
        variables[f"{label}_trusted"] = plane, np.array(trusted)
        reasons = [["" if v is None else getattr(v, "reason", "") for v in row] for row in values]
        if any(map(any, reasons)):
            variables[f"{label}_status"] = plane, np.array(reasons, dtype=object)
    for name, (label, dims) in ARRAYS.items():
        if name not in names or any(sizes[dim] == 0 for dim in dims):
            continue
        for suffix, key in (("", "value"), ("_stderr", "stderr")):
            rows = [[_padded(getattr(c[name], key) if name in c else None, dims, sizes) for c in row] for row in found]
            variables[label + suffix] = (*plane, *dims), np.array(rows)
    return variables


def _sorted_legs(V: np.ndarray, points: int) -> np.ndarray:
    """V_(ab)(cd) for a <= b <= c <= d, (..., quad), from all pairs of pairs (..., pair, pair_b)."""
    where = {tuple(pair): i for i, pair in enumerate(multisets(points, 2).tolist())}
    quads = multisets(points, 4)
    left, right = (np.array([where[tuple(pair)] for pair in quads[:, legs].tolist()]) for legs in ((0, 1), (2, 3)))
    return V[..., left, right]


def _padded(value: Any, dims: tuple[str, ...], sizes: dict[str, int]) -> np.ndarray:
    """An array in the corner of one of the dataset's shape, NaN elsewhere."""
    full = np.full([sizes[dim] for dim in dims], np.nan)
    if value is not None:
        value = np.asarray(value, dtype=np.float64)
        full[tuple(slice(0, length) for length in value.shape)] = value
    return full


def _corrected(theory: list[dict[str, Any]], widths: Sequence[int]) -> dict[str, Any]:
    """Depth scales at order 1/n, annealed, (architecture, width): NaN where the rate is not below 1."""
    n = np.array(widths, dtype=np.float64)
    found = {}
    for label, rate, change in (("xi_q", "chi_par", "d_lambda_par"), ("xi_c", "chi_perp", "d_lambda_perp")):
        value = np.array([[float(t[rate]) + float(t[change]) / width for width in n] for t in theory])
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where((np.abs(value) < 1) & (value != 0), -1 / np.log(np.abs(value)), np.nan)
        found[f"{label}_corrected"] = ("architecture", "width"), scale
    return found


def _crossings(group: Sequence[Architecture], variables: dict[str, Any]) -> dict[str, Any]:
    """critical_sigma_w (architecture, width): where the exponent of the sweep of sigma_w changes sign, measured."""
    exponent, error = (variables[f"lyapunov{suffix}"][1] for suffix in ("", "_stderr"))
    value, spread = np.full_like(exponent, np.nan), np.full_like(exponent, np.nan)
    for places in sweeps(group, "sigma_w"):
        sigma = np.array([group[i].sigma_w for i in places])
        for w in range(exponent.shape[1]):
            value[places, w], spread[places, w] = crossing(sigma, exponent[places, w], error[places, w])
    plane = ("architecture", "width")
    return {"critical_sigma_w": (plane, value), "critical_sigma_w_stderr": (plane, spread)}
