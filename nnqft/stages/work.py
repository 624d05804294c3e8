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


def all_work(scan: Scan) -> list[Work]:
    """The leaves of a scan in the order in which they are generated.

    Raises:
        InputError: for a unit that cannot be measured.
    """
    wanted = budget(scan)
    found = [Work("cumulants", leaf, wanted) for leaf in leaves(scan)]
    found += [Work("criticality", leaf, Budget(blocks, blocks)) for leaf, blocks in critical_leaves(scan)]
    return found + [Work("trainability", leaf, Budget(blocks, blocks)) for leaf, blocks in training_leaves(scan)]
