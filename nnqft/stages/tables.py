"""Tables of the whole scan, each as CSV and as LaTeX (packages booktabs and longtable)."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import xarray as xr

from nnqft.estimation.cumulants import CONNECTED
from nnqft.figures.comparison import COMPONENT, Cell, compare, component_label, representatives, verdict
from nnqft.figures.numbers import plain
from nnqft.figures.table import Table, Value, table
from nnqft.spec.model import Scan
from nnqft.stages.coupling_tables import (
    DETAIL,
    Group,
    action_table,
    conventions_table,
    couplings_table,
    sixpoints_table,
)
from nnqft.stages.criticality_sheets import criticality_table, trainability_table
from nnqft.stages.layout import Layout, by_points, measurements
from nnqft.stages.naturalness import naturalness_table
from nnqft.storage.files import write_atomic
from nnqft.storage.integrals import IntegralCache
from nnqft.storage.product import read_whole

LONG = ("status", "sentence")
"""Columns of running text, which the LaTeX version leaves out."""

_STORES = ("cumulants", "theory", "couplings", "flow", "sixpoints", "action")

_LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {c: f"\\{c}" for c in "&%$#_{}"}
)


def write_tables(scan: Scan, layout: Layout) -> None:
    """Write tables/NAME.{csv, tex} for every table of a scan; FileNotFoundError when a store is missing."""
    for name, numbers in all_tables(scan, layout).items():
        write_atomic(layout.tables / f"{name}.csv", numbers.csv())
        write_atomic(layout.tables / f"{name}.tex", latex(numbers, DETAIL if name == "couplings" else ()))


def all_tables(scan: Scan, layout: Layout) -> dict[str, Table]:
    """The tables of every measurement of a scan, by name."""
    found: dict[str, Table] = {}
    measured = measurements(scan)
    if "cumulants" in measured:
        groups = read_groups(scan, layout)
        cells = compare_all(groups)
        found |= {
            "cumulants": cumulants_table(groups, cells),
            "couplings": couplings_table(groups),
            "agreement": agreement_table(cells),
            "naturalness": naturalness_table(scan, groups, IntegralCache(layout.integrals)),
            "sixpoints": sixpoints_table(groups),
            "conventions": conventions_table(groups),
            "action": action_table(groups),
        }
    if "criticality" in measured:
        found["criticality"] = criticality_table(read_critical(scan, layout))
    if "trainability" in measured:
        found["trainability"] = trainability_table(read_maps(scan, layout))
    return found


def read_critical(scan: Scan, layout: Layout) -> dict[str, xr.Dataset]:
    """The datasets of ``criticality.zarr`` in the order of the scan's point sets, loaded."""
    return _loaded(layout, "criticality", by_points(scan, "criticality"))


def read_maps(scan: Scan, layout: Layout) -> dict[str, xr.Dataset]:
    """The maps of ``trainability.zarr`` in the order of the scan, loaded."""
    return _loaded(layout, "trainability", scan.trainability)


def _loaded(layout: Layout, stage: str, names: Iterable[str]) -> dict[str, xr.Dataset]:
    tree = read_whole(layout.store(stage), layout.receipt(stage))
    return {name: tree[name].to_dataset().load() for name in names}


def read_groups(scan: Scan, layout: Layout) -> dict[str, Group]:
    """Every point set in use: its datasets of every store of correlators but the ensemble."""
    trees = {stage: read_whole(layout.store(stage), layout.receipt(stage)) for stage in _STORES}
    return {points: {stage: tree[points].to_dataset() for stage, tree in trees.items()} for points in by_points(scan)}


def compare_all(groups: Mapping[str, Group]) -> dict[str, list[Cell]]:
    """Estimates against predictions, by point set."""
    return {points: compare(group["cumulants"], group["theory"]) for points, group in groups.items()}


def cumulants_table(groups: Mapping[str, Group], cells: Mapping[str, list[Cell]]) -> Table:
    """One row per (architecture, width, order): the component with the most distinct legs, against its prediction."""
    columns = (
        "points", "architecture", "width", "correlator", "networks", "component", "value", "stderr", "theory",
        "prediction", "pull", "tail_index", "trusted",
    )  # fmt: skip
    rows = []
    for points, group in groups.items():
        data, theory = group["cumulants"], group["theory"]
        chosen = {order: _distinct(data, order) for order in map(int, data["order"].values)}
        numbers = {
            order: (data[name].values[..., c], data[f"{name}_stderr"].values[..., c], theory[name].values[..., c])
            for order, (c, _) in chosen.items()
            for name in [CONNECTED[order]]
        }
        shape = data.sizes["architecture"], data.sizes["width"], len(chosen)
        for (a, w, _), cell in zip(np.ndindex(shape), cells[points], strict=True):
            c, label = chosen[cell.order]
            value, stderr, exact = (array[a, w] for array in numbers[cell.order])
            rows.append(
                (points, cell.architecture, cell.width, cell.name, cell.networks, label, value, stderr, exact,
                 cell.prediction, cell.result.pulls[c], cell.tail_index, cell.trusted)
            )  # fmt: skip
    return table(columns, rows)


def agreement_table(cells: Mapping[str, list[Cell]]) -> Table:
    """One row per (architecture, width, order): how all its components together agree with the prediction."""
    columns = (
        "points", "architecture", "width", "correlator", "prediction", "components", "worst_pull", "chi2", "modes",
        "p_value", "tail_index", "trusted", "verdict",
    )  # fmt: skip
    tests, looks = tests_and_looks(cells)
    rows = [
        (points, cell.architecture, cell.width, cell.name, cell.prediction, cell.result.components, cell.result.worst,
         cell.result.chi2, cell.result.modes, cell.result.p_value, cell.tail_index, cell.trusted,
         verdict(cell, tests, looks))
        for points, group in cells.items()
        for cell in group
    ]  # fmt: skip
    return table(columns, rows)


def tests_and_looks(cells: Mapping[str, list[Cell]]) -> tuple[int, int]:
    """How many cells of a scan are tests, and how many components they have."""
    tested = [cell for group in cells.values() for cell in group if cell.tested]
    return len(tested), sum(cell.result.components for cell in tested)


def _distinct(data: xr.Dataset, order: int) -> tuple[int, str]:
    """Position and label of the component whose legs are as distinct as the points allow."""
    legs = data[f"{COMPONENT[order]}_points"].values
    chosen = list(representatives(data.sizes["point"], legs).values())[-1]
    return int(np.flatnonzero((legs == chosen).all(axis=1))[0]), component_label(chosen)


def latex(numbers: Table, detail: Sequence[str] = ()) -> str:
    """A longtable with booktabs rules; numbers with four significant digits, text escaped; without columns `detail`."""
    keep = [i for i, name in enumerate(numbers.columns) if name not in (*LONG, *detail)]
    values = [[row[i] for i in keep] for row in numbers.rows]
    align = ["l" if not values or isinstance(value, str) else "r" for value in (values[0] if values else keep)]
    head = " & ".join(_cell(numbers.columns[i].replace("_", " ")) for i in keep) + r" \\"
    body = [" & ".join(map(_cell, row)) + r" \\" for row in values]
    return "\n".join(
        [
            r"% \usepackage{booktabs,longtable}",
            rf"\begin{{longtable}}{{{''.join(align)}}}",
            r"\toprule", head, r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot",
            *body,
            r"\end{longtable}",
            "",
        ]
    )  # fmt: skip


def _cell(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value.translate(_LATEX)
    if isinstance(value, int):
        return str(value)
    text = plain(value, 4, math_text=True)
    return "--" if text == "–" else text
