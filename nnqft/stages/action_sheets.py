"""What the report says about the effective action: six-point predictions, normalisations, the action on the points."""

import numpy as np

from nnqft.couplings.conventions import SYMBOLS
from nnqft.couplings.finite_set import EXPANSION_LIMIT
from nnqft.figures.numbers import MISSING, p_text, plain, with_error
from nnqft.figures.running import REJECTED, drawn_model, smallest_width, trusted_orders
from nnqft.report.render import Sheet
from nnqft.stages.coupling_tables import Groups, action_table, conventions_table, sixpoints_table
from nnqft.stages.sheets import FEW, Record, a_few, outcome, percent, ratio, records_of, sheet

_ACTIONS = {
    "hms": "HMS: f²/2K0 + λf⁴ + κf⁶",
    "demirtas": "Demirtas: g2f²/2 + g4f⁴/4! + g6f⁶/6!",
    "ryh": "Roberts: gf²/2 − vf⁴/8 − uf⁶/48",
    "erbin": "Erbin: u2φ²/2 + u4φ⁴/4! + u6φ⁶/6!",
}
_GREEK = {"lambda": "λ", "kappa": "κ"}


def sixpoints_sheet(groups: Groups) -> Sheet:
    """How well the steps of the prediction describe the six-point function, for the first of the smallest models."""
    rows, marks = [], []
    cells: dict[tuple[str, int, str], dict[str, Record]] = {}
    for row in records_of(sixpoints_table(groups)):
        cells.setdefault((str(row["architecture"]), int(row["width"]), str(row["model"])), {})[str(row["step"])] = row
    few = a_few(groups, (2, 4, 6))
    for (architecture, width, model), steps in cells.items():
        gp, quartic, complete = (steps[step] for step in ("gp", "lambda", "complete"))
        if model != _model(groups, architecture) or width not in few[architecture] or not np.isfinite(gp["mape"]):
            continue
        word, mark = outcome(float(complete["p_value"]), bool(complete["trusted"]))
        if mark == "good" and gp["p_value"] >= REJECTED:
            word, mark = "within errors, as the free theory is", ""
        if complete["status"]:
            word = str(complete["status"])
        source = str(complete["source"]).removesuffix(" of the components")
        rows.append(
            (architecture, str(width), f"{complete['cutoff']:g}", source,
             *(percent(step["mape"]) for step in (gp, quartic, complete)), percent(complete["max_ape"]),
             ratio(complete["chi2"], complete["modes"]), p_text(complete["p_value"]), word)
        )  # fmt: skip
        marks.append(mark)
    return sheet(
        "Six-point prediction",
        "G⁽⁶⁾ = Σ₁₅ KKK + Σ₁₅ K G⁽⁴⁾_c[λ] + trees(λ, λ) − 720 κ ∫Π K_w, step by step: mean |G⁽⁶⁾ − prediction| / "
        "|G⁽⁶⁾| of the free theory, with λ₀, and complete; κ comes from other points or from the other half of the "
        "components, never from those that it predicts. χ² of the complete prediction is over independent combinations "
        "of all components, with the errors of both sides: what is off by a small percentage can still be far outside "
        f"the errors. {FEW}; all: tables/sixpoints.csv.",
        ("architecture", "N", "Λ", "κ from", "free", "with λ", "complete", "largest error", "χ² / modes", "p",
         "complete prediction"),
        rows, marks,
    )  # fmt: skip


def conventions_sheet(groups: Groups) -> Sheet:
    """The couplings of every architecture in four normalisations, at one width."""
    rows, marks = [], []
    chosen = {
        str(name): int(group["cumulants"]["width"].values[smallest_width(group["cumulants"]["width"].values, good)])
        for group in groups.values()
        for name, good in zip(
            group["cumulants"]["architecture"].values, trusted_orders(group["cumulants"], (4,)), strict=True
        )
    }
    cells: dict[str, dict[str, Record]] = {}
    for row in records_of(conventions_table(groups)):
        if row["width"] == chosen[str(row["architecture"])]:
            cells.setdefault(str(row["architecture"]), {})[str(row["coupling"])] = row
    for architecture, mine in cells.items():
        for name, (two_point, quartic, sextic) in SYMBOLS.items():
            found = {symbol: mine[symbol] for symbol in (quartic, sextic) if symbol in mine}
            shown = [row for row in found.values() if np.isfinite(row["value"])]
            if not shown:
                continue
            doubtful = any(not row["trusted"] for row in shown)
            rejected = [_GREEK.get(symbol, symbol) for symbol, row in found.items() if row["p_value"] < REJECTED]
            word = "not converged" if doubtful else f"{' and '.join(rejected)} not constant" if rejected else ""
            rows.append(
                (architecture, str(shown[0]["width"]), f"{shown[0]['cutoff']:g}", _ACTIONS[name],
                 *(f"{_GREEK.get(symbol, symbol)} = {with_error(mine[symbol]['value'], mine[symbol]['stderr'])}"
                   if symbol in mine and np.isfinite(mine[symbol]["value"]) else MISSING
                   for symbol in (two_point, quartic, sextic)), word)
            )  # fmt: skip
            marks.append("doubt" if doubtful else "bad" if rejected else "")
    return sheet(
        "Couplings in the normalisations of four papers",
        "One action, as Halverson, Maiti and Stoner, as Demirtas et al., as Roberts, Yaida and Hanin, and as Erbin et "
        "al. write it: signs and factorials are why published numbers look different. f is the output without its "
        "bias, φ = √Z f the canonical field; K0, the kernel at zero momentum, and Z are known for the Gauss-net. At "
        "the largest cutoff and the smallest width whose G⁽⁴⁾_c is trusted; all widths: "
        "tables/conventions.csv, derivations: docs/couplings-conventions.md.",
        ("architecture", "N", "Λ", "action", "two-point", "quartic", "sextic", "remark"),
        rows, marks,
    )  # fmt: skip


def action_sheet(groups: Groups) -> Sheet:
    """The action on the points: its first principal component, and whether the series makes sense."""
    rows, marks = [], []
    few = a_few(groups, (2, 4))
    for row in records_of(action_table(groups)):
        if row["component"] != "u0" or row["width"] not in few[str(row["architecture"])]:
            continue
        N, size = int(row["width"]), float(row["expansion_parameter"])
        doubts = {"not converged": not row["trusted"], "series not reliable": not size <= EXPANSION_LIMIT}
        word = "; ".join(doubt for doubt, there in doubts.items() if there)
        distance = f"{plain(row['continuum_distance'], 2)} ({plain(row['continuum_noise'], 2)})"
        rows.append(
            (str(row["architecture"]), str(N), str(row["modes"]), plain(row["condition"], 2), plain(size, 2),
             with_error(N * row["g4_leading"], N * row["g4_leading_stderr"]),
             with_error(N * row["g4"], N * row["g4_stderr"]), with_error(N**2 * row["g6"], N**2 * row["g6_stderr"]),
             distance if np.isfinite(row["continuum_distance"]) else MISSING, word)
        )  # fmt: skip
        marks.append("doubt" if word else "")
    return sheet(
        "Action on the points",
        "The couplings of the density exp(−S) of the outputs at the points themselves, S = g₂ u u / 2 + g₄ u⁴ / 4! + "
        "g₆ u⁶ / 6!, by amputation, without cutoff or fit: of the first principal component u₀, g₄ at leading and at "
        "next to leading order in 1/N. The series is reliable where the expansion parameter, which bounds the kurtosis "
        f"of all combinations of outputs, is at most {EXPANSION_LIMIT:g}. Distance: between leading g₄ and that of the "
        "fitted continuum coupling over all kept components, relative (noise); one coupling can always describe one "
        f"component. {FEW}; all: tables/action.csv.",
        ("architecture", "N", "components", "condition", "expansion parameter", "N g₄ leading", "N g₄", "N² g₆",
         "distance (noise)", "remark"),
        rows, marks,
    )  # fmt: skip


def _model(groups: Groups, architecture: str) -> str:
    """The model in the figures: {lambda_0}, or the first of the smallest with lambda_0, or the first."""
    group = next(g for g in groups.values() if architecture in g["sixpoints"]["architecture"].values)
    m = drawn_model(group["sixpoints"])
    return str(group["sixpoints"]["model"].values[m or 0])
