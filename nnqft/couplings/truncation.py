"""The error of leaving operators out of a model, as a prior on what they would contribute.

An effective action has all operators that its symmetries allow; a model keeps a few. With T_n the column of a further
operator, the data are G4c = X g + c s_n T_n + noise, where s_n = naturalness |G4c| / |T_n| and c has a normal prior of
mean zero and variance one: a natural operator contributes at most about as much as the data themselves. What the
columns of X can imitate of T_n (its projection, by unit weights) is a change of g and is counted there: g are the
effective couplings of the model. Integrating over c adds the columns s_n T' of the rest T' to the covariance of the
data (Wesolowski, Klco, Furnstahl, Phillips, Thapaliya, arXiv:1511.03618; Melendez, Furnstahl, Phillips, Pratola,
Wesolowski, arXiv:1904.10581, for truncated effective theories). A constant coupling is then rejected only where the
data depart from it by more than natural corrections would.

The same operator enters the trees of the six-point function, 2 c s_n g T_n, and moves the g with which trees are
subtracted: what kappa cannot imitate of both is the error of truncation of G6c. (Sextic operators beyond kappa are not
considered.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.couplings.fit import pseudo_inverse

Array = NDArray[np.float64]

_IMITATED = 1e-9  # relative size of a rest that is rounding


@dataclass(frozen=True)
class LeftOut:
    """What t further operators do to a model of m couplings, each at one standard deviation of its prior.

    columns (q, t): the part of G4c that the model cannot imitate; sizes (t,): the further couplings; absorbed (m, t):
    the change of the model's couplings that imitates the other part.
    """

    columns: Array
    sizes: Array
    absorbed: Array


def left_out(G4c: ArrayLike, design: ArrayLike, further: ArrayLike, naturalness: float) -> LeftOut:
    """The operators `further` (q, t) beside design (q, m) and data (q,).

    Those that the design imitates to rounding (1e-9) give columns of zeros. Raises ValueError for a naturalness that
    is not positive.
    """
    if not naturalness > 0:
        raise ValueError(f"naturalness must be positive, not {naturalness}")
    data, x, t = (np.asarray(a, dtype=np.float64) for a in (G4c, design, further))
    norm = np.linalg.norm(t, axis=0)
    sizes = naturalness * np.linalg.norm(data) / np.where(norm > 0, norm, np.inf)
    absorbed = pseudo_inverse(x) @ (t * sizes)
    return LeftOut(_rest(t * sizes, x @ absorbed), sizes, absorbed)


def _rest(columns: Array, imitated: Array) -> Array:
    rest = columns - imitated
    negligible = np.linalg.norm(rest, axis=0) <= _IMITATED * np.linalg.norm(columns, axis=0)
    return np.where(negligible, 0.0, rest)


def widened(whitening: Array, columns: Array) -> Array:
    """Whitening (p, q) of the data with the columns (q, t) added to their covariance."""
    extra = whitening @ columns
    root = np.linalg.cholesky(np.eye(len(whitening)) + extra @ extra.T)
    return np.asarray(np.linalg.solve(root, whitening), dtype=np.float64)


def moved(whitening: Array, design: Array, columns: Array) -> Array:
    """Change (m, t) of the couplings fitted with this whitening when columns (q, t) are added to the data."""
    return pseudo_inverse(whitening @ design) @ whitening @ columns


def truncation_error(change: Array) -> Array:
    """Standard deviation (m,) of couplings that t operators with independent priors move by `change` (m, t)."""
    return np.sqrt(np.sum(change**2, axis=1))


def six_point_columns(
    couplings: Array, found: LeftOut, change: Array, trees: Array, trees_further: Array, I6: Array
) -> Array:
    """Columns (sexts, t) by which G6c - g T g departs from -720 kappa I6 when the operators left out are there.

    couplings (m,), their `change` (m, t) from :func:`moved`; trees (sexts, m, m) within the model, trees_further
    (sexts, m, t) between it and the operators left out; I6 (sexts,).
    """
    ahead = 2 * np.einsum("i,qit,t->qt", couplings, trees_further, found.sizes)
    back = 2 * np.einsum("i,qij,jt->qt", couplings, trees, found.absorbed + change)
    column = (-720 * I6)[:, None]
    return _rest(ahead - back, column @ (pseudo_inverse(column) @ (ahead - back)))
