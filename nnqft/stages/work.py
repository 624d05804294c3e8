"""Everything that a scan has to generate: the leaves of every measurement, each with its budget."""

from dataclasses import dataclass

from nnqft.criticality.cells import critical_leaves
from nnqft.sampling.budget import Budget, budget
from nnqft.sampling.cells import leaves
from nnqft.sampling.unit import Leaf
from nnqft.spec.model import Scan
from nnqft.training.cells import training_leaves


@dataclass(frozen=True)
class Work:
    """One leaf and how many blocks its units get; measurement: `cumulants`, `criticality` or `trainability`."""

    measurement: str
    leaf: Leaf
    budget: Budget


_latest: list[tuple[Scan, tuple[Work, ...]]] = []


def all_work(scan: Scan) -> tuple[Work, ...]:
    """The leaves of a scan in the order in which they are generated. (Those of the last scan asked for are kept.)

    Raises:
        InputError: for a unit that cannot be measured.
    """
    if _latest and _latest[0][0] is scan:
        return _latest[0][1]
    found = tuple(_all_work(scan))
    _latest[:] = [(scan, found)]
    return found


def _all_work(scan: Scan) -> list[Work]:
    wanted = budget(scan)
    found = [Work("cumulants", leaf, wanted) for leaf in leaves(scan)]
    found += [Work("criticality", leaf, Budget(blocks, blocks)) for leaf, blocks in critical_leaves(scan)]
    return found + [Work("trainability", leaf, Budget(blocks, blocks)) for leaf, blocks in training_leaves(scan)]
