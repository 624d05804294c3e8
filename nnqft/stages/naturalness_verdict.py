"""What is known about one architecture's constant quartic coupling, and what technical naturalness says to it.

A translation-invariant kernel makes a constant coupling technically natural (Halverson, Maiti, Stoner,
arXiv:2008.08601, section 4). What that expects of the data is in :func:`as_expected`; docs/naturalness.md says why.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nnqft.couplings.invariance import Invariance
from nnqft.figures.numbers import plain
from nnqft.figures.running import REJECTED

Constant = Literal["accepted", "rejected", "not testable"]
Expected = Literal["yes", "no", "no statement"]


@dataclass(frozen=True)
class Looked:
    """The smallest of several p-values times their number (Bonferroni); where in the array; NaN where there is none."""

    p_value: float = float("nan")
    looks: int = 0
    at: tuple[int, ...] = ()

    @property
    def rejects(self) -> bool:
        """Whether it is below the significance."""
        return bool(self.p_value < REJECTED)


def smallest(p: NDArray[np.float64]) -> Looked:
    """Of an array of p-values, NaN where there was no test."""
    looks = int(np.isfinite(p).sum())
    if not looks:
        return Looked()
    at = np.unravel_index(int(np.nanargmin(p)), p.shape)
    return Looked(min(1.0, float(np.nanmin(p)) * looks), looks, tuple(int(i) for i in at))


@dataclass(frozen=True)
class Evidence:
    """Tests of one architecture over its trusted widths.

    moved: translations of the kernel; constant: of a constant coupling, all tests; fit: those by fits of {lambda_0};
    best_cutoff, p_best_cutoff: where it does best; featureless: of a G4c that depends on its legs through their
    variances only; shifts: of G4c under translations; explained: share of its dependence on the legs that a constant
    accounts for; spread: relative, of the couplings of single components; reason: why there is no test of a constant.
    """

    moved: Invariance
    constant: Looked = field(default_factory=Looked)
    fit: Looked = field(default_factory=Looked)
    best_cutoff: float = float("nan")
    p_best_cutoff: float = float("nan")
    featureless: Looked = field(default_factory=Looked)
    shifts: Looked = field(default_factory=Looked)
    explained: float = float("nan")
    spread: float = float("nan")
    reason: str = ""


def constant(evidence: Evidence) -> Constant:
    """The fate of a constant coupling."""
    if not evidence.constant.looks:
        return "not testable"
    return "rejected" if evidence.constant.rejects else "accepted"


def as_expected(evidence: Evidence) -> Expected:
    """Whether what is seen is what technical naturalness expects.

    Of an invariant kernel: that the coupling does not depend on the position. A constant that is accepted shows it;
    where it is rejected or cannot be tested, G4c does, which has the symmetries of the coupling if the legs have them.
    Of any other kernel: that a constant is rejected, as nothing protects it. An accepted constant says something only
    where a featureless G4c is rejected, that is, where the data see any dependence on the legs.
    """
    found, seen = constant(evidence), evidence.featureless.rejects
    if evidence.moved.reason:
        return "no statement"
    if evidence.moved.holds:
        if evidence.shifts.rejects:
            return "no"
        return "yes" if seen and (found == "accepted" or evidence.shifts.looks) else "no statement"
    if found == "rejected":
        return "yes"
    return "no" if found == "accepted" and seen else "no statement"


def sentence(evidence: Evidence) -> str:
    """The same in words."""
    return "; ".join([_kernel(evidence.moved), _outcome(evidence), *_interactions(evidence)])


def _kernel(moved: Invariance) -> str:
    if moved.reason:
        return f"kernel not evaluated ({moved.reason})"
    if moved.holds:
        return "kernel translation-invariant"
    here = f", by {plain(moved.here, 2)} over the points" if moved.here < 0.1 * moved.violation else ""
    return f"kernel changes by {plain(moved.violation, 2)} under translations{here}"


def _outcome(evidence: Evidence) -> str:
    found = constant(evidence)
    if found == "not testable":
        return f"no test of a constant: {evidence.reason}"
    share = f"explains {100 * evidence.explained:.0f}% of how G4c depends on its legs"
    share = share if np.isfinite(evidence.explained) and evidence.explained > 0 else "explains nothing of it"
    if found == "accepted":
        blind = "" if evidence.featureless.rejects else ", but the data see no dependence of G4c on its legs at all"
        return f"a constant is accepted{blind or f' and {share}'}"
    alone = f" except at the cutoff {evidence.best_cutoff:g}" if evidence.p_best_cutoff >= REJECTED else ""
    unseen = evidence.fit.looks and not evidence.fit.rejects
    by = f" by differences of {plain(100 * evidence.spread, 2)}% that the fit does not see" if unseen else ""
    return f"a constant is rejected{alone}{by}, and {share}"


def _interactions(evidence: Evidence) -> list[str]:
    """What G4c itself does under translations, where the kernel is invariant."""
    if not evidence.moved.holds:
        return []
    if not evidence.shifts.looks:
        return ["no translates among the points say whether G4c is invariant"]
    if evidence.shifts.rejects:
        return ["G4c is not translation-invariant: the interactions break what the kernel has"]
    missed = constant(evidence) == "rejected"
    return ["G4c is translation-invariant" + (", so that a constant misses derivatives, not positions" * missed)]
