"""Tables of the couplings: all fits, the six-point predictions, the normalisations of four papers, the action."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import xarray as xr

from nnqft.couplings.conventions import SYMBOLS, CanonicalField, Couplings, gauss_field, translations
from nnqft.figures.running import drawn_model, trusted_orders
from nnqft.figures.table import Table, table

Group = Mapping[str, xr.Dataset]
"""One point set: its dataset of each store."""
Groups = Mapping[str, Group]

NAN = float("nan")
MODES = 3
"""Principal components of the action in a table: the leading ones."""

_OPTIONAL = ("joint", "lower", "upper", "average", "average_stderr", "average_systematic")
"""Columns of what a scan has to ask for."""

DETAIL = (
    *_OPTIONAL,
    "rank", "modes", "condition", "aic", "bic", "heldout", "max_ape_heldout", "nrms_heldout", "chi2_heldout",
    "dof_heldout", "component_mean_stderr", "beta", "beta_stderr", "beta_theory",
)  # fmt: skip
"""Columns of the table of couplings that its LaTeX version leaves out."""

STEPS = ("gp", "lambda", "complete", "G6c")
_FIT = ("chi2", "dof", "p_value", "mape")
_CRITERIA = ("modes", "rank", "condition", "aic", "bic", "log_evidence", "model_weight")
_HELDOUT = ("mape", "max_ape", "nrms", "chi2", "dof", "p_value")
_MEANS = ("_mean", "_mean_stderr", "_spread")
_FAMILY = {"lambda_0": "lambda", "kappa": "kappa"}


def couplings_table(groups: Groups) -> Table:
    """One row per (architecture, width, model, cutoff, coupling of that model or kappa).

    N_value and N_stderr are multiplied by N^power_of_N: 1 for quartic couplings, 2 for kappa. chi2, dof, p_value and
    mape of kappa are those of its own fit; criteria and held-out numbers belong to the quartic fit, NaN for kappa.
    Component means are those of constant couplings: of kappa in the model lambda_0 only. joint, lower, upper: the
    non-linear fit and its signed asymmetric errors; average: over the models (NaN where not asked for).
    """
    columns = (
        "points", "architecture", "width", "model", "cutoff", "coupling", "value", "stderr", "truncation",
        *_OPTIONAL, "power_of_N", "N_value", "N_stderr", *_FIT, *_CRITERIA, "heldout",
        *(f"{name}_heldout" for name in _HELDOUT),
        "component_mean", "component_mean_stderr", "component_spread", "slope", "slope_stderr", "relevance", "beta",
        "beta_stderr", "beta_theory", "trusted", "status",
    )  # fmt: skip
    return table(columns, [row for points, group in groups.items() for row in _couplings(points, group)])


def _couplings(points: str, group: Group) -> Iterator[tuple[Any, ...]]:
    fits, flow = (_arrays(group[stage]) for stage in ("couplings", "flow"))
    trusted = {"lambda": trusted_orders(group["cumulants"], (4,)), "kappa": trusted_orders(group["cumulants"], (4, 6))}
    names, widths, cutoffs, models, heldout = (
        fits[key] for key in ("architecture", "width", "cutoff", "model", "heldout")
    )
    for a, w, m, c in np.ndindex(len(names), len(widths), len(models), len(cutoffs)):
        at, model = (a, w, c, m), str(models[m])
        for coupling in (*model.split("+"), "kappa"):
            sextic, family = coupling == "kappa", _FAMILY.get(coupling)
            power = 2 if sextic else 1
            value, error, wide = (_at(fits, f"{coupling}{end}", at) for end in ("", "_stderr", "_truncation"))
            scale = float(widths[w]) ** power
            means = family is not None and (not sextic or model == "lambda_0")
            asymmetric = (_at(fits, f"{coupling}_{end}", at) for end in ("joint", "lower", "upper"))
            averages = (_at(fits, f"{coupling}_average{end}", at[:3]) for end in ("", "_stderr", "_systematic"))
            yield (
                points, str(names[a]), widths[w], model, cutoffs[c], coupling, value, error, wide, *asymmetric,
                *averages, power,
                scale * value, scale * error, *(_whole(fits[f"kappa_{k}" if sextic else k][at], k) for k in _FIT),
                *(NAN if sextic else fits[key][at] for key in _CRITERIA), str(heldout[a]),
                *(NAN if sextic else _whole(fits[f"{key}_heldout"][at], key) for key in _HELDOUT),
                *(fits[f"{family}{end}"][a, w, c] if means else NAN for end in _MEANS),
                *(flow[f"slope_{family}{end}"][a, w, m] if family else NAN for end in ("", "_stderr")),
                str(flow[f"{family}_relevance"][a, w, m]) if family else "",
                *(flow[f"beta_{family}{end}"][at] if family else NAN for end in ("", "_stderr", "_theory")),
                trusted["kappa" if sextic else "lambda"][a, w], str(fits["status"][at]),
            )  # fmt: skip


def sixpoints_table(groups: Groups) -> Table:
    """One row per (architecture, width, model, step of the prediction); G6c: the connected part alone."""
    columns = (
        "points", "architecture", "width", "model", "step", "mape", "max_ape", "nrms", "chi2", "modes", "p_value",
        "source", "cutoff", "trusted", "status",
    )  # fmt: skip
    sure, rows = _trusted(groups), []
    for points, group in groups.items():
        data = _arrays(group["sixpoints"])
        names, widths, models, status = (data[key] for key in ("architecture", "width", "model", "status"))
        for a, w, m, step in ((*at, s) for at in np.ndindex(len(names), len(widths), len(models)) for s in STEPS):
            found = [
                _at(data, f"{test}_{step}", (a, w, m))
                for test in ("mape", "max_ape", "nrms", "chi2", "modes", "p_value")
            ]
            found[4] = _whole(found[4], "modes")
            rows.append(
                (points, str(names[a]), widths[w], str(models[m]), step, *found,
                 str(data["source"][a, w, m]) if "source" in data else "",
                 data["cutoff"][a] if "cutoff" in data else NAN, sure[str(names[a])][w], str(status[a, w, m]))
            )  # fmt: skip
    return table(columns, rows)


def _trusted(groups: Groups) -> dict[str, np.ndarray]:
    """Whether six-point function and prediction are trusted, (width) bool for each architecture.

    Held-out ones are predicted by couplings from elsewhere, whose correlators count too.
    """
    own = {
        str(name): flags
        for group in groups.values()
        for name, flags in zip(
            group["cumulants"]["architecture"].values, trusted_orders(group["cumulants"], (2, 4, 6)), strict=True
        )
    }
    mains = {
        str(held): str(name)
        for group in groups.values()
        for name, held in zip(*(group["couplings"][key].values for key in ("architecture", "heldout")), strict=True)
        if held
    }
    return {name: flags & own.get(mains.get(name, name), flags) for name, flags in own.items()}


def conventions_table(groups: Groups) -> Table:
    """One row per (architecture, width, normalisation, coupling), at the largest cutoff, for the model in the figures.

    Quartic and sextic couplings of nnqft.couplings.conventions; two-point ones and the normalisation "erbin" where the
    canonical field is known, which has no error. p_value: of the fit of lambda_0 and of kappa.
    """
    columns = (
        "points", "architecture", "width", "cutoff", "model", "normalisation", "coupling", "value", "stderr", "p_value",
        "trusted", "status",
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for points, group in groups.items():
        m = drawn_model(group["couplings"])
        if m is None:
            continue
        fits = _arrays(group["couplings"].isel(model=m, cutoff=int(group["couplings"]["cutoff"].values.argmax())))
        trusted = [trusted_orders(group["cumulants"], orders) for orders in ((2,), (4,), (4, 6))]
        for a, w in np.ndindex(len(fits["architecture"]), len(fits["width"])):
            field = canonical_field(group, a)
            K0 = field.K0 if field else NAN
            values, errors = (
                _translated(two_point, float(fits[f"lambda_0{end}"][a, w]), float(fits[f"kappa{end}"][a, w]), field)
                for two_point, end in ((K0, ""), (0.0, "_stderr"))
            )
            p = NAN, fits["p_value"][a, w], fits["kappa_p_value"][a, w]
            for name, found in values.items():
                for i, symbol in enumerate(SYMBOLS[name]):
                    if i or field:
                        rows.append(
                            (points, str(fits["architecture"][a]), fits["width"][w], float(fits["cutoff"]),
                             str(fits["model"]), name, symbol, found[i], abs(errors[name][i]) if i else 0.0, p[i],
                             trusted[i][a, w], str(fits["status"][a, w]))
                        )  # fmt: skip
    return table(columns, rows)


def canonical_field(group: Group, a: int) -> CanonicalField | None:
    """The canonical field of one architecture where it is known: the Gauss-net's."""
    fits = group["couplings"]
    own = {key: fits[key].values[a] for key in ("network", "activation", "depth", "sigma_w", "options")}
    if (own["network"], own["activation"], int(own["depth"]), own["options"]) != ("mlp", "gauss", 1, "{}"):
        return None
    return gauss_field(float(own["sigma_w"]), group["cumulants"]["x"].shape[1])


def _translated(two_point: float, quartic: float, sextic: float, field: CanonicalField | None) -> dict[str, tuple]:
    """Values in every normalisation; the arrows are linear, so errors go through them like values."""
    found = translations(Couplings("hms", two_point or 1.0, quartic, sextic), field.Z if field else None)
    return {name: (own.two_point, own.quartic, own.sextic) for name, own in found.items()}


def action_table(groups: Groups) -> Table:
    """One row per (architecture, width, principal component): its own g2, g4, g6, and how far they can be trusted.

    `expansion_so_far`: expansion parameter of this component and those before it; `g4_continuum`: of the fitted
    couplings of `model` at the largest cutoff, at leading order like g4_leading, over all kept components at
    `continuum_distance`. One row without numbers where there is no action.
    """
    columns = (
        "points", "architecture", "width", "component", "modes", "g2", "g2_stderr", "g4_leading", "g4_leading_stderr",
        "g4", "g4_stderr", "g6", "g6_stderr", "kurtosis", "expansion_so_far", "expansion_parameter", "condition",
        "model", "g4_continuum", "continuum_distance", "continuum_noise", "trusted", "status",
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for points, group in groups.items():
        data, orders = _arrays(group["action"]), [k for k in (2, 4, 6) if k in group["cumulants"]["order"].values]
        trusted, m = trusted_orders(group["cumulants"], orders), drawn_model(group["action"])
        model = "" if m is None else str(data["model"][m])
        for a, w in np.ndindex(len(data["architecture"]), len(data["width"])):
            kept = int(data["modes"][a]) if "modes" in data else 0
            for k in range(max(1, min(kept, MODES))):
                fit = [
                    NAN if m is None else _at(data, key, (a, w, m)) for key in ("continuum_distance", "continuum_noise")
                ]
                g4 = NAN if m is None else _own(data, "g4_principal_continuum", (a, w, m), 4, k)
                rows.append(
                    (points, str(data["architecture"][a]), data["width"][w], f"u{k}" if kept else "", kept,
                     *(_own(data, f"{g}_principal{end}", (a, w), int(g[1]), k)
                       for g, end in (("g2", ""), ("g2", "_stderr"), ("g4", "_leading"), ("g4", "_leading_stderr"),
                                      ("g4", ""), ("g4", "_stderr"), ("g6", ""), ("g6", "_stderr"))),
                     *(_at(data, key, (a, w, k)) for key in ("kurtosis", "expansion_by_modes")),
                     *(_at(data, key, (a, w)) for key in ("expansion_parameter", "condition")),
                     model, g4, *fit, trusted[a, w], str(data["status"][a, w]))
                )  # fmt: skip
    return table(columns, rows)


def _own(data: Mapping[str, np.ndarray], name: str, at: tuple[int, ...], order: int, k: int) -> float:
    """The component of a packed tensor with all legs at k; NaN where there is no such tensor."""
    legs = data.get({2: "pair_points", 4: "quad_points", 6: "sext_points"}[order])
    if name not in data or legs is None:
        return NAN
    return float(data[name][at][int(np.flatnonzero((legs == k).all(axis=1))[0])])


def _arrays(dataset: xr.Dataset) -> dict[str, np.ndarray]:
    """All variables but replicates, and coordinates, as arrays in memory."""
    return {str(k): v.values for k, v in dataset.variables.items() if not str(k).endswith("_replicate")}


def _at(data: Mapping[str, np.ndarray], name: str, at: tuple[int, ...]) -> float:
    """One number; NaN where the store has no such variable."""
    return float(data[name][at]) if name in data else NAN


def _whole(value: Any, name: str) -> Any:
    """A count as a whole number where it is one."""
    return int(value) if name in ("dof", "modes") and np.isfinite(value) else value
