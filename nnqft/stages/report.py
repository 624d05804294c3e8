"""The report: one HTML file for people, one JSON file for programs."""

from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
import xarray as xr
import yaml

from nnqft.core.versions import KERNEL_VERSION
from nnqft.report.render import Citation, Picture, Report, Section, Sheet, picture, render
from nnqft.spec.model import Scan
from nnqft.stages.coupling_sheets import coupling_sheets
from nnqft.stages.criticality_sheets import (
    exact_tests,
    judge_criticality,
    orders_sheet,
    scales_sheet,
    trainability_sheet,
)
from nnqft.stages.figures import CAPTIONS
from nnqft.stages.gallery import Kind, figures
from nnqft.stages.layout import Layout, measurements
from nnqft.stages.naturalness import naturalness_table
from nnqft.stages.provenance import CODE, code_checksum, data_checksums, devices, generators, manifest, versions
from nnqft.stages.summary import (
    agreement_sheet,
    combined_sheet,
    couplings_sheet,
    exponents_sheet,
    judge,
    naturalness_sheet,
    warnings_sheet,
)
from nnqft.stages.tables import Group, compare_all, read_critical, read_groups, read_maps
from nnqft.storage.files import write_atomic, write_json
from nnqft.storage.integrals import IntegralCache


def write_report(scan: Scan, layout: Layout) -> None:
    """Write report.html and manifest.json; FileNotFoundError when a store or a figure is missing."""
    write_atomic(layout.report, render(report(scan, layout)))
    write_json(layout.manifest, manifest(scan, layout))


def report(scan: Scan, layout: Layout) -> Report:
    """What the report says: a function of the configuration, the data and the installed versions."""
    measured = measurements(scan)
    groups = read_groups(scan, layout) if "cumulants" in measured else {}
    critical = read_critical(scan, layout) if "criticality" in measured else {}
    maps = read_maps(scan, layout) if "trainability" in measured else {}
    cells = compare_all(groups)
    verdicts = [judge(scan, cells)] if groups else []
    if critical:
        verdicts.append(judge_criticality(exact_tests(critical)))
    if not verdicts:
        verdicts.append(("doubt", "Trained networks: there is no exact result to compare with", ()))
    worst = min(verdicts, key=lambda found: ("bad", "good", "doubt").index(found[0]))
    sheets: list[Sheet] = []
    if groups:
        naturalness = naturalness_table(scan, groups, IntegralCache(layout.integrals))
        sheets += [agreement_sheet(cells), couplings_sheet(groups), *coupling_sheets(groups)]
        sheets += [naturalness_sheet(naturalness), exponents_sheet(groups)]
    if critical:
        sheets += [orders_sheet(critical), scales_sheet(critical)]
    if maps:
        sheets.append(trainability_sheet(maps))
    return Report(
        title=f"nnqft scan: {scan.name}",
        verdict=worst[0],
        headline=worst[1],
        facts=tuple(fact for _, _, facts in verdicts for fact in facts),
        combined=combined_sheet(scan, cells),
        warnings=warnings_sheet(cells),
        sections=_sections(scan, layout, groups, critical, maps),
        sheets=tuple(sheets),
        configuration=configuration(scan),
        provenance=_provenance(scan, layout),
        citations=citations(),
    )


def configuration(scan: Scan) -> str:
    """The scan as a YAML file that reads back as the same scan."""
    data = scan.model_dump(mode="json")
    for name, family in scan.architectures.items():  # the order of the swept keys is part of their names
        entry = data["architectures"][name]
        data["architectures"][name] = {key: entry[key] for key in [*family.swept, *entry]}
    return yaml.safe_dump(data, sort_keys=False, default_flow_style=None, allow_unicode=True, width=100)


def citations() -> tuple[Citation, ...]:
    """The software and the papers that a result of this kind rests on."""
    return (
        Citation(f"This software: nnqft {version('nnqft')} (see CITATION.cff in its repository).", ""),
        Citation(
            "The experiment, the deviations m_n and the couplings: J. Halverson, A. Maiti, K. Stoner, Neural Networks "
            "and Quantum Field Theory, Mach. Learn.: Sci. Technol. 2 (2021) 035002.",
            "https://arxiv.org/abs/2008.08601",
        ),
        Citation("Its public code: keeganstoner/nn-qft.", "https://github.com/keeganstoner/nn-qft"),
        Citation(
            "A second code: H. Erbin, V. Lahoche, D. Ousmane Samary, HaroldErbin/nnqft.",
            "https://github.com/HaroldErbin/nnqft",
        ),
        Citation(
            "Criticality, Lyapunov exponents and loops in recurrent and deep networks: K. T. Grosvenor, R. Jefferson, "
            "The edge of chaos: quantum field theory and deep neural networks, SciPost Phys. 12 (2022) 081.",
            "https://arxiv.org/abs/2109.13247",
        ),
        Citation(
            "Tail diagnostic: A. Vehtari et al., Pareto smoothed importance sampling, JMLR 25 (2024) 72.",
            "https://arxiv.org/abs/1507.02646",
        ),
    )


def _sections(
    scan: Scan, layout: Layout, groups: Mapping[str, Group], critical: Mapping[str, xr.Dataset],
    maps: Mapping[str, xr.Dataset],
) -> tuple[Section, ...]:  # fmt: skip
    drawn = figures(scan)
    kinds = {name: kind for name, kind in drawn.items() if kind.stores[0] not in ("criticality", "trainability")}
    sections = [
        Section(f"Points {points}", _described(group["cumulants"]), _pictures(layout, kinds, points))
        for points, group in groups.items()
    ]
    kinds = {name: kind for name, kind in drawn.items() if kind.stores == ("criticality",)}
    sections += [
        Section(f"Criticality on points {points}", _described(data), _pictures(layout, kinds, points))
        for points, data in critical.items()
    ]
    kinds = {name: kind for name, kind in drawn.items() if kind.stores == ("trainability",)}
    return *sections, *(
        Section(f"Trainability {name}", f"{data.attrs['title']}.", _pictures(layout, kinds, name))
        for name, data in maps.items()
    )


def _pictures(layout: Layout, kinds: Mapping[str, Kind], points: str) -> tuple[Picture, ...]:
    found = []
    for name in (name for name, kind in kinds.items() if points in kind.points):
        path = layout.figures / f"{name}-{points}.png"
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such figure; draw it first (nnqft figures CONFIG)")
        found.append(picture(name, CAPTIONS[name], path.read_bytes()))
    return tuple(found)


def _described(data: xr.Dataset) -> str:
    """The points and the architectures of a section."""
    x, names = data["x"].values, [str(name) for name in data["architecture"].values]
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    shown = ", ".join("(" + ", ".join(f"{c:g}" for c in row) + ")" for row in np.atleast_2d(x)[:12])
    dots = ", …" if len(x) > 12 else ""
    number = "1 point" if len(x) == 1 else f"{len(x)} points"
    return f"{number}, d_in = {x.shape[1]}: {shown}{dots}. Architectures: {', '.join(names[:6])}{more}."


def _provenance(scan: Scan, layout: Layout) -> tuple[tuple[str, str], ...]:
    e = scan.ensemble
    return (
        ("seed", str(scan.seed)),
        ("random numbers", ", ".join(generators(scan, layout))),
        ("computed on", ", ".join(devices(scan, layout))),
        ("sampler, estimator", f"{e.sampler}, {e.estimator}"),
        ("version of the sampling kernel", str(KERNEL_VERSION)),
        ("versions", ", ".join(f"{name} {number}" for name, number in versions().items())),
        ("SHA-256 of the code", code_checksum(CODE)),
        *((f"SHA-256 of {store}", sha) for store, sha in data_checksums(scan, layout).items()),
        ("also", "manifest.json holds all of this, the checksums of the blocks' receipts and the wall times"),
    )
