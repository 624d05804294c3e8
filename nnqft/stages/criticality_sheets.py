"""What tables, report and `nnqft verify` say about criticality and trainability."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr
from scipy.special import chdtrc, stdtr

from nnqft.estimation.agreement import SINGLE_ROUNDING, combined_p, look_elsewhere
from nnqft.figures.numbers import p_text, plain, with_error
from nnqft.figures.table import Table, table
from nnqft.report.render import Sheet
from nnqft.stages.sheets import percent, ratio, sheet

Groups = Mapping[str, xr.Dataset]
Mark = Literal["good", "bad", "doubt"]
SIGNIFICANCE = 1e-4
ZERO = 1e-12
THEORY = (
    "q_star", "c_star", "chi_par", "chi_perp", "xi_q", "xi_c", "lyapunov_theory", "d_lambda_par", "d_lambda_perp",
)  # fmt: skip
MEASURED = (
    "xi_q_measured", "xi_c_measured", "xi_q_decay", "xi_c_decay", "lambda_par", "lambda_perp", "lambda_pair",
    "lyapunov", "lyapunov_annealed", "critical_sigma_w", "dimension", "entropy",
)  # fmt: skip
RATES = {"par": ("λ∥", "chi_par"), "perp": ("λ⊥", "chi_perp")}


@dataclass(frozen=True)
class Exact:
    """Every comparison with a result that holds at any width: how many, the largest pull and where, two p-values."""

    components: int
    worst: float
    where: str
    p_worst: float
    p_combined: float


def exact_tests(groups: Groups) -> Exact:
    """Pulls of what is exact at every width: E Khat and n Cov Khat of the second layer, C(1, 1) and C(0, 1).

    The second layer is a sum over n iid neurons whose preactivations are Gaussian: E Khat = K, Cov Khat = S / n. h_0 is
    Gaussian and independent of W: E h_1 . h_1 / N = sigma_w^2 <phi^2> + sigma_b^2 + D, of h_0 . h_1 zero without leak.
    """
    pulls, labels, p_values, dof = [], [], [], []
    for points, data in groups.items():
        for a, w in np.ndindex(data.sizes["architecture"], data.sizes["width"]):
            mine = np.concatenate([np.ravel(part) for part in _pulls(data.isel(architecture=a, width=w))] or [[]])
            mine = mine[np.isfinite(mine)]
            if mine.size:
                label = f"{points} {data['architecture'].values[a]} N={data['width'].values[w]}"
                pulls.append(mine)
                labels += [label] * len(mine)
                dof.append(int(data["groups"].values[a, w]) - 1)
                p_values.append(2 * float(stdtr(dof[-1], -abs(mine[0]))))
    everything = np.abs(np.concatenate(pulls)) if pulls else np.zeros(0)
    if not everything.size:
        return Exact(0, np.nan, "", np.nan, np.nan)
    at = int(np.argmax(everything))
    worst = float(everything[at])
    p_worst = look_elsewhere(worst, len(everything), min(dof))
    return Exact(len(everything), worst, labels[at], p_worst, combined_p(np.array(p_values)))


def _pulls(x: xr.Dataset) -> list[np.ndarray]:
    found = []
    if "V_measured" in x and x.sizes["layer"] > 1:
        upper = np.triu_indices(x.sizes["pair"])
        V = [x[name].values[1][upper] for name in ("V_measured", "V_pairs", "V_measured_stderr")]
        found += [_pull(*V), _pull(x["G1_measured"].values[1], 0.0, x["G1_measured_stderr"].values[1])]
    if "two_time" in x and x.sizes["time"] > 1:
        entries = ([1], [1]) if '"leak"' in str(x["options"].values) else ([1, 0], [1, 1])
        found.append(_pull(*(x[name].values[entries] for name in ("two_time", "two_time_theory", "two_time_stderr"))))
    return found


def _pull(value: np.ndarray, prediction: Any, error: np.ndarray) -> np.ndarray:
    """Zero where both agree to rounding of float32."""
    with np.errstate(divide="ignore", invalid="ignore"):
        same = np.abs(value - prediction) <= SINGLE_ROUNDING * np.abs(value)
        return np.where(same, np.nan, (value - prediction) / error)


def judge_criticality(exact: Exact) -> tuple[Mark, str, tuple[str, ...]]:
    """Colour, headline and facts for the box at the top of the report."""
    if not exact.components:
        return "doubt", "Criticality: nothing to compare with exact results", ()
    p = min(exact.p_worst, exact.p_combined)
    fact = (
        f"Criticality: the largest of {exact.components} pulls against results that are exact at every width (second "
        f"layer, first time step) is {plain(exact.worst)} ({exact.where}), p ≤ {p_text(exact.p_worst)} among so many; "
        f"combined p = {p_text(exact.p_combined)}."
    )
    if p < SIGNIFICANCE:
        return "bad", "Criticality: measurements differ from what is exact at every width", (fact,)
    return "good", "Criticality: measurements agree with all that is exact at every width", (fact,)


def criticality_table(groups: Groups) -> Table:
    """One row per (architecture, width): theory, corrections, measurements with errors, and what to know of them."""
    names = ("xi_q_corrected", "xi_c_corrected")
    pairs = [name + end for name in MEASURED for end in ("", "_stderr")]
    columns = ("points", "architecture", "network", "activation", "depth", "sigma_w", "sigma_b", "width", *THEORY,
               *names, *pairs, "untrusted", "status")  # fmt: skip
    rows = []
    for points, data in groups.items():
        for a, w in np.ndindex(data.sizes["architecture"], data.sizes["width"]):
            x = data.isel(architecture=a, width=w)
            law = [x[key].item() for key in ("architecture", "network", "activation", "depth", "sigma_w", "sigma_b")]
            numbers = [float(x[name]) if name in x else np.nan for name in (*THEORY, *names, *pairs)]
            rows.append((points, *law, int(x["width"]), *numbers, "; ".join(_untrusted(x)), str(x["status"].item())))
    return table(columns, rows)


def _untrusted(x: xr.Dataset) -> list[str]:
    """Finite measurements that are not to be trusted."""
    return [n for n in MEASURED if f"{n}_trusted" in x and np.isfinite(x[n]) and not bool(x[f"{n}_trusted"])]


def scales_sheet(groups: Groups) -> Sheet:
    """Depth scales and exponents of every (architecture, width)."""
    rows, marks = [], []
    for row in criticality_table(groups).records():

        def number(name: str, row: dict = row) -> str:
            return with_error(float(row[name]), float(row[f"{name}_stderr"]))

        rows.append((
            str(row["architecture"]), str(row["width"]),
            plain(float(row["xi_q"])), plain(float(row["xi_q_corrected"])), number("xi_q_measured"),
            plain(float(row["xi_c"])), plain(float(row["xi_c_corrected"])), number("xi_c_measured"),
            plain(_rounded(float(row["lyapunov_theory"]))), number("lyapunov"), number("lyapunov_annealed"),
            number("critical_sigma_w"), str(row["untrusted"]) or str(row["status"]),
        ))  # fmt: skip
        marks.append("doubt" if row["untrusted"] else "")
    return sheet(
        "Depth scales and Lyapunov exponents",
        "ξ in layers: mean field, at order 1/N, measured (annealed). λ: mean field, measured quenched and annealed, "
        "per layer or step. σ_w*: where the quenched exponent of the sweep of σ_w changes sign. Last column: what is "
        "not to be trusted, or what is special. docs/criticality.md; all numbers: tables/criticality.csv.",
        ("architecture", "N", "ξ_q", "1/N", "measured", "ξ_c", "1/N", "measured", "λ", "quenched", "annealed", "σ_w*",
         "remark"),
        rows, marks,
    )  # fmt: skip


def _rounded(value: float) -> float:
    """Zero for what is zero but for rounding."""
    return 0.0 if abs(value) < ZERO else value


def orders_sheet(groups: Groups) -> Sheet:
    """Chi^2 of the measured rates of ordered perceptrons against mean field, and with the correction of order 1/N."""
    rows, marks = [], []
    for rate, (symbol, plainly) in RATES.items():
        squares: dict[int, list[tuple[float, float]]] = {}
        for data in groups.values():
            if f"lambda_{rate}" not in data:
                continue
            for w, width in enumerate(data["width"].values):
                x = data.isel(width=w)
                off = x[f"lambda_{rate}"] - x[plainly]
                for d in (off, off - x[f"d_lambda_{rate}"] / width):
                    pull = (d / x[f"lambda_{rate}_stderr"]).values
                    good = np.isfinite(pull) & x[f"lambda_{rate}_trusted"].values & np.isfinite(x[f"d_lambda_{rate}"])
                    squares.setdefault(int(width), []).append((float((pull[good] ** 2).sum()), int(good.sum())))
        for width, found in squares.items():
            free, corrected = (np.sum(found[i::2], axis=0) for i in (0, 1))
            if not free[1]:
                continue
            p = float(chdtrc(corrected[1], corrected[0]))
            better = corrected[0] < free[0]
            word = "agrees" if p > 0.01 else ("better" if better else "not better")
            rows.append((symbol, str(width), str(int(free[1])), ratio(*free), ratio(*corrected), p_text(p), word))
            marks.append("good" if p > 0.01 else ("" if better else "bad"))
    return sheet(
        "Order 1/N of the rates",
        "Measured annealed rates per layer of perceptrons in the ordered phase (and λ∥ in the chaotic one) against "
        "mean field, and against mean field + d/N. χ² over the architectures; p of the corrected one. “better”: the "
        "next order shows, but the correction helps.",
        ("rate", "N", "architectures", "χ² mean field", "χ² with d/N", "p", "verdict"),
        rows, marks,
    )  # fmt: skip


def trainability_table(maps: Groups) -> Table:
    """One row per (map, sigma_w, depth)."""
    columns = ("map", "data", "activation", "width", "sigma_w", "sigma_b", "depth", "xi_c", "accuracy",
               "accuracy_stderr", "test_accuracy", "test_accuracy_stderr", "trained", "trained_low", "trained_high",
               "trainable_depth", "trainable_depth_stderr", "trainable_depth_over_xi_c", "status")  # fmt: skip
    rows = []
    for name, data in maps.items():
        for s, d in np.ndindex(data.sizes["sigma_w"], data.sizes["depth"]):
            x = data.isel(sigma_w=s, depth=d)
            own = [x[key].item() for key in columns[1:-1]]
            rows.append((name, *own, str(x["trainable_depth_status"].item())))
    return table(columns, rows)


def trainability_sheet(maps: Groups) -> Sheet:
    """The trainable depth at every sigma_w of every map."""
    rows = []
    for name, data in maps.items():
        for s in range(data.sizes["sigma_w"]):
            x = data.isel(sigma_w=s)
            good = x["depth"].values[x["accuracy"].values > 0.95]
            rows.append((
                name, f"{float(x['sigma_w']):g}", plain(float(x["xi_c"])),
                with_error(float(x["trainable_depth"]), float(x["trainable_depth_stderr"])),
                with_error(float(x["trainable_depth_over_xi_c"]), float(x["trainable_depth_over_xi_c_stderr"])),
                str(int(good.max())) if good.size else "none", percent(100 * float(x["accuracy"].values[-1])),
                str(x["trainable_depth_status"].item()),
            ))  # fmt: skip
    return sheet(
        "Trainability",
        "Depth at which the mean training accuracy falls through one half, in layers and over ξ_c; the largest depth "
        "with more than 95%; accuracy at the largest. docs/trainability.md; all numbers: tables/trainability.csv.",
        ("map", "σ_w", "ξ_c", "trainable depth", "over ξ_c", "95% up to", "at the deepest", "remark"),
        rows, [""] * len(rows),
    )  # fmt: skip
