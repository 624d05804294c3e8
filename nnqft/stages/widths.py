"""Part of ``flow.zarr``: powers of the width, and their first corrections, in correlators and couplings."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nnqft.couplings.widths import amplitudes, power_law, width_correction
from nnqft.spec.model import Scan

LEADING = {"lambda_0": -1, "kappa": -2}
"""Powers of N in the couplings, and the order of the correlators that they are fitted to."""
_ORDER = {"lambda_0": 4, "kappa": 6}


def flow_with_width(scan: Scan, cumulants: xr.Dataset, fitted: xr.Dataset, theory: xr.Dataset) -> dict[str, Any]:
    """Variables `width_exponent`, `width_correction` (architecture, order); `width_exponent_lambda_0`, `_kappa`.

    The latter are (architecture, cutoff, model); all with `_stderr`, `_p_value` and `_status`.
    """
    return _correlators(scan, cumulants, theory) | _couplings(scan, cumulants, fitted)


def _correlators(scan: Scan, cumulants: xr.Dataset, theory: xr.Dataset) -> dict[str, Any]:
    """Powers of N in G4c, G6c, ... on the shape predicted at the largest width (else on the estimate's signs)."""
    orders = [k for k in sorted(scan.cumulants.orders) if k > 2]
    found = _Columns(("width_exponent", "width_correction"), (cumulants.sizes["architecture"], len(orders)))
    for at in np.ndindex(found.shape):
        a, order = at[0], orders[at[1]]
        name = f"G{order}c"
        trusted = cumulants["trusted"].sel(order=order).values[a].astype(bool)
        if trusted.sum() < 2:
            found.refuse(at, "fewer than two widths have a trusted estimate")
            continue
        shape = theory[name].values[a, int(np.argmax(scan.widths))]
        if not np.isfinite(shape).all():
            shape = np.sign(cumulants[name].values[a, int(np.flatnonzero(trusted)[0])])
        data = amplitudes(
            cumulants[name].values[a][trusted], cumulants[f"{name}_replicate"].values[a][trusted], _masked(shape)
        )
        widths, leading = np.array(scan.widths)[trusted], 1 - order // 2
        power, correction = power_law(widths, *data, leading), width_correction(widths, *data, leading)
        found.enter("width_exponent", at, power.exponent, power.stderr, power.p_value, power.reason)
        found.enter("width_correction", at, correction.value, correction.stderr, correction.p_value, correction.reason)
    return found.variables(("architecture", "order"))


def _couplings(scan: Scan, cumulants: xr.Dataset, fitted: xr.Dataset) -> dict[str, Any]:
    """Powers of N in the couplings at every cutoff, for every model, over the widths with trusted correlators."""
    shape = tuple(fitted.sizes[dim] for dim in ("architecture", "cutoff", "model"))
    variables: dict[str, Any] = {}
    for coupling, leading in LEADING.items():
        name, order = f"width_exponent_{coupling}", _ORDER[coupling]
        found = _Columns((name,), shape)
        values, errors = fitted[coupling].values, fitted[f"{coupling}_stderr"].values
        known = order in cumulants["order"].values
        trusted = cumulants["trusted"].sel(order=order).values.astype(bool) if known else None
        for at in np.ndindex(shape):
            a, k, m = at
            there = np.isfinite(values[a, :, k, m])
            if trusted is None or not there.any():
                found.refuse(at, f"{coupling} was not determined at any width")
            elif (there & trusted[a]).sum() < 2:
                found.refuse(at, f"{coupling} was determined from trusted correlators at fewer than two widths")
            else:
                use = there & trusted[a]
                fit = power_law(np.array(scan.widths)[use], values[a, use, k, m], errors[a, use, k, m], leading)
                found.enter(name, at, fit.exponent, fit.stderr, fit.p_value, fit.reason)
        variables |= found.variables(("architecture", "cutoff", "model"))
    return variables


def _masked(shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Small components, exact zeros among them, carry no weight: it would favour what is measured worst."""
    size = np.abs(shape).max()
    return np.where(np.abs(shape) > 0.1 * size, shape, 0.0)


class _Columns:
    """Value, error, p-value and status of some quantities, in arrays of one shape."""

    def __init__(self, names: tuple[str, ...], shape: tuple[int, ...]):
        self.names, self.shape = names, shape
        ends = ("", "_stderr", "_p_value")
        self._numbers = {name + end: np.full(shape, np.nan) for name in names for end in ends}
        self._status = {name: np.full(shape, "", dtype=object) for name in names}

    def enter(self, name: str, at: tuple[int, ...], value: float, stderr: float, p_value: float, status: str) -> None:
        for end, number in (("", value), ("_stderr", stderr), ("_p_value", p_value)):
            self._numbers[name + end][at] = number
        self._status[name][at] = status

    def refuse(self, at: tuple[int, ...], status: str) -> None:
        for name in self.names:
            self._status[name][at] = status

    def variables(self, dims: tuple[str, ...]) -> dict[str, Any]:
        numbers = {name: (dims, values) for name, values in self._numbers.items()}
        return numbers | {f"{name}_status": (dims, values) for name, values in self._status.items()}
