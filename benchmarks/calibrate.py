"""`make calibrate`: error bars against their own scatter, for many seeds, networks, widths and estimators.

Every case has an exact prediction. For each correlator: mean and width of the pulls, coverage of the 68% and 95%
bars, and a Kolmogorov-Smirnov test of Hotelling's p-values; seeds whose estimate is flagged (`trusted` false) are left
out and counted. Negative controls: the same pulls against predictions with a planted error must be rejected.
Writes results/bench/calibration.json; exit 1 when a bound is broken.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from nnqft.estimation.agreement import agreement
from nnqft.estimation.cumulants import CumulantEstimate
from nnqft.nets.registry import network
from nnqft.predictions.outputs import theory
from nnqft.sampling.groups import measure
from nnqft.spec.grid import Architecture, architecture

REPLICATES = 64
LAW = stats.t(REPLICATES - 1)  # pulls of a Gaussian estimate with a jackknife error from so many groups
LINE, RAY, PLANE = [[-0.9], [0.4], [1.1]], [[0.3], [0.8], [1.2]], [[1, 0.5], [-0.3, 0.8], [0.6, -1]]
NEAR = [[-0.01], [0.002], [0.01]]
PLANTED = {"2% error": lambda x: 1.02 * x, "wrong sign": lambda x: -x, "dropped pairing": lambda x: 2 / 3 * x}


@dataclass(frozen=True)
class Case:
    """One ensemble, how it is measured, and how often. orders: those that are promised at this size."""

    label: str
    architecture: Architecture
    width: int
    networks: int
    how: dict[str, Any]
    orders: tuple[int, ...] = (2, 4, 6)
    seeds: int = 200


def cases() -> list[Case]:
    """Pooled neurons, total, marginal, product and tilted; Gaussian and other weights; networks of several kinds."""
    erf = architecture(LINE, "erf", 1, 1.2, 0.5)
    relu = architecture(RAY, "relu", 1, 1.3, 0.0)
    gauss = architecture(NEAR, "gauss", 1, 1.0, 1.0)
    found = [
        Case(f"{name} N={width} {estimator}", a, width, 8192, {"estimator": estimator})
        for name, a, widths in (("erf", erf, (4, 32)), ("relu", relu, (10, 100)))
        for width in widths
        for estimator in ("auto", "marginal")
    ]
    found += [
        Case("erf N=8 product", erf, 8, 8192, {"estimator": "product"}, (2, 4)),
        Case("gauss N=16 tilted", gauss, 16, 8192, {"sampler": "tilted", "precision": "float64"}),
    ]
    for law in ("sign", "sparse-0.25"):
        a = architecture(LINE, "erf", 1, 1.2, 0.5, readout_law=law)
        found.append(Case(f"erf N=16 readout {law}", a, 16, 8192, {}))
        found.append(Case(f"erf N=16 readout {law} marginal", a, 16, 8192, {"estimator": "marginal"}))
    for depth, width in ((2, 16), (3, 32)):
        a = architecture(PLANE, network="linear", depth=depth, sigma_w=1.1)
        for estimator in ("total", "marginal"):
            label = f"linear L={depth} N={width} {estimator}"
            found.append(Case(label, a, width, 8192, {"estimator": estimator}, (2, 4)))
    for law in ("gaussian", "sign"):
        a = architecture([[0.0], [0.7], [1.5]], network="cosine", readout_law=law)
        found.append(Case(f"cosine N=8 {law}", a, 8, 8192, {}))
    residual = architecture(PLANE, "linear", 2, 0.8, network="residual")
    found.append(Case("residual linear N=16", residual, 16, 8192, {"estimator": "marginal"}, (2, 4)))
    return found


def estimates(case: Case) -> list[CumulantEstimate]:
    """One estimate a seed."""
    options = {"max_order": max(case.orders), "replicates": REPLICATES} | case.how
    return [measure(case.architecture, case.width, case.networks, seed, **options) for seed in range(case.seeds)]


def examine(case: Case) -> dict[str, Any]:
    """Pulls of every promised correlator against its exact prediction."""
    predicted = theory(case.architecture, [case.width], case.orders)
    found = estimates(case)
    report: dict[str, Any] = {"kind": network(case.architecture, case.width).name, "seeds": case.seeds}
    for order in case.orders:
        if predicted.prediction[order] not in ("exact", "quadrature"):
            continue
        name = "G2" if order == 2 else f"G{order}c"
        exact = predicted.values[name][0]
        kept = [e for e in found if e.trusted[order]]
        pulls = np.array([(e.values[name] - exact) / e.stderr[name] for e in kept])
        p = [agreement(e.values[name], e.replicates[name], exact).p_value for e in kept]
        planted = {
            what: float(np.median([agreement(e.values[name], e.replicates[name], change(exact)).p_value for e in kept]))
            for what, change in PLANTED.items()
        }
        report[name] = {
            "components": int(pulls.size),
            "flagged": len(found) - len(kept),
            "mean": float(pulls.mean()),
            "width": float(pulls.std()),
            "cover68": float((np.abs(pulls) < 1).mean()),
            "cover95": float((np.abs(pulls) < 1.96).mean()),
            "ks": float(stats.kstest(p, "uniform").pvalue),
            "planted": planted,
            "relative_error": float(np.median([np.linalg.norm(e.stderr[name]) / np.linalg.norm(exact) for e in kept])),
        }
    return report


def broken(label: str, name: str, r: dict[str, Any], seeds: int) -> list[str]:
    """Bounds from the number of independent seeds (components of one seed are strongly correlated)."""
    share = {"cover68": LAW.cdf(1) - LAW.cdf(-1), "cover95": LAW.cdf(1.96) - LAW.cdf(-1.96)}
    used, found = seeds - r["flagged"], []
    for key, value in share.items():
        if abs(r[key] - value) > 4.5 * np.sqrt(value * (1 - value) / used):
            found.append(f"{label} {name}: {key} = {r[key]:.3f}, expected {value:.3f}")
    if abs(r["mean"]) > 4.5 / np.sqrt(used):
        found.append(f"{label} {name}: mean pull {r['mean']:.3f}")
    if abs(r["width"] - LAW.std()) > 4.5 / np.sqrt(2 * used):
        found.append(f"{label} {name}: width of pulls {r['width']:.3f}")
    if r["ks"] < 1e-4:
        found.append(f"{label} {name}: p-values are not uniform (KS {r['ks']:.1e})")
    if r["flagged"] > 0.1 * seeds:
        found.append(f"{label} {name}: {r['flagged']} of {seeds} flagged")
    for what, p in r["planted"].items():
        if p > 0.01 and r["relative_error"] < (0.004 if what == "2% error" else 0.1):
            found.append(f"{label} {name}: a {what} went unnoticed (median p = {p:.3f})")
    return found


def main(target: Path) -> int:
    """Run all cases, print a table, write JSON."""
    reports, failures, covered, components = {}, [], 0.0, 0
    print(f"{'case':38} {'':5} {'mean':>7} {'width':>6} {'68%':>6} {'95%':>6} {'KS p':>8} {'flagged':>7} {'error':>8}")
    for case in cases():
        report = reports[case.label] = examine(case)
        for name, r in report.items():
            if not isinstance(r, dict):
                continue
            numbers = f"{r['mean']:7.3f} {r['width']:6.3f} {r['cover68']:6.3f} {r['cover95']:6.3f} {r['ks']:8.2g}"
            print(f"{case.label:38} {name:5} {numbers} {r['flagged']:7d} {r['relative_error']:8.4f}", flush=True)
            failures += broken(case.label, name, r, case.seeds)
            covered, components = covered + r["cover68"] * r["components"], components + r["components"]
    overall = covered / components
    print(f"all: 68% bars cover {overall:.4f} of {components} components")
    if abs(overall - 0.683) > 0.01:
        failures.append(f"all: 68% bars cover {overall:.4f}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"cases": reports, "cover68": overall, "failures": failures}, indent=1) + "\n")
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(Path("results/bench/calibration.json")))
