"""Estimates, jackknife replicates and tail verdicts of one (architecture, width)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import Basis
from nnqft.estimation import tails
from nnqft.estimation.jackknife import stderr
from nnqft.estimation.kstatistics import Amplitude, PowerSums, connected, full

Array = NDArray[np.float64]

CONNECTED = {2: "G2", 4: "G4c", 6: "G6c", 8: "G8c"}
FULL = {4: "G4", 6: "G6", 8: "G8"}
OUTPUTS = "G4c_outputs"
"""Connected correlator of two outputs, f1 f1 f2 f2, packed over two pairs of points."""


@dataclass(frozen=True)
class CumulantEstimate:
    """values (components), replicates (R, components) and stderr (components) of each correlator by name;
    tail_index, trusted and top_share by order.
    """

    values: dict[str, Array]
    replicates: dict[str, Array]
    stderr: dict[str, Array]
    tail_index: dict[int, float]
    trusted: dict[int, bool]
    top_share: dict[int, float]


def estimate(
    groups: PowerSums,
    centre: Array,
    points: Basis,
    amplitude: Amplitude,
    largest: Array,
    tail_sums: Array,
) -> CumulantEstimate:
    """Unbiased cumulants from the power sums of R jackknife groups (leading axis).

    points: their number, or the selected components; centre: what was subtracted from (or left out of) the matrices;
    largest: the largest sizes d of deviations in the sample, descending; tail_sums: sums over all samples
    of d, d^2, d^3, d^4.
    """
    total = groups.total()

    def correlators(sums: PowerSums) -> dict[str, Array]:
        found = connected(sums, centre, points, amplitude)
        return found | full(found, sums.count / amplitude.pooled, points, sums, amplitude)

    values = correlators(total)
    replicates = correlators(total - groups)
    errors = {name: stderr(r) for name, r in replicates.items()}
    half = len(groups.count) // 2
    halves = [correlators(groups.total(part)) for part in (slice(None, half), slice(half, None))]
    index, verdict, share = {}, {}, {}
    for order, name in CONNECTED.items():
        if name not in values:
            continue
        power = order // 2
        index[order] = tails.pareto_index(largest**power)
        share[order] = tails.top_share(largest, power, float(tail_sums[power - 1]), int(total.count))
        distance = tails.halves_distance(halves[0][name], halves[1][name], errors[name])
        lower = all(verdict.values())  # a correlator is no better than the ones below it
        finite = bool(np.isfinite(values[name]).all() and np.isfinite(errors[name]).all())
        verdict[order] = lower and finite and tails.trusted(index[order], share[order], distance)
    return CumulantEstimate(values, replicates, errors, index, verdict, share)
