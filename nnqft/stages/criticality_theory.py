"""Theory beside the measurements of ``criticality.zarr``: numbers of each architecture, and phase diagrams."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnqft.core.packing import multisets
from nnqft.criticality.averages import length_averages, resolved
from nnqft.criticality.boundaries import boundary
from nnqft.criticality.cells import CriticalCell, Dynamics, Perceptron
from nnqft.criticality.depth_scales import corrected
from nnqft.criticality.fixed_points import mean_field
from nnqft.criticality.layers import finite_width
from nnqft.spec.measurements import Map

NUMBERS = (
    "q_star", "c_star", "chi_par", "chi_perp", "chi_c", "xi_q", "xi_c", "lyapunov_theory", "d_lambda_par",
    "d_lambda_perp", "d_q",
)  # fmt: skip
"""Of one architecture: mean field, the exponent, coefficients of 1/n of the two eigenvalues and of E Khat."""

Theory = dict[str, Any]


def theory_of(cell: CriticalCell) -> Theory:
    """Numbers, arrays by layer or by time, and `status`: what is special, or why something is not known."""
    found = _perceptron(cell) if isinstance(cell, Perceptron) else _recurrent(cell)
    return {name: np.float64(found.get(name, np.nan)) for name in NUMBERS} | found


def _perceptron(cell: Perceptron) -> Theory:
    a = cell.architecture
    at, more = cell.theory.mean_field, corrected(a.activation, a.sigma_w, a.sigma_b)
    layers = finite_width(a.activation, a.sigma_w, a.sigma_b, cell.first, a.depth)
    pairs = multisets(len(a.x), 2)
    first = int(np.flatnonzero((pairs == 0).all(axis=1))[0])
    slope = mean_slope(cell, layers.K[:-1, first])
    numbers = {name: getattr(at, name) for name in NUMBERS[:7]}
    with np.errstate(divide="ignore"):
        numbers["lyapunov_theory"] = np.log(at.chi_perp) / 2
    return numbers | {
        "d_lambda_par": more.d_par, "d_lambda_perp": more.d_perp, "d_q": more.d_q,
        "K": layers.K, "V": layers.V, "G1": layers.G1, "U": layers.U,
        "gradient_theory": np.concatenate([[1.0], np.cumprod(slope)]),
        "status": "; ".join(dict.fromkeys(filter(None, (str(at.status), str(more.status))))),
    }  # fmt: skip


def mean_slope(cell: Perceptron, q: np.ndarray) -> np.ndarray:
    """C_W <phi'^2> at variances q: the factor of a mean squared gradient in one layer at infinite width."""
    a = cell.architecture
    return a.sigma_w**2 * length_averages(resolved(a.activation), q)[1]


def _recurrent(cell: CriticalCell) -> Theory:
    assert isinstance(cell, Dynamics)
    a, own, found = cell.architecture, cell.options, cell.theory
    at = mean_field(a.activation, a.sigma_w, np.hypot(a.sigma_b, np.sqrt(own.noise))) if own.leak == 1 else None
    numbers = {name: getattr(at, name) for name in ("chi_par", "chi_perp", "xi_q")} if at is not None else {}
    return numbers | {
        "q_star": found["q_star"], "lyapunov_theory": found["lyapunov_theory"],
        "two_time_theory": found["correlator"], "autocorrelation_theory": found["autocorrelation"],
        "status": "; ".join(dict.fromkeys(found["reasons"].values())),
    }  # fmt: skip


def phase_diagrams(activations: Sequence[str], grid: Map) -> tuple[dict[str, Any], dict[str, Any]]:
    """(variables, coordinates) of the mean-field phase diagram of each activation on a grid of (sigma_w, sigma_b).

    map_q_star, map_xi_c, map_lyapunov (unit, map_sigma_w, map_sigma_b); boundary_sigma_w, boundary_q_star (unit,
    map_sigma_b): where chi_perp = 1, NaN where nowhere.
    """
    w = np.linspace(grid.sigma_w[0], grid.sigma_w[1], grid.points[0])
    b = np.linspace(grid.sigma_b[0], grid.sigma_b[1], grid.points[1])
    plane, line = ("unit", "map_sigma_w", "map_sigma_b"), ("unit", "map_sigma_b")
    maps: Mapping[str, list[np.ndarray]] = {"map_q_star": [], "map_xi_c": [], "map_lyapunov": []}
    edges: Mapping[str, list[np.ndarray]] = {"boundary_q_star": [], "boundary_sigma_w": []}
    for name in activations:
        at = mean_field(name, w[:, None], b)
        with np.errstate(divide="ignore", invalid="ignore"):
            exponent = np.log(at.chi_perp) / 2
        for key, value in zip(maps, (at.q_star, at.xi_c, exponent), strict=True):
            maps[key].append(value)
        for key, values in zip(edges, boundary(name, b), strict=True):
            edges[key].append(values)
    coords = {"unit": np.array(activations, dtype=object), "map_sigma_w": w, "map_sigma_b": b}
    variables = {key: (plane, np.array(values)) for key, values in maps.items()}
    return variables | {key: (line, np.array(values)) for key, values in edges.items()}, coords
