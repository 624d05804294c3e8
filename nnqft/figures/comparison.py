"""Estimates against predictions, cell by cell: what the pulls figure, the tables and the report share."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from nnqft.core.packing import unpack
from nnqft.estimation.agreement import Agreement, agreement, combined_p, look_elsewhere
from nnqft.estimation.cumulants import CONNECTED

COMPONENT = {2: "pair", 4: "quad", 6: "sext", 8: "oct"}
"""Packed dimension of each order."""

KINDS = ("all legs equal", "pairs", "most distinct")
"""The components that stand for all."""

EXACT = ("exact", "quadrature", "sampled")
"""Predictions without an expansion error: against these, a pull is a test."""

SIGNIFICANCE = 1e-3
"""Probability, corrected for the number of looks, below which estimate and prediction are said to differ."""


@dataclass(frozen=True)
class Cell:
    """One (architecture, width, order): how far to trust it, and how it agrees with its prediction."""

    architecture: str
    width: int
    order: int
    networks: int
    trusted: bool
    tail_index: float
    top_share: float
    prediction: str
    replicates: int
    result: Agreement

    @property
    def name(self) -> str:
        """The correlator."""
        return CONNECTED[self.order]

    @property
    def tested(self) -> bool:
        """Whether this cell is a test of the prediction: trusted, exact, and with something to compare."""
        return self.trusted and self.prediction in EXACT and self.result.components > 0


@dataclass(frozen=True)
class Combined:
    """Several independent cells together: chi2 and modes are sums, p_value is Fisher's."""

    cells: int
    components: int
    worst: float
    chi2: float
    modes: int
    p_value: float


def compare(cumulants: xr.Dataset, theory: xr.Dataset) -> list[Cell]:
    """All cells of one point set, architectures outermost, orders innermost."""
    found = []
    orders = [int(order) for order in cumulants["order"].values]
    data = {k: _arrays(cumulants, theory, k) for k in orders}
    verdicts = {key: cumulants[key].values for key in ("trusted", "tail_index", "top_share", "networks")}
    legs = {k: cumulants[f"{COMPONENT[k]}_points"].values for k in orders}
    kinds = {k: theory["prediction"].sel(order=k).values for k in orders}
    for a, architecture in enumerate(cumulants["architecture"].values):
        for w, width in enumerate(cumulants["width"].values):
            for o, order in enumerate(orders):
                values, replicates, prediction, errors = (array[a, w] for array in data[order])
                natural = _natural_size(theory["G2_gp"].values[a], legs[order]) / float(width) ** (order // 2 - 1)
                found.append(
                    Cell(
                        str(architecture), int(width), order, int(verdicts["networks"][a, w]),
                        bool(verdicts["trusted"][a, w, o]), float(verdicts["tail_index"][a, w, o]),
                        float(verdicts["top_share"][a, w, o]), str(kinds[order][a]), len(replicates),
                        agreement(values, replicates, prediction, natural, errors),
                    )
                )  # fmt: skip
    return found


def verdict(cell: Cell, tests: int, looks: int) -> str:
    """One word or two for a cell among `tests` tested cells with `looks` components in all.

    "differs": the largest pull, or chi^2, is less likely than `SIGNIFICANCE` in the whole scan.
    """
    if not cell.trusted:
        return "not converged"
    if cell.result.components == 0:
        return "no prediction"
    if not cell.tested:
        return "leading order only"
    chances = look_elsewhere(cell.result.worst, looks, cell.replicates - 1), tests * cell.result.p_value
    return "differs" if any(p < SIGNIFICANCE for p in chances) else "agrees"


def combine(cells: Iterable[Cell]) -> Combined:
    """Sums of chi^2 and modes, Fisher's p and the largest pull of independent cells; NaN where nothing is tested."""
    results = [cell.result for cell in cells]
    fitted = [r for r in results if r.modes]
    return Combined(
        cells=len(results),
        components=sum(r.components for r in results),
        worst=max((r.worst for r in results if r.components), default=float("nan")),
        chi2=float(sum(r.chi2 for r in fitted)) if fitted else float("nan"),
        modes=sum(r.modes for r in fitted),
        p_value=combined_p(np.array([r.p_value for r in results])),
    )


def representatives(points: int, legs: np.ndarray) -> dict[str, tuple[int, ...]]:
    """Up to three of the components with these `legs` (components, order): all equal, pairs, and as distinct as may be.

    The pairs are two pairs of the outermost points at order 4 (three pairs, one in the middle, at order 6); components
    that coincide for want of points appear once. Where components are selected, those most like these.
    """
    order = legs.shape[1]
    ends = [0, points - 1] if order == 4 else [0, points // 2, points - 1]
    pairs = sorted(ends[i % len(ends)] for i in range(order // 2) for _ in range(2))
    distinct = sorted(i * points // order if points < order else i for i in range(order))
    found: dict[str, tuple[int, ...]] = {}
    number = 1 + (np.diff(legs, axis=1) > 0).sum(axis=1)
    paired = (legs[:, ::2] == legs[:, 1::2]).all(axis=1) & ((number > 1) | (points == 1))
    sets = number == 1, paired, number == number.max()
    for name, among, wanted in zip(KINDS, sets, ([0] * order, pairs, distinct), strict=True):
        if among.any():
            nearest = legs[among][np.abs(legs[among] - wanted).sum(axis=1).argmin()]
            if tuple(nearest.tolist()) not in found.values():
                found[name] = tuple(nearest.tolist())
    return found


def component_label(legs: Iterable[int]) -> str:
    """0055, or 0.10.12 where an index has two digits."""
    legs = [int(leg) for leg in legs]
    return ("" if max(legs) < 10 else ".").join(map(str, legs))


def _arrays(cumulants: xr.Dataset, theory: xr.Dataset, order: int) -> tuple[np.ndarray, ...]:
    name = CONNECTED[order]
    prediction = theory[name].values
    errors = theory[f"{name}_stderr"].values if f"{name}_stderr" in theory else np.zeros_like(prediction)
    return cumulants[name].values, cumulants[f"{name}_replicate"].values, prediction, errors


def _natural_size(kernel: np.ndarray, legs: np.ndarray) -> np.ndarray:
    """Product of sqrt(K_aa) over the legs of every component, from the packed kernel (P,); 0 where it is unknown."""
    points = (int(np.sqrt(8 * len(kernel) + 1)) - 1) // 2
    root = np.sqrt(np.nan_to_num(np.diag(unpack(kernel, points))))
    return root[legs].prod(axis=1)
