"""What the report says in words and numbers about a scan: verdict, agreement, couplings, exponents, warnings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import xarray as xr

from nnqft.core.hashing import digest
from nnqft.estimation.agreement import look_elsewhere
from nnqft.estimation.cumulants import CONNECTED
from nnqft.estimation.tails import INDEX_LIMIT, SHARE_LIMIT
from nnqft.figures.comparison import SIGNIFICANCE, Cell, combine, verdict
from nnqft.figures.numbers import p_text, plain, with_error
from nnqft.figures.running import running_couplings, trusted_quartic
from nnqft.figures.table import Table
from nnqft.report.render import Sheet
from nnqft.spec.grid import architectures
from nnqft.spec.model import Scan
from nnqft.stages.sheets import ratio as _ratio
from nnqft.stages.sheets import running, running_mark
from nnqft.stages.sheets import sheet as _sheet
from nnqft.stages.tables import Group, tests_and_looks
from nnqft.stages.widths import LEADING

Cells = Mapping[str, list[Cell]]
Mark = Literal["good", "bad", "doubt"]

SIGMAS = 5.0
_MARKS = {"agrees": "good", "differs": "bad", "not converged": "doubt", "leading order only": "", "no prediction": ""}
_SEVERITY = ("differs", "agrees", "leading order only", "not converged", "no prediction")


def judge(scan: Scan, cells: Cells) -> tuple[Mark, str, tuple[str, ...]]:
    """Colour, headline and facts of the box at the top."""
    everything = [(points, cell) for points, group in cells.items() for cell in group]
    tested = [(points, cell) for points, cell in everything if cell.tested]
    untrusted = [(points, cell) for points, cell in everything if not cell.trusted]
    tests, looks = tests_and_looks(cells)
    differing = sum(verdict(cell, tests, looks) == "differs" for _, cell in tested)
    low = [order for order in CONNECTED if _combined(scan, cells, order).p_value < SIGNIFICANCE / len(CONNECTED)]
    facts = [*_facts(tested), _untrusted(untrusted, len(everything))]
    leading = sum(cell.trusted and cell.result.components > 0 and not cell.tested for _, cell in everything)
    if leading:
        facts.append(f"{leading} trusted cells have a prediction to leading order in 1/N only: no test of the samples.")
    if not tested:
        return "doubt", "Nothing to compare: no trusted estimate has an exact prediction", tuple(facts)
    if differing or low:
        what = f"{differing} of {tests} tested cells" if differing else f"combined p of {_names(low)}"
        return "bad", f"Estimates and exact theory differ: {what}", tuple(facts)
    return "good", "All trusted estimates agree with exact theory", tuple(facts)


def combined_sheet(scan: Scan, cells: Cells) -> Sheet:
    """Every tested cell of each order together."""
    rows = []
    for order, name in CONNECTED.items():
        c = _combined(scan, cells, order)
        if c.cells:
            rows.append(
                (name, str(c.cells), str(c.components), plain(c.worst), _ratio(c.chi2, c.modes), p_text(c.p_value))
            )
    columns = ("correlator", "cells tested", "components", "largest |pull|", "χ² / modes", "combined p")
    return Sheet("Combined", "", columns, tuple(rows), ("",) * len(rows))


def agreement_sheet(cells: Cells) -> Sheet:
    """Each (architecture, order), its trusted widths together."""
    tests, looks = tests_and_looks(cells)
    groups: dict[tuple[str, str, int], list[Cell]] = {}
    for points, group in cells.items():
        for cell in group:
            groups.setdefault((points, cell.architecture, cell.order), []).append(cell)
    rows, marks = [], []
    for (_, architecture, _), mine in groups.items():
        words = {verdict(cell, tests, looks) for cell in mine}
        word = next(word for word in _SEVERITY if word in words)
        used = [cell for cell in mine if cell.trusted and cell.result.components]
        doubtful = sum(not cell.trusted for cell in mine)
        left_out = f"; {doubtful} not converged" if 0 < doubtful < len(mine) else ""
        c = combine(used)
        worst = next((cell.width for cell in used if cell.result.worst == c.worst), None)
        rows.append(
            (architecture, mine[0].name, mine[0].prediction, f"{len(used)} of {len(mine)}", str(c.components),
             plain(c.worst) + (f" (N = {worst})" if worst else ""), _ratio(c.chi2, c.modes), p_text(c.p_value),
             word + left_out)
        )  # fmt: skip
        marks.append(_MARKS[word])
    return _sheet(
        "Agreement with theory",
        "All components at all trusted widths. χ² is over independent combinations (modes) of the correlated "
        "components, p is Hotelling's, combined over widths by Fisher's method; a verdict of “differs” needs a "
        f"probability below {SIGNIFICANCE:g} for the whole scan. Each cell on its own: tables/agreement.csv.",
        ("architecture", "correlator", "prediction", "widths used", "components", "largest |pull|", "χ² / modes", "p",
         "verdict"),
        rows, marks,
    )  # fmt: skip


def couplings_sheet(groups: Mapping[str, Group]) -> Sheet:
    """lambda_0 of the model in the figure at each (architecture, width): at the ends of the cutoffs, and its slope."""
    rows, marks, model = [], [], "lambda_0"
    for group in groups.values():
        trusted = trusted_quartic(group["cumulants"])
        numbers = running_couplings(group["couplings"].load(), group["flow"].load(), trusted)
        cells: dict[tuple[str, int], list[dict]] = {}
        for row in numbers.records():
            cells.setdefault((str(row["architecture"]), int(row["width"])), []).append(row)
            model = str(row["model"])
        for (architecture, width), mine in cells.items():
            fitted = running(sorted(mine, key=lambda row: row["cutoff"]))
            mean = _mean_coupling(group["couplings"], architecture, width)
            rows.append((architecture, str(width), *fitted[:-1], mean, fitted[-1]))
            marks.append(running_mark(fitted[-1]))
    return _sheet(
        "Couplings",
        f"Model {{{model}}}. λ₀ at the smallest and the largest cutoff Λ; χ²/dof at the largest, the smallest p over "
        "all cutoffs; s = d log |λ₀| / d log Λ with its jackknife error, (0) where only rounding is left; N λ₀ Λ⁻ˢ "
        "where s is a whole number. λ̄: mean over components, with its relative spread over them; where a constant λ₀ "
        "is rejected the fitted value means little, and λ̄ says how large the coupling is. All models and cutoffs: "
        "tables/couplings.csv.",
        ("architecture", "N", "N λ₀ at Λ min", "N λ₀ at Λ max", "χ² / dof", "p", "slope s", "N λ₀ Λ⁻ˢ",
         "N λ̄ at Λ max (spread)", "constant λ₀"),
        rows, marks,
    )  # fmt: skip


def _mean_coupling(couplings: xr.Dataset, architecture: str, width: int) -> str:
    """N times the mean coupling over components at the largest cutoff, and its relative spread."""
    at = couplings.sel(architecture=architecture, width=width, cutoff=couplings["cutoff"].values.max())
    value, error, spread = (float(at[name].values) for name in ("lambda_mean", "lambda_mean_stderr", "lambda_spread"))
    return f"{with_error(width * value, width * error)} ({plain(100 * spread, 2)}%)" if np.isfinite(value) else "–"


def naturalness_sheet(numbers: Table) -> Sheet:
    """The symmetries of each kernel, and whether a constant quartic coupling is accepted."""
    rows = []
    for row in numbers.records():
        degree = float(row["scaling_degree"])
        rows.append(
            (str(row["points"]), str(row["architecture"]),
             f"{row['kernel_translation']} ({plain(float(row['translation_violation']), 2)})",
             str(row["kernel_rotation"]),
             str(row["kernel_scaling"]) + (f" ({degree:.3g})" if np.isfinite(degree) else ""),
             p_text(float(row["G4c_translation_p"])), p_text(float(row["p_constant"])),
             p_text(float(row["p_featureless"])), str(row["constant"]), str(row["as_expected"]), str(row["sentence"]))
        )  # fmt: skip
    return _sheet(
        "Technical naturalness",
        "A translation-invariant kernel K makes a constant coupling technically natural (arXiv:2008.08601, section 4). "
        "K: translations (largest change), rotations, scalings (degree). p: of G4c being translation-invariant, of a "
        "constant λ₀, and of a G4c that depends on its legs through their variances only; each the smallest over "
        "trusted widths (λ₀: and cutoffs) times their number. docs/naturalness.md; all numbers: "
        "tables/naturalness.csv.",
        ("points", "architecture", "K translations", "K rotations", "K scalings", "p G4c translations", "p constant λ₀",
         "p featureless", "constant λ₀", "as expected", "in words"),
        rows, [""] * len(rows),
    )  # fmt: skip


def exponents_sheet(groups: Mapping[str, Group]) -> Sheet:
    """Fitted powers of the width in the connected correlators, their corrections, and powers in the couplings."""
    rows = []
    for group in groups.values():
        flow = group["flow"].load()
        for a, architecture in enumerate(flow["architecture"].values):
            for o, order in enumerate(flow["order"].values if "order" in flow.coords else ()):
                c = with_error(*(flow[f"width_correction{end}"].values[a, o] for end in ("", "_stderr")))
                power = _power(flow, "width_exponent", (a, o), 1 - int(order) // 2)
                rows.append((str(architecture), CONNECTED[int(order)], *power[:-1], c, power[-1]))
            k, models = int(np.argmax(flow["cutoff"].values)), [str(m) for m in flow["model"].values]
            for coupling, leading in LEADING.items() if "lambda_0" in models and flow.sizes["order"] else ():
                power = _power(flow, f"width_exponent_{coupling}", (a, k, models.index("lambda_0")), leading)
                rows.append((str(architecture), {"lambda_0": "λ₀", "kappa": "κ"}[coupling], *power[:-1], "", power[-1]))
    return _sheet(
        "Powers of the width",
        "Quantity ∝ N^exponent over the trusted widths, against the leading power (exact for one hidden layer), with p "
        "of the fit; c: at fixed leading power, ∝ N^leading (1 + c / N). λ₀, κ: model {λ₀} at the largest cutoff.",
        ("architecture", "quantity", "exponent", "leading", "pull", "p", "c", "remark"),
        rows,
        [""] * len(rows),
    )


def _power(flow: xr.Dataset, name: str, at: tuple[int, ...], leading: int) -> tuple[str, ...]:
    """Exponent, leading power, pull, p and remark."""
    value, stderr, p = (float(flow[name + end].values[at]) for end in ("", "_stderr", "_p_value"))
    off = (value - leading) / stderr if stderr > 0 else float("nan")
    expected = str(leading).replace("-", "−")
    return with_error(value, stderr), expected, plain(off, 2), p_text(p), str(flow[f"{name}_status"].values[at])


def warnings_sheet(cells: Cells) -> Sheet:
    """One warning for every cell whose error bar is not to be trusted."""
    rows = []
    for group in cells.values():
        for cell in group:
            if not cell.trusted:
                rows.append((cell.architecture, str(cell.width), cell.name, _reason(cell)))
    explanation = "Do not use these estimates or their error bars: a few networks dominate them." if rows else (
        "Every estimate passed the tail diagnostics."
    )  # fmt: skip
    columns = ("architecture", "N", "correlator", "why it is not converged")
    return _sheet("Warnings", explanation, columns, rows, ["doubt"] * len(rows))


def _reason(cell: Cell) -> str:
    reasons = []
    if cell.tail_index > INDEX_LIMIT:
        moment = "mean" if cell.tail_index >= 1 else "variance"
        reasons.append(f"tail index {cell.tail_index:.2f} > {INDEX_LIMIT:g} (as if of infinite {moment})")
    if cell.top_share > SHARE_LIMIT:
        reasons.append(f"the largest 0.1% of networks carry {cell.top_share:.0%}")
    return "; ".join(reasons) or "the two halves of the sample disagree"


def _facts(tested: Sequence[tuple[str, Cell]]) -> list[str]:
    if not tested:
        return []
    pulls = np.concatenate([np.abs(cell.result.pulls[~np.isnan(cell.result.pulls)]) for _, cell in tested])
    points, worst = max(tested, key=lambda pair: pair[1].result.worst)
    p = look_elsewhere(worst.result.worst, len(pulls), min(cell.replicates for _, cell in tested) - 1)
    return [
        f"{int((pulls <= SIGMAS).sum())} of {len(pulls)} trusted components lie within {SIGMAS:g} standard errors of "
        "an exact prediction.",
        f"The largest pull is {plain(worst.result.worst)} ({worst.architecture} on {points}, N = {worst.width}, "
        f"{worst.name}); p ≤ {p_text(p)} for one that large among so many.",
    ]


def _untrusted(cells: Sequence[tuple[str, Cell]], total: int) -> str:
    if not cells:
        return f"All {total} (architecture, width, correlator) cells passed the tail diagnostics."
    where: dict[tuple[str, str], list[int]] = {}
    for _, cell in cells:
        where.setdefault((cell.architecture, cell.name), []).append(cell.width)
    parts = [f"{a} {name} at N = {', '.join(map(str, widths))}" for (a, name), widths in where.items()]
    more = f"; and {len(parts) - 12} more kinds" if len(parts) > 12 else ""
    return f"{len(cells)} of {total} cells are NOT converged (heavy tails): {'; '.join(parts[:12])}{more}."


def _combined(scan: Scan, cells: Cells, order: int):
    """Tested cells of one order, each law once: the same law under two names is the same data."""
    laws: dict[str, str] = {}
    for architecture in architectures(scan):
        laws.setdefault(digest(architecture.law()), architecture.name)
    distinct = set(laws.values())
    return combine(
        cell for group in cells.values() for cell in group
        if cell.tested and cell.order == order and cell.architecture in distinct
    )  # fmt: skip


def _names(orders: Iterable[int]) -> str:
    return ", ".join(CONNECTED[order] for order in orders)
