"""Part of ``flow.zarr``: the quartic coupling of the outputs layer by layer, a flow with the depth as its time.

At one point x_a the action of the output f_a (docs/action.md) has g4 = -G4c / G2^4 to leading order, without units
g4 G2^2; the coupling followed is N times that,

    u(l) = -N G4c(aaaa) / G2(aa)^2,        G4c(aaaa) = 3 Var Khat_aa,    so    u = -3 V / K^2 + O(1/N)

with V / N the variance of the kernel Khat_aa in perceptrons of l hidden layers and K its mean. V obeys the recursion
V' = C_W^2 Var(phi^2) + chi^2 V, chi = dK'/dK (Yaida, arXiv:1910.00019; Roberts, Yaida, Hanin, arXiv:2106.10165).
Linear networks without bias have u = -3 N [(1 + 2/N)^l - 1] = -6 l + O(1/N); to leading order in 1/N relu ones have
-15 l, and erf, tanh and sin ones at criticality -2 l for large l. The beta function is the difference quotient between
successive depths, which are independent samples.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nnqft.core.packing import rank
from nnqft.estimation.jackknife import stderr
from nnqft.spec.grid import Architecture, sweeps
from nnqft.spec.model import Scan

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

DIMS = ("architecture", "width", "point")
NOT_SWEPT = "no sweep of the depth (architectures.NAME.depth)"


def flow_with_depth(scan: Scan, group: list[Architecture], cumulants: xr.Dataset, theory: xr.Dataset) -> dict[str, Any]:
    """Variables `depth_coupling`, `depth_beta` (architecture, width, point) and why they are missing or in doubt.

    Both have `_stderr` and `_theory`: with exact predictions these are exact, with those to leading order in 1/N they
    are its leading order. `depth_beta` stands at the lower of its two depths. `depth_status` (architecture, width).
    """
    shape = len(group), len(scan.widths), len(scan.points[group[0].points])
    names = [f"depth_{what}{end}" for what in ("coupling", "beta") for end in ("", "_stderr", "_theory")]
    found = {name: np.full(shape, np.nan) for name in names}
    status = np.full(shape[:2], NOT_SWEPT, dtype=object)
    quads = _diagonal(cumulants)
    for places in sweeps(group, "depth"):
        for a in places:
            status[a] = _enter(found, a, scan, cumulants, theory, quads)
        for a, b in pairwise(places):
            _differentiate(found, a, b, group[b].depth - group[a].depth)
        last = places[-1]
        status[last] = [_both(text, "no beta function: no deeper network in the sweep") for text in status[last]]
    return {name: (DIMS, values) for name, values in found.items()} | {"depth_status": (DIMS[:2], status)}


def _diagonal(cumulants: xr.Dataset) -> Indices | None:
    """Position of G4c(aaaa) for each point a, -1 where it was not estimated; None without any four-point function."""
    if "G4c" not in cumulants:
        return None
    n, legs = cumulants.sizes["point"], cumulants["quad_points"].values
    equal = {int(row[0]): i for i, row in enumerate(legs) if (row == row[0]).all()}
    return np.array([equal.get(a, -1) for a in range(n)], dtype=np.int64)


def _enter(
    found: dict[str, Array], a: int, scan: Scan, cumulants: xr.Dataset, theory: xr.Dataset,
    quads: Indices | None,
) -> list[str]:  # fmt: skip
    """Enter the couplings of architecture a at every width; what to say about each width."""
    if quads is None:
        return ["the four-point cumulant was not estimated (cumulants.orders)"] * len(scan.widths)
    there, n = quads >= 0, len(quads)
    pairs, quads = rank(np.repeat(np.arange(n)[:, None], 2, axis=1), n)[there], quads[there]
    N = np.array(scan.widths, dtype=np.float64)[:, None]
    found["depth_coupling"][a][:, there] = _coupling(N, cumulants, "", a, pairs, quads)
    samples = _coupling(N[:, None], cumulants, "_replicate", a, pairs, quads)
    found["depth_coupling_stderr"][a][:, there] = stderr(samples, axis=1)
    kind = str(theory["prediction"].sel(order=4).values[a])
    if kind != "none":
        leading = kind == "leading-1/N"
        G2 = theory["G2_gp"].values[a][pairs] if leading else theory["G2"].values[a][:, pairs]
        found["depth_coupling_theory"][a][:, there] = _ratio(N, theory["G4c"].values[a][:, quads], G2)
    trusted = cumulants["trusted"].sel(order=4).values[a].astype(bool)
    missing = "" if there.all() else "G4c(aaaa) was not selected at every point (cumulants.components)"
    if np.isnan(found["depth_coupling"][a][:, there]).any():
        missing = _both(missing, "the output does not fluctuate at every point")
    doubt = "G4c is not converged here (heavy tail): the error bar is not to be trusted"
    return [_both(missing, "" if good else doubt) for good in trusted]


def _coupling(N: Array, cumulants: xr.Dataset, end: str, a: int, pairs: Indices, quads: Indices) -> Array:
    return _ratio(N, cumulants[f"G4c{end}"].values[a][..., quads], cumulants[f"G2{end}"].values[a][..., pairs])


def _ratio(N: Array, G4c: Array, G2: Array) -> Array:
    """-N G4c / G2^2, NaN where there is no variance."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(G2 > 0, -N * G4c / G2**2, np.nan)


def _differentiate(found: dict[str, Array], a: int, b: int, layers: int) -> None:
    """Difference quotient between the depths of a and b."""
    for end in ("", "_theory"):
        u = found[f"depth_coupling{end}"]
        found[f"depth_beta{end}"][a] = (u[b] - u[a]) / layers
    error = found["depth_coupling_stderr"]
    found["depth_beta_stderr"][a] = np.hypot(error[a], error[b]) / layers


def _both(first: str, second: str) -> str:
    return "; ".join(filter(None, [first, second]))
