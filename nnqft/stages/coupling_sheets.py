"""What the report says about the couplings beyond lambda_0: kappa, predictions, models, conventions, the action."""

from collections.abc import Iterable, Iterator

import numpy as np

from nnqft.couplings.comparison import weights
from nnqft.couplings.conventions import SYMBOLS
from nnqft.couplings.finite_set import EXPANSION_LIMIT
from nnqft.figures.couplings import REJECTED, drawn_model, few_widths, running_couplings, trusted_orders
from nnqft.figures.numbers import MISSING, p_text, plain, with_error
from nnqft.figures.sextic import SEXTIC
from nnqft.figures.sixpoints import smallest_width
from nnqft.report.render import Sheet
from nnqft.stages.coupling_tables import Groups, action_table, conventions_table, couplings_table, sixpoints_table
from nnqft.stages.sheets import ratio, running, running_mark, sheet

FEW = "At most four widths, evenly spread over the trusted ones"
DECISIVE = 1.0
"""Difference of log evidence below which two models are equally good."""

Record = dict


def coupling_sheets(groups: Groups) -> tuple[Sheet, ...]:
    """The sheets that have something to say, in order."""
    fits = list(couplings_table(groups).records())
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
        word, mark = _outcome(row["p_value_heldout"], trusted)
        rows.append(
            (row["architecture"], str(row["width"]), row["model"], row["heldout"].rpartition("@")[2],
             p_text(row["p_value"]), *map(_percent, (row["mape_heldout"], row["max_ape_heldout"])),
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


def sixpoints_sheet(groups: Groups) -> Sheet:
    """How well the steps of the prediction describe the six-point function, for the first of the smallest models."""
    rows, marks = [], []
    cells: dict[tuple[str, int, str], dict[str, Record]] = {}
    for row in sixpoints_table(groups).records():
        cells.setdefault((str(row["architecture"]), int(row["width"]), str(row["model"])), {})[str(row["step"])] = row
    few = _few(groups, (2, 4, 6))
    for (architecture, width, model), steps in cells.items():
        gp, quartic, complete = (steps[step] for step in ("gp", "lambda", "complete"))
        if model != _model(groups, architecture) or width not in few[architecture] or not np.isfinite(gp["mape"]):
            continue
        word, mark = _outcome(float(complete["p_value"]), bool(complete["trusted"]))
        if mark == "good" and gp["p_value"] >= REJECTED:
            word, mark = "within errors, as the free theory is", ""
        if complete["status"]:
            word = str(complete["status"])
        source = str(complete["source"]).removesuffix(" of the components")
        rows.append(
            (architecture, str(width), f"{complete['cutoff']:g}", source,
             *(_percent(step["mape"]) for step in (gp, quartic, complete)), _percent(complete["max_ape"]),
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
    for row in conventions_table(groups).records():
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
    few = _few(groups, (2, 4))
    for row in action_table(groups).records():
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
             distance if row["modes"] > 1 else MISSING, word)
        )  # fmt: skip
        marks.append("doubt" if word else "")
    return sheet(
        "Action on the points",
        "The couplings of the density exp(−S) of the outputs at the points themselves, S = g₂ u u / 2 + g₄ u⁴ / 4! + "
        "g₆ u⁶ / 6!, by amputation, without cutoff or fit: of the first principal component u₀, g₄ at leading and at "
        "next to leading order in 1/N. The series is reliable where the expansion parameter, which bounds the kurtosis "
        f"of all combinations of outputs, is at most {EXPANSION_LIMIT:g}. Distance: between leading g₄ and that of the "
        "fitted continuum coupling over all kept components, relative (noise); with one component it is no test. "
        f"{FEW}; all: tables/action.csv.",
        ("architecture", "N", "components", "condition", "expansion parameter", "N g₄ leading", "N g₄", "N² g₆",
         "distance (noise)", "remark"),
        rows, marks,
    )  # fmt: skip


_ACTIONS = {
    "hms": "HMS: f²/2K0 + λf⁴ + κf⁶",
    "demirtas": "Demirtas: g2f²/2 + g4f⁴/4! + g6f⁶/6!",
    "ryh": "Roberts: gf²/2 − vf⁴/8 − uf⁶/48",
    "erbin": "Erbin: u2φ²/2 + u4φ⁴/4! + u6φ⁶/6!",
}
_GREEK = {"lambda": "λ", "kappa": "κ"}


def _cells(records: Iterable[Record]) -> dict[tuple[str, int], list[Record]]:
    """Rows by (architecture, width)."""
    found: dict[tuple[str, int], list[Record]] = {}
    for row in records:
        found.setdefault((str(row["architecture"]), int(row["width"])), []).append(row)
    return found


def _chosen(groups: Groups, fits: list[Record]) -> Iterator[Record]:
    """The first coupling of every model at the largest cutoff and a few widths."""
    few, cutoff = _few(groups, (4,)), max((row["cutoff"] for row in fits), default=0.0)
    for row in fits:
        first = row["coupling"] == row["model"].split("+")[0]
        if first and row["cutoff"] == cutoff and row["width"] in few[row["architecture"]]:
            yield row


def _few(groups: Groups, orders: tuple[int, ...]) -> dict[str, set[int]]:
    """A few widths of each architecture, trusted ones if there are any."""
    found = {}
    for group in groups.values():
        data = group["cumulants"]
        widths = data["width"].values
        for name, good in zip(data["architecture"].values, trusted_orders(data, orders), strict=True):
            found[str(name)] = {int(widths[w]) for w in few_widths(widths, good)}
    return found


def _trusted_quartic(groups: Groups) -> dict[str, dict[int, bool]]:
    """Whether G4c is trusted, by architecture and width."""
    return {
        str(name): dict(zip(group["cumulants"]["width"].values.tolist(), good.tolist(), strict=True))
        for group in groups.values()
        for name, good in zip(
            group["cumulants"]["architecture"].values, trusted_orders(group["cumulants"], (4,)), strict=True
        )
    }


def _model(groups: Groups, architecture: str) -> str:
    """The model in the figures: {lambda_0}, or the first of the smallest with lambda_0, or the first."""
    group = next(g for g in groups.values() if architecture in g["sixpoints"]["architecture"].values)
    m = drawn_model(group["sixpoints"])
    return str(group["sixpoints"]["model"].values[m or 0])


def _outcome(p: float, trusted: bool) -> tuple[str, str]:
    """Verdict and colour of a prediction with that p."""
    if not np.isfinite(p):
        return "no test", ""
    if not trusted:
        return "not converged", "doubt"
    return ("outside errors", "bad") if p < REJECTED else ("within errors", "good")


def _percent(value: float) -> str:
    """A percentage with two digits."""
    return f"{plain(value, 2)}%" if np.isfinite(value) else MISSING
