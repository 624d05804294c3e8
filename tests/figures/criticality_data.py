"""Datasets of criticality.zarr and trainability.zarr without networks: the real stages, with estimates drawn around
theory. Widths 8 and 32, sixteen layers, twelve time steps."""

import numpy as np

from nnqft.criticality.cells import Perceptron
from nnqft.criticality.propagation_estimates import Estimate
from nnqft.spec.load import parse_scan
from nnqft.stages import criticality, trainability
from nnqft.stages.criticality_theory import theory_of
from nnqft.stages.layout import by_points

SCAN = {
    "name": "edge",
    "seed": 1,
    "points": {"pair": [[1.0, 0.0], [0.6, 0.8]], "one": [[1.0]]},
    "architectures": {
        "tanh": {
            "activation": "tanh", "depth": 16, "sigma_w": [0.8, 1.1, 1.6], "sigma_b": [0.2, 0.4], "points": "pair",
        },
        "relu": {"activation": "relu", "depth": 16, "sigma_w": 1.4142135623730951, "points": "pair"},
        "rnn": {
            "network": "recurrent", "activation": "tanh", "depth": 80, "sigma_w": [0.8, 1.5, 2.0], "sigma_b": 0.1,
            "points": "one", "options": {"inject": "first"},
        },
    },
    "widths": [8, 32],
    "criticality": {"map": {"points": [8, 6]}, "recurrent": {"times": 6}},
    "trainability": {
        "clusters": {"sigma_w": [0.8, 1.2, 1.6, 2.4], "sigma_b": 0.2, "depth": [4, 8, 16], "seeds": 2, "steps": 3},
    },
}  # fmt: skip
ARRAYS = {
    "K": "K", "V": "V", "G1": "G1", "U": "U", "gradient": "gradient_theory", "gradient_log": "gradient_theory",
    "correlator": "two_time_theory", "autocorrelation": "autocorrelation_theory",
}  # fmt: skip
ACCURACY = np.array([[1.0, 0.9, 0.3], [1.0, 1.0, 1.0], [1.0, 1.0, 0.6], [0.4, 0.3, 0.2]])
"""By (sigma_w, depth): falls through one half, never, never, never above."""


def edge_scan():
    for family in SCAN["architectures"].values():
        family["measure"] = ["criticality"]
    return parse_scan(SCAN)


class NoNetworks:
    """Stands for the leaves: a thousand networks in ten groups, and no statistics."""

    def grouped(self, cell):
        return None, np.full(10, 100)


def drawn_around(cell, moments, count, source):
    """Estimates a hundredth off theory, with that error; no annealed exponent is trusted."""
    rng = np.random.default_rng([cell.width, cell.architecture.depth, int(1000 * cell.architecture.sigma_w)])
    theory = theory_of(cell)

    def estimate(value, reason=""):
        value = np.asarray(value, dtype=np.float64)
        error = 0.01 * np.abs(value) + 1e-6
        return Estimate(value + error * rng.standard_normal(value.shape), error, np.empty(0), reason)

    found = {name: estimate(theory[key]) for name, key in ARRAYS.items() if key in theory}
    below = theory["lyapunov_theory"] - 0.2 / cell.width
    found |= {"lyapunov": estimate(below), "lyapunov_annealed": estimate(theory["lyapunov_theory"], "few weights")}
    if isinstance(cell, Perceptron):
        found["correlation"] = estimate(np.ones((len(theory["K"]), 1)))
        for rate, scale in (("par", "xi_q"), ("perp", "xi_c")):
            found[f"lambda_{rate}"] = estimate(theory[f"chi_{rate}"] + theory[f"d_lambda_{rate}"] / cell.width)
            known = np.isfinite(theory[scale])
            found[scale] = estimate(theory[scale]) if known else estimate(np.nan, "no finite depth scale")
            found[f"{scale}_decay"] = found[scale]
    return found


def criticality_groups(monkeypatch):
    """Point set -> dataset."""
    scan = edge_scan()
    monkeypatch.setattr(criticality, "estimates_of", drawn_around)
    return {
        points: criticality.measured(scan, points, group, NoNetworks())
        for points, group in by_points(scan, "criticality").items()
    }


def trained_map(monkeypatch):
    """The map `clusters`."""
    scan = edge_scan()
    entry = scan.trainability["clusters"]

    def values(source, cell):
        i, j = sorted(entry.sigma_w).index(cell.sigma_w), sorted(entry.depth).index(cell.depth)
        found = {name: np.ones((entry.seeds, *shape)) for name, shape in cell.spec.layout.items()}
        return found | {"accuracy": np.full(entry.seeds, ACCURACY[i, j])}

    monkeypatch.setattr(trainability, "_values", values)
    return trainability.trained_map(scan, "clusters", None)
