"""Tables of the whole scan, each as CSV and as LaTeX (packages booktabs and longtable)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from nnqft.estimation.cumulants import CONNECTED
from nnqft.figures.comparison import COMPONENT, Cell, compare, component_label, representatives, verdict
from nnqft.figures.numbers import plain
from nnqft.figures.table import Table, Value, table
from nnqft.spec.model import Scan
from nnqft.stages.layout import Layout, by_points
from nnqft.stages.naturalness import naturalness_table
from nnqft.storage.files import write_atomic
from nnqft.storage.integrals import IntegralCache
from nnqft.storage.product import read_tree

Group = Mapping[str, xr.Dataset]
"""One point set: its dataset of each store."""

LONG = ("status", "sentence")
"""Columns of running text, which the LaTeX version leaves out."""

_LATEX = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {c: f"\\{c}" for c in "&%$#_{}"}
)


def write_tables(scan: Scan, layout: Layout) -> None:
    """Write tables/NAME.{csv, tex} for every table of the layout; FileNotFoundError when a store is missing."""
    groups = read_groups(scan, layout)
    cells = compare_all(groups)
    for name, numbers in {
        "cumulants": cumulants_table(groups, cells),
        "couplings": couplings_table(groups),
        "agreement": agreement_table(cells),
        "naturalness": naturalness_table(scan, groups, IntegralCache(layout.integrals)),
    }.items():
        write_atomic(layout.tables / f"{name}.csv", numbers.csv())
        write_atomic(layout.tables / f"{name}.tex", latex(numbers))


def read_groups(scan: Scan, layout: Layout) -> dict[str, Group]:
    """Every point set in use: its datasets of cumulants, theory, couplings and flow."""
    trees = {stage: read_tree(layout.store(stage)) for stage in ("cumulants", "theory", "couplings", "flow")}
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


def couplings_table(groups: Mapping[str, Group]) -> Table:
    """One row per (architecture, width, model, cutoff, coupling of that model)."""
    columns = (
        "points", "architecture", "width", "model", "cutoff", "coupling", "value", "stderr", "N_value", "N_stderr",
        "chi2", "dof", "p_value", "mape", "component_mean", "component_mean_stderr", "component_spread", "slope",
        "slope_stderr", "beta", "beta_stderr", "beta_theory", "trusted", "status",
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for points, group in groups.items():
        rows += _couplings(points, group)
    return table(columns, rows)


def _couplings(points: str, group: Group) -> list[tuple[Any, ...]]:
    fits, flow, data = (group[stage].load() for stage in ("couplings", "flow", "cumulants"))
    trusted = data["trusted"].sel(order=4).values if 4 in data["order"].values else None
    goodness = [fits[key].values for key in ("chi2", "dof", "p_value", "mape")]
    means = [fits[key].values for key in ("lambda_mean", "lambda_mean_stderr", "lambda_spread")]
    running = [flow[key].values for key in ("slope_lambda", "slope_lambda_stderr")]
    betas = [flow[f"beta_lambda{suffix}"].values for suffix in ("", "_stderr", "_theory")]
    names, widths, cutoffs, models = (fits[key].values for key in ("architecture", "width", "cutoff", "model"))
    rows: list[tuple[Any, ...]] = []
    for at in np.ndindex(len(names), len(widths), len(models), len(cutoffs)):
        a, w, m, c = at
        for coupling in str(models[m]).split("+"):
            value, stderr = (fits[key].values[a, w, c, m] for key in (coupling, f"{coupling}_stderr"))
            flows = [
                *(array[a, w, c] for array in means),
                *(array[a, w, m] for array in running),
                *(array[a, w, c, m] for array in betas),
            ]
            if coupling != "lambda_0":
                flows = [float("nan")] * len(flows)
            rows.append(
                (points, str(names[a]), widths[w], str(models[m]), cutoffs[c], coupling, value, stderr,
                 widths[w] * value, widths[w] * stderr, *(array[a, w, c, m] for array in goodness), *flows,
                 False if trusted is None else trusted[a, w], str(fits["status"].values[a, w, c, m]))
            )  # fmt: skip
    return rows


def _distinct(data: xr.Dataset, order: int) -> tuple[int, str]:
    """Position and label of the component whose legs are as distinct as the points allow."""
    legs = data[f"{COMPONENT[order]}_points"].values
    chosen = list(representatives(data.sizes["point"], legs).values())[-1]
    return int(np.flatnonzero((legs == chosen).all(axis=1))[0]), component_label(chosen)


def latex(numbers: Table) -> str:
    """A longtable with booktabs rules; numbers with four significant digits, text escaped."""
    keep = [i for i, name in enumerate(numbers.columns) if name not in LONG]
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
