"""Networks as field theories, for notebooks: the action that belongs to measured correlators.

The functions behind it, with whitening, the expansion parameter and principal components, are in
:mod:`nnqft.couplings.finite_set`.
"""

from collections.abc import Sequence
from math import isqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.core.packing import multisets, number, rank
from nnqft.couplings.finite_set import CONDITION_LIMIT, Couplings, condition, couplings

Array = NDArray[np.float64]
ORDERS = (2, 4, 6)


def couplings_from_cumulants(
    G2: ArrayLike, G4c: ArrayLike, G6c: ArrayLike, *, condition_limit: float = CONDITION_LIMIT
) -> Couplings:
    """g2, g4, g6 of S = g2 phi phi / 2 + g4 phi^4 / 4! + g6 phi^6 / 6! on n points, at next-to-leading order.

    On one point, with k2, k4 ~ 1/N, k6 ~ 1/N^2 (Demirtas et al., arXiv:2307.03223, section 3, carried on to 1/N^2):

        g2 = 1/k2 + k4 / 2 k2^3 - k6 / 8 k2^4 + 2 k4^2 / 3 k2^5,
        g4 = -k4 / k2^4 + k6 / 2 k2^5 - 7 k4^2 / 2 k2^6,      g6 = -k6 / k2^6 + 10 k4^2 / k2^7.

    Three forms, all three arguments in the same, and so the result: numbers (one point); packed tensors
    (..., components) as in ``cumulants.zarr``; whole symmetric tensors (..., n, n), (..., n, n, n, n) and
    (..., n, n, n, n, n, n). Leading dimensions broadcast; float64. Errors: give the jackknife replicates too, and
    take :func:`nnqft.estimation.jackknife.stderr` of the result. Whether the series makes sense at all is told by
    :func:`nnqft.couplings.finite_set.expansion`.

    Raises:
        ValueError: for shapes that fit no form, or a G2 that is not positive definite or too ill-conditioned to be
            amputated: then take fewer points or the principal components (:mod:`nnqft.couplings.finite_set`).
    """
    given = [np.asarray(tensor, dtype=np.float64) for tensor in (G2, G4c, G6c)]
    if all(tensor.ndim == 0 for tensor in given):
        return Couplings(*(g[0] for g in _amputated([tensor[None] for tensor in given], 1, condition_limit)))
    if any(tensor.ndim == 0 for tensor in given):
        raise ValueError(f"numbers (one point) and tensors together: shapes {[tensor.shape for tensor in given]}")
    if given[0].ndim >= 2 and [tensor.ndim - given[0].ndim for tensor in given] == [0, 2, 4]:
        n = given[0].shape[-1]
        packed = [_packed(tensor, n, order) for order, tensor in zip(ORDERS, given, strict=True)]
        found = _amputated(packed, n, condition_limit)
        return Couplings(*(_whole(g, n, order) for order, g in zip(ORDERS, found, strict=True)))
    return Couplings(*_amputated(given, (isqrt(8 * given[0].shape[-1] + 1) - 1) // 2, condition_limit))


def _amputated(packed: Sequence[Array], n: int, condition_limit: float) -> list[Array]:
    """The couplings of packed tensors, or ValueError with the condition number."""
    G2, G4c, G6c = packed
    if not n or G2.shape[-1] != number(n, 2):
        raise ValueError(f"no number of points has {G2.shape[-1]} pairs")
    found = couplings(G2, G4c, G6c, n=n, condition_limit=condition_limit)
    worst = float(np.max(condition(G2, n), initial=1.0))
    if not worst <= condition_limit:
        what = f"has condition number {worst:.3g}" if np.isfinite(worst) else "is not positive definite"
        raise ValueError(
            f"G2 (as a correlation matrix) {what}, the limit is {condition_limit:.3g}: the correlators cannot be "
            "amputated; take fewer points, or principal components (nnqft.couplings.finite_set.principal)"
        )
    return [found.g2, found.g4, np.asarray(found.g6)]


def _packed(tensor: Array, n: int, order: int) -> Array:
    """Packed components of a whole tensor; ValueError when it is not one of n points, or not symmetric."""
    if tensor.shape[-order:] != (n,) * order:
        raise ValueError(f"{order} legs over {n} points have shape {(n,) * order}, not {tensor.shape[-order:]}")
    packed = tensor[(..., *multisets(n, order).T)]
    if not np.allclose(
        _whole(packed, n, order), tensor, rtol=1e-9, atol=1e-12 * np.abs(packed).max(initial=0), equal_nan=True
    ):
        raise ValueError(f"the tensor of {order} legs is not symmetric")
    return packed


def _whole(packed: Array, n: int, order: int) -> Array:
    """All n^order entries (..., n, ..., n) of a packed tensor."""
    legs = np.indices((n,) * order).reshape(order, -1).T
    return packed[..., rank(legs, n)].reshape(*packed.shape[:-1], *(n,) * order)
