"""Predictions of selected components: subset by subset of the points, since a correlator knows its own points only.

The fewer the points, the fewer the dimensions of a quadrature: G4c(aabb) is an average over two variables, whatever the
number of points and of input dimensions. Nothing is computed for components that are not selected.
"""

import numpy as np

from nnqft.core.gaussian import QuadratureError
from nnqft.core.packing import Basis, multisets, points_of
from nnqft.core.selection import parts, placements
from nnqft.nets.base import Array, Known, Network, Quality
from nnqft.spec.grid import Architecture

MOST_PARTS = 10_000
"""Subsets of points that are worth a prediction each: some milliseconds to a second, and minutes altogether."""
WORST: tuple[Quality, ...] = ("exact", "quadrature", "sampled", "leading-1/N")


def known_by_parts(
    net: Network, a: Architecture, widths: Array, orders: list[int], basis: Basis
) -> tuple[Known, dict[int, str]]:
    """What is known of the selected components at widths (n_widths, 1), NaN where nothing is; by order, why not all is.

    The quality of an order is that of its worst component.
    """
    subsets, reasons = parts(basis, orders), dict.fromkeys(orders, "")
    if len(subsets) > MOST_PARTS:
        reason = (
            f"the components lie on {len(subsets):,} subsets of the points, too many for a prediction; select fewer"
        )
        reasons = {k: reason for k in orders if k > 2}
        orders = [2]
        subsets = parts(points_of(basis), orders)
    empty = {k: np.full((len(widths), len(multisets(basis, k))), np.nan) for k in orders}
    values, errors = empty, {k: np.zeros_like(v) for k, v in empty.items()}
    quality: dict[int, Quality] = {}
    missing: dict[int, str] = {}
    done = {k: np.zeros(v.shape[1], dtype=bool) for k, v in empty.items()}

    def ask(subset: tuple[int, ...]) -> Known:
        try:
            return net.known(a.x[list(subset)], a.sigma_w, a.sigma_b, widths)
        except QuadratureError as error:
            return Known({}, {}, str(error))

    fewest = ask(subsets[-1])
    for k in set(orders) - set(fewest.values):  # what is not known on the fewest points is not known at all
        reasons[k] = fewest.reason
        done[k][:] = True
    for subset, place in placements(basis, orders, subsets, done):
        known = ask(subset)
        for k, (there, here) in place.items():
            if k in known.values:
                values[k][:, there] = known.values[k][:, here]
                errors[k][:, there] = known.errors[k][:, here] if k in known.errors else 0.0
                quality[k] = WORST[max(WORST.index(quality.get(k, "exact")), WORST.index(known.quality[k]))]
                done[k][there] = True
            else:  # perhaps on fewer points; the reason stands for components that have none
                missing.setdefault(k, known.reason)
    reasons |= {k: missing[k] for k in missing if not done[k].all()}
    found = {k: v for k, v in values.items() if k in quality}
    return Known(found, quality, "", {k: errors[k] for k in found if errors[k].any()}), reasons
