"""Which couplings, widths and models figures, tables and sheets show, and the numbers of a running coupling."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from nnqft.figures.table import Table, table

REJECTED = 1e-3
"""p-value below which a constant coupling is said to be rejected."""

WIDTHS = 4
"""Widths that one panel can tell apart."""


@dataclass(frozen=True)
class Coupling:
    """One coupling as it is drawn: its names in the stores, its power of 1/N, and the correlators that it needs.

    name: in ``couplings.zarr``; family: in ``flow.zarr`` (slope_lambda); goodness: prefix of chi2, dof and p_value.
    """

    name: str
    family: str
    goodness: str
    power: int
    orders: tuple[int, ...]
    symbol: str

    @property
    def scaled(self) -> str:
        """Name of N^power times the coupling: N_lambda_0, N2_kappa."""
        return f"N{self.power if self.power > 1 else ''}_{self.name}"

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the plotted numbers."""
        return (
            "architecture", "model", "width", "cutoff", self.name, f"{self.name}_stderr", self.scaled,
            f"{self.scaled}_stderr", "slope", "slope_stderr", "chi2", "dof", "p_value", "trusted", "drawn",
        )  # fmt: skip


QUARTIC = Coupling("lambda_0", "lambda", "", 1, (4,), r"\lambda_0")
SEXTIC = Coupling("kappa", "kappa", "kappa_", 2, (4, 6), r"\kappa")


def running_couplings(
    couplings: xr.Dataset, flow: xr.Dataset, trusted: np.ndarray, coupling: Coupling = QUARTIC
) -> Table:
    """One row per (architecture, width, cutoff) for the model that is drawn; trusted: (architecture, width) bool."""
    m = drawn_model(couplings)
    if m is None:
        return table(coupling.columns, [])
    keys = (
        coupling.name,
        f"{coupling.name}_stderr",
        *(f"{coupling.goodness}{key}" for key in ("chi2", "dof", "p_value")),
    )
    values, errors, chi2, dof, p = (couplings[key].values[..., m] for key in keys)
    slope, slope_error = (flow[f"slope_{coupling.family}{end}"].values[..., m] for end in ("", "_stderr"))
    widths, cutoffs = couplings["width"].values, couplings["cutoff"].values
    rows = []
    for a, architecture in enumerate(couplings["architecture"].values):
        chosen = few_widths(widths, trusted[a] & np.isfinite(values[a]).any(axis=-1))
        for w, c in np.ndindex(len(widths), len(cutoffs)):
            at, scale = (a, w, c), float(widths[w]) ** coupling.power
            rows.append(
                (str(architecture), str(couplings["model"].values[m]), widths[w], cutoffs[c], values[at], errors[at],
                 scale * values[at], scale * errors[at], slope[a, w], slope_error[a, w], chi2[at], dof[at], p[at],
                 trusted[a, w], w in chosen)
            )  # fmt: skip
    return table(coupling.columns, rows)


def drawn_model(couplings: xr.Dataset) -> int | None:
    """Position of {lambda_0}, or of the first of the smallest models with lambda_0 in it; None without any."""
    models = [str(m).split("+") for m in couplings["model"].values]
    usable = [m for m, model in enumerate(models) if "lambda_0" in model]
    return min(usable, key=lambda m: (len(models[m]), m)) if usable else None


def few_widths(widths: np.ndarray, good: np.ndarray) -> list[int]:
    """Positions of at most `WIDTHS` widths, spread evenly in order of size; good ones (bool) if there are any."""
    order = [int(i) for i in np.argsort(widths) if good[i] or not good.any()]
    picks = np.linspace(0, len(order) - 1, min(WIDTHS, len(order))).round().astype(int)
    return [order[i] for i in picks]


def trusted_quartic(cumulants: xr.Dataset) -> np.ndarray:
    """Whether G4c is trusted: (architecture, width) bool; False where it was not estimated."""
    return trusted_orders(cumulants, (4,))


def trusted_orders(cumulants: xr.Dataset, orders: Sequence[int]) -> np.ndarray:
    """Whether the correlators of all these orders are trusted: (architecture, width) bool; False without them."""
    if not set(orders) <= set(cumulants["order"].values.tolist()):
        return np.zeros((cumulants.sizes["architecture"], cumulants.sizes["width"]), dtype=bool)
    return np.logical_and.reduce(cumulants["trusted"].sel(order=list(orders)).values.astype(bool), axis=-1)


def smallest_width(widths: np.ndarray, trusted: np.ndarray) -> int:
    """Position of the smallest trusted width; of the smallest one where none is."""
    order = [int(i) for i in np.argsort(widths)]
    return next((i for i in order if trusted[i]), order[0])
