"""`make calibrate`: error bars against their own scatter, for many seeds, networks, widths and estimators.

Every case has an exact prediction. For each correlator: mean and width of the pulls, coverage of the 68% and 95%
bars, and a Kolmogorov-Smirnov test of Hotelling's p-values; seeds whose estimate is flagged (`trusted` false) are left
out and counted. Over all cases the 68% bars must cover .683 +- .01 of the components. What they should cover is not
.683 but Student's t with R - 1 degrees of freedom (.6808 for 128 jackknife groups, .6789 for 64), because the bar is
itself an estimate. Components of one seed are strongly correlated, so the standard error of a coverage comes from its
scatter over seeds; every case has seeds of its own, because two estimators of one law would see the same networks.

Negative controls must be rejected: the same pulls against predictions with a planted error, and bars 5% too short or
too long. Writes results/bench/calibration.json; exit 1 when a bound is broken.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nnqft.cluster.contexts import runner
from nnqft.cluster.settings import cluster_name
from nnqft.estimation.agreement import agreement
from nnqft.estimation.cumulants import CumulantEstimate
from nnqft.nets.registry import network
from nnqft.predictions.outputs import theory
from nnqft.sampling.groups import measure
from nnqft.spec.grid import Architecture, architecture

REPLICATES, NETWORKS, SEEDS = 128, 16_384, 1000
LAW = stats.t(REPLICATES - 1)  # pulls of a Gaussian estimate with a jackknife error from so many groups
LINE, RAY, PLANE = [[-0.9], [0.4], [1.1]], [[0.3], [0.8], [1.2]], [[1, 0.5], [-0.3, 0.8], [0.6, -1]]
NEAR = [[-0.01], [0.002], [0.01]]
PLANTED = {"2% error": lambda x: 1.02 * x, "wrong sign": lambda x: -x, "dropped pairing": lambda x: 2 / 3 * x}
BARS = (1.0, 0.95, 1.05)
"""Lengths of the bars whose coverage is taken, in units of the error: right, too short, too long."""
NOMINAL, MARGIN, RESOLUTION = 0.683, 0.01, 0.0025
"""Coverage that is required over all cases, how far it may be off, and the standard error with which it is known."""


@dataclass(frozen=True)
class Case:
    """One ensemble, and how it is measured. orders: those that are promised at this size."""

    label: str
    architecture: Architecture
    width: int
    how: dict[str, Any]
    orders: tuple[int, ...] = (2, 4, 6)
    networks: int = NETWORKS


def cases() -> list[Case]:
    """Pooled neurons, total, marginal, product and tilted; Gaussian and other weights; networks of several kinds.

    More networks M where estimates are not Gaussian yet: G6c of narrow relu nets from Khat has a mean pull of
    -18 / sqrt(M); a dozen modes of products of outputs, whose tails are long, make Hotelling's p-values too small.
    """
    erf = architecture(LINE, "erf", 1, 1.2, 0.5)
    relu = architecture(RAY, "relu", 1, 1.3, 0.0)
    gauss = architecture(NEAR, "gauss", 1, 1.0, 1.0)
    found = [
        Case(f"{name} N={width} {estimator}", a, width, {"estimator": estimator}, networks=networks)
        for name, a, widths in (("erf", erf, (4, 32)), ("relu", relu, (10, 100)))
        for width in widths
        for estimator, networks in (("auto", NETWORKS), ("marginal", NETWORKS if name == "erf" else 2 * NETWORKS))
    ]
    found += [
        Case("erf N=8 product", erf, 8, {"estimator": "product"}, (2, 4), 8 * NETWORKS),
        Case("gauss N=16 tilted", gauss, 16, {"sampler": "tilted", "precision": "float64"}),
    ]
    for law in ("sign", "sparse-0.25"):
        a = architecture(LINE, "erf", 1, 1.2, 0.5, readout_law=law)
        found.append(Case(f"erf N=16 readout {law}", a, 16, {}))
        found.append(Case(f"erf N=16 readout {law} marginal", a, 16, {"estimator": "marginal"}))
    for depth, width in ((2, 16), (3, 32)):
        a = architecture(PLANE, network="linear", depth=depth, sigma_w=1.1)
        for estimator in ("total", "marginal"):
            label = f"linear L={depth} N={width} {estimator}"
            found.append(Case(label, a, width, {"estimator": estimator}, (2, 4)))
    for law in ("gaussian", "sign"):
        a = architecture([[0.0], [0.7], [1.5]], network="cosine", readout_law=law)
        found.append(Case(f"cosine N=8 {law}", a, 8, {}))
    residual = architecture(PLANE, "linear", 2, 0.8, network="residual")
    found.append(Case("residual linear N=16", residual, 16, {"estimator": "marginal"}, (2, 4)))
    return found


def estimates(position: int) -> list[CumulantEstimate]:
    """One estimate a seed."""
    case = cases()[position]
    options = {"max_order": max(case.orders), "replicates": REPLICATES} | case.how
    seeds = range(position * SEEDS, (position + 1) * SEEDS)
    return [measure(case.architecture, case.width, case.networks, seed, **options) for seed in seeds]


def examine(position: int) -> tuple[dict[str, Any], NDArray[np.int64]]:
    """Pulls of every promised correlator of a case against its exact prediction.

    Also (seeds, 1 + BARS): components that are trusted, and of these how many each bar covers.
    """
    case = cases()[position]
    predicted = theory(case.architecture, [case.width], case.orders)
    found = estimates(position)
    counts = np.zeros((len(found), 1 + len(BARS)), dtype=np.int64)
    report: dict[str, Any] = {"kind": network(case.architecture, case.width).name, "networks": case.networks}
    for order in case.orders:
        if predicted.prediction[order] not in ("exact", "quadrature"):
            continue
        name = "G2" if order == 2 else f"G{order}c"
        exact = predicted.values[name][0]
        trusted = np.array([e.trusted[order] for e in found])
        kept = [e for e in found if e.trusted[order]]
        pulls = np.array([(e.values[name] - exact) / e.stderr[name] for e in kept])
        covered = np.stack([np.isfinite(pulls), *(np.abs(pulls) < bar for bar in BARS)], axis=-1).sum(axis=1)
        counts[trusted] += covered
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
            "cover68_stderr": coverage([covered])[1][0],
            "cover95": float((np.abs(pulls) < 1.96).mean()),
            "ks": float(stats.kstest(p, "uniform").pvalue),
            "planted": planted,
            "relative_error": float(np.median([np.linalg.norm(e.stderr[name]) / np.linalg.norm(exact) for e in kept])),
        }
    return report, counts


def coverage(counts: list[NDArray[np.int64]]) -> tuple[list[float], list[float]]:
    """Shares of components that the bars cover, and standard errors, from the counts by seed of each case.

    A ratio estimator, stratified by cases (Cochran, Sampling Techniques, 6.11): for the share p = sum c / sum n,
    var p = sum_cases S var_s(c_s - p n_s) / (sum n)^2 over the S independent seeds s of each case.
    """
    total = sum(c.sum(axis=0) for c in counts)
    shares = total[1:] / total[0]
    variance = sum(len(c) * np.var(c[:, 1:] - shares * c[:, :1], axis=0, ddof=1) for c in counts)
    return shares.tolist(), (np.sqrt(variance) / total[0]).tolist()


def broken(label: str, name: str, r: dict[str, Any]) -> list[str]:
    """Bounds from the number of independent seeds (components of one seed are strongly correlated)."""
    share = {"cover68": LAW.cdf(1) - LAW.cdf(-1), "cover95": LAW.cdf(1.96) - LAW.cdf(-1.96)}
    used, found = SEEDS - r["flagged"], []
    for key, value in share.items():
        if abs(r[key] - value) > 4.5 * np.sqrt(value * (1 - value) / used):
            found.append(f"{label} {name}: {key} = {r[key]:.3f}, expected {value:.3f}")
    if abs(r["mean"]) > 4.5 / np.sqrt(used):
        found.append(f"{label} {name}: mean pull {r['mean']:.3f}")
    if abs(r["width"] - LAW.std()) > 4.5 / np.sqrt(2 * used):
        found.append(f"{label} {name}: width of pulls {r['width']:.3f}")
    if r["ks"] < 1e-4:
        found.append(f"{label} {name}: p-values are not uniform (KS {r['ks']:.1e})")
    if r["flagged"] > 0.1 * SEEDS:
        found.append(f"{label} {name}: {r['flagged']} of {SEEDS} flagged")
    for what, p in r["planted"].items():
        if p > 0.01 and r["relative_error"] < (0.004 if what == "2% error" else 0.1):
            found.append(f"{label} {name}: a {what} went unnoticed (median p = {p:.3f})")
    return found


def off(shares: list[float], errors: list[float], components: int) -> list[str]:
    """What is wrong with the coverage over all cases; shares and errors: of BARS."""
    found = []
    if abs(shares[0] - NOMINAL) > MARGIN:
        found.append(f"all: 68% bars cover {shares[0]:.4f}, required {NOMINAL} +- {MARGIN}")
    expected = LAW.cdf(1) - LAW.cdf(-1)
    if abs(shares[0] - expected) > 4.5 * errors[0]:
        found.append(f"all: 68% bars cover {shares[0]:.4f} +- {errors[0]:.4f}, expected {expected:.4f}")
    if errors[0] > RESOLUTION or components < 10_000:
        found.append(f"all: too few seeds, coverage known to +- {errors[0]:.4f} only")
    for bar, share in zip(BARS[1:], shares[1:], strict=True):
        if abs(share - NOMINAL) <= MARGIN:
            found.append(f"all: bars of {bar} errors went unnoticed (they cover {share:.4f})")
    return found


def main(target: Path) -> int:
    """Run all cases, as many at once as there are cores, print a table as they finish, write JSON."""
    labels, reports, counts, failures = [case.label for case in cases()], {}, {}, []
    print(f"{'case':38} {'':5} {'mean':>7} {'width':>6} {'68%':>6} {'95%':>6} {'KS p':>8} {'flagged':>7} {'error':>8}")
    with runner(cluster_name()) as run:
        for position, (report, counted) in run(examine, [(i,) for i in range(len(labels))]):
            label = labels[position]
            reports[label], counts[label] = report, counted
            for name, r in reports[label].items():
                if not isinstance(r, dict):
                    continue
                numbers = f"{r['mean']:7.3f} {r['width']:6.3f} {r['cover68']:6.3f} {r['cover95']:6.3f} {r['ks']:8.2g}"
                print(f"{label:38} {name:5} {numbers} {r['flagged']:7d} {r['relative_error']:8.4f}", flush=True)
                failures += broken(label, name, r)
    shares, errors = coverage(list(counts.values()))
    components = int(sum(c[:, 0].sum() for c in counts.values()))
    expected = LAW.cdf(1) - LAW.cdf(-1)
    print(f"all: 68% bars cover {shares[0]:.4f} +- {errors[0]:.4f} of {components} components", end=" ")
    print(f"(required {NOMINAL} +- {MARGIN}; Student's t: {expected:.4f}); 5% shorter or longer,", end=" ")
    print(f"{shares[1]:.4f}, {shares[2]:.4f}")
    failures += off(shares, errors, components)
    overall = {"seeds": SEEDS, "replicates": REPLICATES, "components": components, "expected": expected}
    overall |= {"cover68": shares[0], "cover68_stderr": errors[0], "failures": failures}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps({"cases": {label: reports[label] for label in labels}} | overall, indent=1) + "\n")
    for failure in failures:
        print("FAILED", failure)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(Path("results/bench/calibration.json")))
