"""What the Snakefile asks the library: which leaves, which files, which parameters. No rule computes these itself."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nnqft import __version__
from nnqft.core.hashing import canonical_json
from nnqft.sampling.budget import budget
from nnqft.sampling.cells import Leaf, leaves
from nnqft.sampling.check import check
from nnqft.spec.grid import architectures
from nnqft.spec.load import parse_scan
from nnqft.spec.model import Scan
from nnqft.stages.ensemble import planned_neurons
from nnqft.stages.gallery import Kind, figures, galleries
from nnqft.stages.layout import by_points

BATCH_NEURONS = 1e11
"""Work in one generation job: some minutes, so that a scan of small ensembles does not start a process for each."""


@dataclass(frozen=True)
class Workflow:
    """A validated scan as the workflow sees it."""

    scan: Scan

    @property
    def root(self) -> str:
        """Results folder, relative to the working directory."""
        return f"results/{self.scan.name}"

    @cached_property
    def leaves(self) -> dict[str, Leaf]:
        """Leaves by name."""
        return {leaf.name: leaf for leaf in leaves(self.scan)}

    @cached_property
    def batches(self) -> list[tuple[str, ...]]:
        """Names of the leaves that one job generates: many where there is little work in each, else one."""
        wanted, found, work = budget(self.scan), [], BATCH_NEURONS
        for name, leaf in self.leaves.items():
            more = planned_neurons(leaf, wanted)
            if work + more > BATCH_NEURONS:
                found.append([name])
                work = more
            else:
                found[-1].append(name)
                work += more
        return [tuple(names) for names in found]

    def leaf_parameters(self, name: str) -> str:
        """Canonical JSON of all that a leaf's receipt depends on; a change reruns that leaf and nothing else."""
        wanted = budget(self.scan)
        return canonical_json(self.leaves[name].specification() | {"budget": wanted.specification()})

    def parameters(self, *keys: str) -> str:
        """Canonical JSON of what a later stage depends on: what was sampled under which name, `keys`, and the version.

        (Leaves carry KERNEL_VERSION instead: a new nnqft redoes the cheap stages, never the networks.)
        """
        data = self.scan.model_dump(mode="json")
        names = [a.name for a in architectures(self.scan)]
        chosen = {key: data[key] for key in ("seed", "points", "architectures", "widths", *keys)}
        return canonical_json(chosen | {"names": names, "nnqft": __version__})

    @cached_property
    def figures(self) -> dict[str, Kind]:
        """Kinds of figures that apply, in order."""
        return figures(self.scan)

    @cached_property
    def galleries(self) -> dict[str, dict[str, Kind]]:
        """The same by the job that draws them."""
        return galleries(self.scan)

    @property
    def sections(self) -> list[str]:
        """All top-level keys of a scan."""
        return list(type(self.scan).model_fields)

    @property
    def point_sets(self) -> list[str]:
        """Point sets in use."""
        return list(by_points(self.scan))


def workflow(config: dict[str, Any], source: str) -> Workflow:
    """The workflow of a configuration.

    Raises:
        InputError: naming file, key and remedy.
    """
    return Workflow(check(parse_scan(dict(config), source), source))
