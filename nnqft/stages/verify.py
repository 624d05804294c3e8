"""`nnqft verify`: every chunk against its checksum, every trusted estimate against its prediction."""

from dataclasses import dataclass, field

import numpy as np

from nnqft.estimation.agreement import combined_p, look_elsewhere
from nnqft.figures.comparison import compare
from nnqft.spec.model import Scan
from nnqft.stages.criticality_sheets import exact_tests, judge_criticality
from nnqft.stages.layout import Layout, measurements, stages
from nnqft.stages.tables import read_critical
from nnqft.stages.work import all_work
from nnqft.storage.files import SealError, read_sealed
from nnqft.storage.product import read_tree
from nnqft.storage.receipts import fault

SIGNIFICANCE = 1e-4
"""Corrected p-value below which estimate and exact prediction are said to disagree."""

REMEDY = "nnqft run mends it"


@dataclass
class Verification:
    """failures: what is wrong, a line each; summary: the comparison with theory, a line each."""

    failures: list[str] = field(default_factory=list)
    summary: list[str] = field(default_factory=list)


def verify(scan: Scan, layout: Layout) -> Verification:
    """Check the data and the physics of a finished scan."""
    found = Verification()
    _check_leaves(scan, layout, found)
    for stage in stages(scan):
        _check_product(layout, stage, found)
    if not found.failures and "cumulants" in measurements(scan):
        _check_physics(layout, found)
    if not found.failures and "criticality" in measurements(scan):
        _check_criticality(scan, layout, found)
    return found


def _check_leaves(scan: Scan, layout: Layout, found: Verification) -> None:
    for leaf in (work.leaf for work in all_work(scan)):
        store = layout.leaf(leaf.name)
        try:
            receipt = {c["identity"]: c for c in read_sealed(store.manifest)["cells"]}
        except (OSError, SealError) as error:
            found.failures.append(f"{leaf.name}: no readable manifest ({type(error).__name__}); {REMEDY}")
            continue
        rows = store.rows()
        for cell in leaf.cells:
            label = f"{leaf.name} {cell.varying}"
            if cell.identity not in receipt or cell.identity not in rows:
                found.failures.append(f"{label}: not generated; {REMEDY}")
                continue
            good, digest = store.checked(rows[cell.identity].index, receipt[cell.identity]["blocks"])
            if not good.all():
                found.failures.append(f"{label}: blocks {np.flatnonzero(~good).tolist()} missing or damaged; {REMEDY}")
            elif digest != receipt[cell.identity]["sha256"]:
                found.failures.append(f"{label}: data differ from their manifest; delete leaves/{leaf.name}, run again")


def _check_product(layout: Layout, stage: str, found: Verification) -> None:
    if wrong := fault(layout.store(stage), layout.receipt(stage)):
        found.failures.append(f"{stage}.zarr {wrong}; {REMEDY}")


def _check_criticality(scan: Scan, layout: Layout, found: Verification) -> None:
    exact = exact_tests(read_critical(scan, layout))
    _, headline, facts = judge_criticality(exact)
    found.summary += facts or (headline,)
    if min(exact.p_worst, exact.p_combined) < SIGNIFICANCE:
        found.failures.append(f"{headline}: {exact.where}, pull {exact.worst:.2f}")


def _check_physics(layout: Layout, found: Verification) -> None:
    cumulants, theory = read_tree(layout.store("cumulants")), read_tree(layout.store("theory"))
    p_values: dict[str, list[float]] = {}
    looks, worst, where = 0, 0.0, ""
    for points, node in cumulants.children.items():
        data, prediction = node.to_dataset().load(), theory[points].to_dataset().load()
        for cell in compare(data, prediction):
            if not cell.tested:
                continue
            looks += cell.result.components
            p_values.setdefault(cell.name, []).append(cell.result.p_value)
            if cell.result.worst > worst:
                worst, where = cell.result.worst, f"{points} {cell.architecture} N={cell.width} {cell.name}"
    for name, values in p_values.items():
        p = combined_p(np.array(values))
        found.summary.append(f"{name}: {len(values)} trusted cells, combined p = {p:.3g}")
        if p < SIGNIFICANCE:
            found.failures.append(f"{name}: estimates and exact prediction disagree, combined p = {p:.3g}")
    if not looks:
        found.summary.append("nothing to compare: no trusted estimate has an exact prediction")
        return
    dof = min(node.sizes["replicate"] for node in cumulants.children.values()) - 1
    p = look_elsewhere(worst, looks, dof)
    found.summary.append(f"largest pull {worst:.2f} of {looks} ({where}), look-elsewhere p = {p:.3g}")
    if p < SIGNIFICANCE:
        found.failures.append(f"{where}: pull {worst:.2f}, p = {p:.3g} among {looks} components")
