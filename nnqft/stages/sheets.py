"""What the sheets of the report share: how many rows and widths, and the words for one coupling or prediction."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from nnqft.figures.numbers import MISSING, p_text, plain, with_error
from nnqft.figures.running import QUARTIC, REJECTED, Coupling, few_widths, trusted_orders
from nnqft.figures.table import Table
from nnqft.report.render import Sheet

ROWS = 300
"""Rows of a table in the report; the rest is in tables/*.csv."""

FEW = "At most four widths, evenly spread over the trusted ones"
"""What :func:`a_few` chooses, in words."""

Record = dict[str, Any]
"""One row of a table by column."""


def sheet(title: str, explanation: str, columns: tuple[str, ...], rows: list, marks: list[str]) -> Sheet:
    """A sheet of at most `ROWS` rows, those that differ first to be kept."""
    note = ""
    if len(rows) > ROWS:
        keep = sorted(sorted(range(len(rows)), key=lambda i: (marks[i] != "bad", i))[:ROWS])
        note = f"{len(rows) - ROWS} more rows are in tables/*.csv."
        rows, marks = [rows[i] for i in keep], [marks[i] for i in keep]
    return Sheet(title, explanation, columns, tuple(rows), tuple(marks), note)


def ratio(chi2: float, modes: float) -> str:
    """Chi^2 over its degrees of freedom; a dash where there are none."""
    return f"{plain(chi2)}\u00a0/\u00a0{modes:.0f}" if modes > 0 else MISSING


def running(rows: Sequence[dict], coupling: Coupling = QUARTIC) -> tuple[str, ...]:
    """One width in words, from its rows of :func:`nnqft.figures.couplings.running_couplings` by rising cutoff.

    N^k g at both ends, chi^2 / dof at the last, the smallest p, the slope s, N^k g Lambda^-s where s is whole, and
    whether a constant coupling is rejected.
    """
    first, last = rows[0], rows[-1]
    keys = coupling.scaled, f"{coupling.scaled}_stderr"
    ends = [with_error(*(row[key] for key in keys)) for row in (first, last)]
    p = [row["p_value"] for row in rows if np.isfinite(row["p_value"])]
    slope = round(last["slope"]) if np.isfinite(last["slope"]) else 0
    whole = abs(last["slope"] - slope) < 1e-6
    invariant = [first[key] * first["cutoff"] ** -slope for key in keys]
    remark = ("rejected" if min(p) < REJECTED else "not rejected") if p else "not testable"
    remark = remark if last["trusted"] else f"G{max(coupling.orders)}c not converged"
    remark = remark if np.isfinite(last[coupling.name]) else "not fitted"
    return (
        *ends, ratio(last["chi2"], last["dof"]), p_text(min(p)) if p else MISSING,
        with_error(last["slope"], last["slope_stderr"], resolution=1e-9),
        with_error(*invariant) if whole else MISSING, remark,
    )  # fmt: skip


def running_mark(remark: str) -> str:
    """Colour of a row with that last word."""
    marks = {"rejected": "bad", "not rejected": "good", "not testable": "", "not fitted": ""}
    return marks.get(remark, "doubt")


def records_of(numbers: Table) -> list[Record]:
    """All rows of a table."""
    return list(numbers.records())


def a_few(groups: Mapping[str, Mapping[str, xr.Dataset]], orders: tuple[int, ...]) -> dict[str, set[int]]:
    """A few widths of each architecture, trusted ones if there are any."""
    found = {}
    for group in groups.values():
        data = group["cumulants"]
        widths = data["width"].values
        for name, good in zip(data["architecture"].values, trusted_orders(data, orders), strict=True):
            found[str(name)] = {int(widths[w]) for w in few_widths(widths, good)}
    return found


def outcome(p: float, trusted: bool) -> tuple[str, str]:
    """Verdict and colour of a prediction with that p."""
    if not trusted:
        return "not converged", "doubt"
    if not np.isfinite(p):
        return "no test", ""
    return ("outside errors", "bad") if p < REJECTED else ("within errors", "good")


def percent(value: float) -> str:
    """A percentage with two digits."""
    return f"{plain(value, 2)}%" if np.isfinite(value) else MISSING
