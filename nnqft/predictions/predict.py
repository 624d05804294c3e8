"""What theory says about the correlators of a multilayer perceptron: exact, quadrature, or leading order in 1/N."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nnqft.core.gaussian import MAX_DIMENSION, QuadratureError
from nnqft.core.packing import multisets, pack, wick
from nnqft.nets.activations import ACTIVATIONS, Activation
from nnqft.nets.deep import finite_width
from nnqft.nets.kernels import checked_depth, first_factor, first_kernel, gp_kernel, has_closed_kernel
from nnqft.nets.onelayer import closed_moments, one_layer, pair_quad_splits

Array = NDArray[np.float64]
Quality = Literal["exact", "quadrature", "leading-1/N", "none"]


@dataclass(frozen=True)
class Prediction:
    """Predicted correlators, packed (P, Q, S components of orders 2, 4, 6), NaN where there is no prediction.

    G2_gp (P,), G4_gp (Q,), G6_gp (S,): Wick's theorem with the infinite-width kernel. G2 (n_widths, P), G4c and G4
    (n_widths, Q), G6c and G6 (n_widths, S): connected and full correlators at each width. prediction: order -> how
    its connected correlator was found; full ones inherit the worst of the orders they are made of. reason: order ->
    why there is none, or "".
    """

    G2_gp: Array
    G4_gp: Array
    G6_gp: Array
    G2: Array
    G4c: Array
    G6c: Array
    G4: Array
    G6: Array
    prediction: dict[int, Quality]
    reason: dict[int, str]


def predict(
    activation: str, depth: int, sigma_w: float, sigma_b: float, x: NDArray[np.float64], widths: Sequence[int]
) -> Prediction:
    """Theory for x (n_x, d_in) at every width.

    One hidden layer: exact or quadrature for all orders as long as min(d_in + 1, n_x) <= 4, else order 6 is left out.
    Deeper: leading order in 1/N, orders 2 and 4. What quadrature cannot deliver is left out as well. Raises ValueError
    for an unknown activation, sigma_w <= 0, sigma_b < 0, a depth below 1, `gauss` at depth > 1, x not of two
    dimensions or not finite, and widths below 1.
    """
    unit, points, sizes = _checked(activation, depth, sigma_w, sigma_b, x, widths)
    n = len(points)
    free = pack(gp_kernel(unit, points, depth, sigma_w, sigma_b))
    known = _connected(unit, depth, sigma_w, sigma_b, points, sizes)
    G2, G4c, G6c = (
        known.values.get(order, np.full((len(sizes), len(multisets(n, order))), np.nan)) for order in (2, 4, 6)
    )
    pairs, quads = pair_quad_splits(n)
    return Prediction(
        *(free, wick(free, n, 4), wick(free, n, 6)),
        *(G2, G4c, G6c),
        G4=G4c + wick(G2, n, 4),
        G6=G6c + np.sum(G2[:, pairs] * G4c[:, quads], axis=-1) + wick(G2, n, 6),
        prediction={order: known.quality.get(order, "none") for order in (2, 4, 6)},
        reason={order: "" if order in known.values else known.missing for order in (2, 4, 6)},
    )


@dataclass(frozen=True)
class _Connected:
    """Connected correlators (n_widths, components) by order, how they were found, and why the others were not."""

    values: dict[int, Array]
    quality: dict[int, Quality]
    missing: str = ""


def _connected(unit: Activation, depth: int, sigma_w: float, sigma_b: float, x: Array, widths: Array) -> _Connected:
    """What is known at widths (n_widths, 1); beyond four dimensions order 4 comes from its four-point subsets."""
    factor = first_factor(x, sigma_w, sigma_b)
    second: Quality = "exact" if has_closed_kernel(unit) else "quadrature"
    try:
        if depth == 1 and (closed_moments(unit, factor) or factor.shape[1] <= MAX_DIMENSION):
            layer = one_layer(unit, x, sigma_w, sigma_b)
            values = {2: layer.G2 + 0 * widths, 4: layer.N_G4c / widths, 6: layer.N2_G6c / widths**2}
            return _Connected(values, dict(layer.status))
        layers = finite_width(unit, sigma_w, sigma_b, first_kernel(x, sigma_w, sigma_b), depth)
    except QuadratureError as error:
        if depth > 1:
            return _Connected({}, {}, str(error))
        kernel = pack(gp_kernel(unit, x, depth, sigma_w, sigma_b))
        return _Connected({2: kernel + 0 * widths}, {2: second}, str(error))
    values = {2: layers.output_kernel(widths), 4: layers.output_quartic() / widths}
    if depth > 1:
        return _Connected(values, dict.fromkeys(values, "leading-1/N"), "order 6 is not predicted beyond depth 1")
    missing = f"order 6 needs quadrature in more than {MAX_DIMENSION} dimensions"
    return _Connected(values, {2: second, 4: "quadrature"}, missing)


def _checked(
    activation: str, depth: int, sigma_w: float, sigma_b: float, x: NDArray[np.float64], widths: Sequence[int]
) -> tuple[Activation, Array, Array]:
    """The activation, x in float64 and the widths as a column, or ValueError."""
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}; known: {', '.join(ACTIVATIONS)}")
    unit = ACTIVATIONS[activation]
    checked_depth(unit, depth)
    if not (sigma_w > 0 and sigma_b >= 0):
        raise ValueError(f"need sigma_w > 0 and sigma_b >= 0, got {sigma_w} and {sigma_b}")
    points = np.asarray(x, dtype=np.float64)
    if points.ndim != 2 or 0 in points.shape or not np.all(np.isfinite(points)):
        raise ValueError(f"points must be finite, of shape (n_x, d_in), got shape {points.shape}")
    column = np.asarray(widths, dtype=np.float64).reshape(-1, 1)
    if np.any(column < 1):
        raise ValueError(f"widths must be at least 1, got {list(widths)}")
    return unit, points, column
