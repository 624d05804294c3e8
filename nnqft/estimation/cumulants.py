"""Estimates, jackknife replicates and tail verdicts of one (architecture, width)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnqft.estimation import kstatistics, tails
from nnqft.estimation.jackknife import stderr
from nnqft.estimation.kstatistics import PowerSums

Array = NDArray[np.float64]

CONNECTED = {2: "G2", 4: "G4c", 6: "G6c"}
FULL = {4: "G4", 6: "G6"}


@dataclass(frozen=True)
class CumulantEstimate:
    """values (components), replicates (R, components) and stderr (components) of each correlator by name;
    tail_index and trusted by order.
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
    points: int,
    estimator: str,
    largest: Array,
    tail_sums: Array,
) -> CumulantEstimate:
    """Unbiased cumulants from the power sums of R jackknife groups (leading axis).

    largest: the largest deviations of the sample, descending; tail_sums: sums of d, d^2, d^3.
    """
    total = _combined(groups, slice(None))
    networks = int(total.count)

    def correlators(sums: PowerSums) -> dict[str, Array]:
        if estimator == "marginal":
            return kstatistics.marginal(sums, centre, points)
        return kstatistics.product(sums, points)

    values = correlators(total)
    replicates = correlators(total - groups)
    errors = {name: stderr(r) for name, r in replicates.items()}
    half = len(groups.count) // 2
    halves = [correlators(_combined(groups, part)) for part in (slice(None, half), slice(half, None))]
    index, verdict, share = {}, {}, {}
    for order, name in CONNECTED.items():
        if name not in values:
            continue
        power = order // 2
        index[order] = tails.pareto_index(largest**power)
        share[order] = tails.top_share(largest, power, float(tail_sums[power - 1]), networks)
        distance = tails.halves_distance(halves[0][name], halves[1][name], errors[name])
        lower = all(verdict.values())  # a correlator is no better than the ones below it
        verdict[order] = lower and tails.trusted(index[order], share[order], distance)
    return CumulantEstimate(values, replicates, errors, index, verdict, share)


def _combined(groups: PowerSums, part: slice) -> PowerSums:
    def total(values: NDArray) -> NDArray:
        return values[part].sum(axis=0)

    return PowerSums(
        total(groups.count),
        total(groups.first),
        None if groups.second is None else total(groups.second),
        None if groups.third is None else total(groups.third),
    )
