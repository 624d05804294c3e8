"""What the Snakefile asks the library: which leaves, which files, which parameters. No rule computes these itself."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from nnqft import __version__
from nnqft.core.hashing import canonical_json
from nnqft.spec.grid import architectures
from nnqft.spec.load import parse_scan
from nnqft.spec.measurements import Measurement
from nnqft.spec.model import Scan
from nnqft.stages.check import check
from nnqft.stages.ensemble import planned_neurons
from nnqft.stages.gallery import Kind, figures, galleries
from nnqft.stages.layout import stages, tables
from nnqft.stages.work import Work, all_work

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
    def work(self) -> dict[str, Work]:
        """Leaves by name, with what each is for and its budget."""
        return {work.leaf.name: work for work in all_work(self.scan)}

    def leaves(self, measurement: str) -> list[str]:
        """Names of the leaves of one measurement."""
        return [name for name, work in self.work.items() if work.measurement == measurement]

    @cached_property
    def batches(self) -> list[tuple[str, ...]]:
        """Names of the leaves that one job generates: many where there is little work in each, else one."""
        found, measurement, there = [], "", 0.0
        for name, work in self.work.items():
            more = planned_neurons(work.leaf, work.budget)
            if work.measurement != measurement or there + more > BATCH_NEURONS:
                found.append([name])
                measurement, there = work.measurement, more
            else:
                found[-1].append(name)
                there += more
        return [tuple(names) for names in found]

    def leaf_parameters(self, name: str) -> str:
        """Canonical JSON of all that a leaf's receipt depends on; a change reruns that leaf and nothing else."""
        work = self.work[name]
        return canonical_json(work.leaf.specification() | {"budget": work.budget.specification()})

    def parameters(self, *keys: str) -> str:
        """Canonical JSON of what a later stage depends on: what was sampled under which name, `keys`, and the version.

        (Leaves carry KERNEL_VERSION instead: a new nnqft redoes the cheap stages, never the networks.)
        """
        data = self.scan.model_dump(mode="json")
        names = {m: [a.name for a in architectures(self.scan, m)] for m in get_args(Measurement)}
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
    def stages(self) -> list[str]:
        """The stages of this scan."""
        return stages(self.scan)

    @property
    def tables(self) -> list[str]:
        """The tables of this scan."""
        return tables(self.scan)


def workflow(config: dict[str, Any], source: str) -> Workflow:
    """The workflow of a configuration.

    Raises:
        InputError: naming file, key and remedy.
    """
    return Workflow(check(parse_scan(dict(config), source), source))
