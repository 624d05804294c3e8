"""What theory says about the correlators of an ensemble: exact, quadrature, or leading order in 1/N."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnqft.core.gaussian import QuadratureError
from nnqft.core.packing import Basis, multisets, pack, splits, wick
from nnqft.nets.base import Known, Network, Quality
from nnqft.nets.registry import law
from nnqft.predictions.selected import known_by_parts
from nnqft.spec.grid import Architecture

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """Predicted correlators by name, packed, NaN where there is no prediction.

    values: G2_gp (P,), G4_gp (Q,), G6_gp, G8_gp: Wick's theorem with the infinite-width kernel; G2 (n_widths, P), G4c,
    G4 (n_widths, Q), G6c, G6, G8c, G8: connected and full correlators at each width. errors: standard errors
    of connected ones that come from a Monte Carlo average, else zero. prediction: order -> how its connected correlator
    was found; full ones inherit the worst of the orders they are made of. reason: order -> why there is none, or "".
    """

    values: dict[str, Array]
    errors: dict[str, Array]
    prediction: dict[int, Quality]
    reason: dict[int, str]


def predict(
    architecture: Architecture, widths: Sequence[int], orders: Sequence[int] = (2, 4, 6), basis: Basis | None = None
) -> Prediction:
    """Theory at every width; what quadrature cannot deliver is left out, with a reason.

    basis: the selected components, instead of all; they alone are computed.

    Raises:
        InputError: for an architecture that does not exist or has no finite correlators.
        ValueError: for widths below 1.
    """
    column = np.asarray(widths, dtype=np.float64).reshape(-1, 1)
    if np.any(column < 1):
        raise ValueError(f"widths must be at least 1, got {list(widths)}")
    a, n = architecture, len(architecture.coordinates) if basis is None else basis
    net = law(a, int(column.max()))
    free, known, reasons = _theory(net, a, column, list(orders), n)
    values: dict[str, Array] = {}
    errors: dict[str, Array] = {}
    for order in orders:
        size = len(multisets(n, order))
        name = "G2" if order == 2 else f"G{order}c"
        values[f"G{order}_gp"] = wick(free, n, order) if order > 2 else free
        values[name] = known.values.get(order, np.full((len(column), size), np.nan)) + np.zeros((len(column), 1))
        errors[name] = known.errors.get(order, np.zeros((len(column), size)))
    _add_full(values, n)
    return Prediction(
        values,
        errors,
        {order: known.quality.get(order, "none") for order in orders},
        {order: reasons.get(order, "" if order in known.values else known.reason) for order in orders},
    )


def _theory(
    net: Network, a: Architecture, widths: Array, orders: list[int], basis: Basis
) -> tuple[Array, Known, dict[int, str]]:
    """Packed infinite-width kernel (P,), what is known at finite width, and why some components of an order are not."""
    pairs = len(multisets(basis, 2))
    try:
        free = pack(net.gp_kernel(a.x, a.sigma_w, a.sigma_b))
        if not isinstance(basis, int):
            return free, *known_by_parts(net, a, widths, orders, basis)
        return free, net.known(a.x, a.sigma_w, a.sigma_b, widths), {}
    except QuadratureError as error:
        return np.full(pairs, np.nan), Known({}, {}, str(error)), {}


def _add_full(values: dict[str, Array], n: Basis) -> None:
    """G4 = G4c + G2 G2, and so on: moments from cumulants."""
    if "G4c" not in values:
        return
    G2, G4c = values["G2"], values["G4c"]
    values["G4"] = G4c + wick(G2, n, 4)
    if "G6c" in values:
        values["G6"] = values["G6c"] + _product(G2, G4c, n, 2, 4) + wick(G2, n, 6)
    if "G8c" in values:
        lower = _product(G2, values["G6c"], n, 2, 6) + _product(G4c, G4c, n, 4, 4)
        first, second = splits(n, 4, 4)
        free = wick(G2, n, 4)
        lower += np.sum(G4c[:, first] * free[:, second] + free[:, first] * G4c[:, second], axis=-1)
        values["G8"] = values["G8c"] + lower + wick(G2, n, 8)


def _product(a: Array, b: Array, n: Basis, left: int, right: int) -> Array:
    first, second = splits(n, left, right)
    return np.sum(a[:, first] * b[:, second], axis=-1)
