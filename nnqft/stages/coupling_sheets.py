"""What the report says about the couplings beyond lambda_0: kappa, held-out points, models."""

from collections.abc import Iterable, Iterator

import numpy as np

from nnqft.couplings.comparison import weights
from nnqft.figures.numbers import MISSING, p_text, plain, with_error
from nnqft.figures.running import REJECTED, SEXTIC, running_couplings, trusted_orders
from nnqft.report.render import Sheet
from nnqft.stages.action_sheets import action_sheet, conventions_sheet, sixpoints_sheet
from nnqft.stages.coupling_tables import Groups, couplings_table
from nnqft.stages.sheets import FEW, Record, a_few, outcome, percent, ratio, records_of, running, running_mark, sheet

DECISIVE = 1.0
"""Difference of log evidence below which two models are equally good."""


def coupling_sheets(groups: Groups) -> tuple[Sheet, ...]:
    """The sheets that have something to say, in order."""
    fits = records_of(couplings_table(groups))
    made = (
        sextic_sheet(groups), heldout_sheet(groups, fits), models_sheet(groups, fits), sixpoints_sheet(groups),
        conventions_sheet(groups), action_sheet(groups),
    )  # fmt: skip
    return tuple(one for one in made if one.rows)


def sextic_sheet(groups: Groups) -> Sheet:
    """Kappa of the model in the figure: at the ends of the cutoffs, its slope, its mean over components."""
    rows, marks = [], []
    for group in groups.values():
        fits, flow = group["couplings"], group["flow"]
        records = running_couplings(fits, flow, trusted_orders(group["cumulants"], SEXTIC.orders), SEXTIC).records()
        for (architecture, width), mine in _cells(row for row in records if row["drawn"]).items():
            if not any(np.isfinite(row["kappa"]) for row in mine):
                continue
            words = running(sorted(mine, key=lambda row: row["cutoff"]), SEXTIC)
            at = {"architecture": architecture, "width": width, "cutoff": fits["cutoff"].values.max()}
            value, error, spread = (
                float(fits[key].sel(at)) for key in ("kappa_mean", "kappa_mean_stderr", "kappa_spread")
            )
            mean = f"{with_error(width**2 * value, width**2 * error)} ({plain(100 * spread, 2)}%)"
            rows.append((architecture, str(width), *words[:-1], mean if np.isfinite(value) else MISSING, words[-1]))
            marks.append(running_mark(words[-1]))
    return sheet(
        "Sextic coupling",
        "κ is what the six-point function needs beyond the trees of two quartic vertices: G⁽⁶⁾_c = Σ trees(λ, λ) − "
        "720 κ ∫dy Π K_w(xᵢ,y). Columns as for λ₀, with N² in place of N; errors contain those of λ₀. Where a constant "
        f"κ is rejected its value is only an average. {FEW}; all: tables/couplings.csv.",
        ("architecture", "N", "N² κ at Λ min", "N² κ at Λ max", "χ² / dof", "p", "slope s", "N² κ Λ⁻ˢ",
         "N² κ̄ at Λ max (spread)", "constant κ"),
        rows, marks,
    )  # fmt: skip


def heldout_sheet(groups: Groups, fits: list[Record]) -> Sheet:
    """Whether couplings fitted on some points predict G4c on others."""
    rows, marks = [], []
    sure = _trusted_quartic(groups)
    for row in _chosen(groups, fits):
        if not (row["heldout"] and np.isfinite(row["mape_heldout"])):
            continue
        trusted = row["trusted"] and sure[row["heldout"]][row["width"]]
        word, mark = outcome(row["p_value_heldout"], trusted)
        rows.append(
            (row["architecture"], str(row["width"]), row["model"], row["heldout"].rpartition("@")[2],
             p_text(row["p_value"]), *map(percent, (row["mape_heldout"], row["max_ape_heldout"])),
             ratio(row["chi2_heldout"], row["dof_heldout"]), p_text(row["p_value_heldout"]), word)
        )  # fmt: skip
        marks.append(mark)
    return sheet(
        "Held-out prediction",
        "Couplings fitted on one point set, at the largest cutoff, predict the four-point function on another, "
        "measured on independent networks: mean and largest |G⁽⁴⁾_c − prediction| / |G⁽⁴⁾_c|, and χ² of the difference "
        f"with the errors of both sides, which says whether it is more than noise. {FEW}; models that could not be "
        "fitted are left out; all: tables/couplings.csv.",
        ("architecture", "N", "model", "held-out points", "p of the fit", "mean error", "largest error", "χ² / modes",
         "p", "verdict"),
        rows, marks,
    )  # fmt: skip


def models_sheet(groups: Groups, fits: list[Record]) -> Sheet:
    """Which model the data prefer, where there is more than one."""
    rows, marks = [], []
    cells: dict[tuple[str, int], list[Record]] = {}
    for row in _chosen(groups, fits):
        cells.setdefault((row["architecture"], row["width"]), []).append(row)
    for (architecture, width), mine in cells.items():
        known = [row for row in mine if np.isfinite(row["log_evidence"])]
        if len(mine) < 2 or not known:
            continue
        ranked = sorted(known, key=lambda row: -row["log_evidence"])
        best, aic = ranked[0], min(known, key=lambda row: row["aic"])
        share = weights([row["log_evidence"] for row in ranked])[0]
        lead = best["log_evidence"] - ranked[1]["log_evidence"] if len(ranked) > 1 else float("nan")
        if not best["trusted"]:
            word, mark = "G4c not converged", "doubt"
        elif best["p_value"] < REJECTED:
            word, mark = "rejected too", "bad"
        elif len(ranked) < 2:
            word, mark = "nothing to compare", ""
        elif lead < DECISIVE:
            word, mark = "undecided", "doubt"
        else:
            word, mark = "preferred" if best is aic else "evidence and AIC differ", "good" if best is aic else "doubt"
        rows.append(
            (architecture, str(width), f"{len(known)} of {len(mine)}", best["model"], f"{share:.3f}", plain(lead),
             aic["model"], p_text(best["p_value"]), word)
        )  # fmt: skip
        marks.append(mark)
    return sheet(
        "Comparison of models",
        "Which set of couplings describes G⁽⁴⁾_c best at the largest cutoff. Evidence: the probability of the data in "
        "a model whose couplings have a natural size, which punishes couplings that are not needed; its weight among "
        "the models compared, and the lead in log evidence over the next one (below 1: undecided). AIC: χ² + 2 × "
        "number of couplings. Models that leave no mode over cannot be compared. A preferred model can still be wrong: "
        f"p is that of its fit. {FEW}; all: tables/couplings.csv.",
        ("architecture", "N", "models compared", "by evidence", "weight", "lead", "by AIC", "p", "verdict"),
        rows, marks,
    )  # fmt: skip


def _cells(records: Iterable[Record]) -> dict[tuple[str, int], list[Record]]:
    """Rows by (architecture, width)."""
    found: dict[tuple[str, int], list[Record]] = {}
    for row in records:
        found.setdefault((str(row["architecture"]), int(row["width"])), []).append(row)
    return found


def _chosen(groups: Groups, fits: list[Record]) -> Iterator[Record]:
    """The first coupling of every model at the largest cutoff and a few widths."""
    few, cutoff = a_few(groups, (4,)), max((row["cutoff"] for row in fits), default=0.0)
    for row in fits:
        first = row["coupling"] == row["model"].split("+")[0]
        if first and row["cutoff"] == cutoff and row["width"] in few[row["architecture"]]:
            yield row


def _trusted_quartic(groups: Groups) -> dict[str, dict[int, bool]]:
    """Whether G4c is trusted, by architecture and width."""
    return {
        str(name): dict(zip(group["cumulants"]["width"].values.tolist(), good.tolist(), strict=True))
        for group in groups.values()
        for name, good in zip(
            group["cumulants"]["architecture"].values, trusted_orders(group["cumulants"], (4,)), strict=True
        )
    }
