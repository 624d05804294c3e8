"""Components of G4c that ought to be equal, or in given proportions: are they?

A kernel knows the free theory only. If the ensemble of functions itself is invariant under translations, every
component G4c(x_a x_b x_c x_d) equals that of the shifted points; where a point set contains both, their difference is
measured, with its error. The same for orthogonal maps about the origin (in d = 1 the reflection x -> -x), under which
every perceptron with isotropic weights is invariant. And if the coupling is a constant, all components are to each
other as their vertex integrals, G4c(c) I4(r) = G4c(r) I4(c).

Differences are tested, not values: what all components have in common, by far the noisiest part where points are near
one another, drops out, and dependences on the legs far smaller than the error of G4c are seen. The test is Hotelling's
T^2 of :func:`nnqft.estimation.agreement.agreement`.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.estimation.agreement import agreement

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_SAME = 1e-9  # distance, relative to the size of the points, below which two numbers are one
_SMALL = 1e-9  # components below this fraction of the largest have no relative difference

UNRELATED = "no two components of this point set are related"
EXACT = "the components agree to rounding, and there is no noise to test against"
FEW = "too few jackknife replicates"


@dataclass(frozen=True)
class ComponentTest:
    """chi2 over `modes` independent differences, p_value of Hotelling's T^2; NaN with a `reason` where there is none.

    differences: how many were compared with zero.
    """

    differences: int
    chi2: float
    modes: int
    p_value: float
    reason: str = ""


def translation_classes(x: ArrayLike, legs: Indices) -> Indices:
    """A label for each component (q,): equal where the legs (q, k), rows of x (n, d), are translates of one another.

    Up to rounding, 1e-9 of the extent of the points.
    """
    x = np.asarray(x, dtype=np.float64)
    points = x[legs]
    centred = points - points.mean(axis=1, keepdims=True)
    ids = _ids(centred, _SAME * float(np.ptp(x, axis=0).max(initial=0.0)))  # (q, k, d)
    rows = [sorted(row) for row in ids.tolist()]
    return np.unique(np.array(rows).reshape(len(legs), -1), axis=0, return_inverse=True)[1].ravel()


def orthogonal_classes(x: ArrayLike, legs: Indices) -> Indices:
    """The same for orthogonal maps about the origin: the legs have one matrix of scalar products, in some order."""
    x = np.asarray(x, dtype=np.float64)
    gram = x @ x.T
    ids = _ids(gram, _SAME * float(np.abs(gram).max(initial=0.0)))
    orders = np.array(list(permutations(range(legs.shape[1]))))
    smallest = []
    for row in legs:
        forms = ids[row[orders][:, :, None], row[orders][:, None, :]].reshape(len(orders), -1)
        smallest.append(min(map(tuple, forms.tolist())))
    return np.unique(np.array(smallest), axis=0, return_inverse=True)[1].ravel()


def equal_components(values: Array, replicates: Array, labels: Indices, size: Array | float = 0.0) -> ComponentTest:
    """Test that components (q,) with jackknife replicates (R, q) agree where their labels (q,) do.

    Every member of a class is held against the first. `size` (q,): natural size of the components, against which
    rounding is judged.
    """
    first, other = _pairs(labels)
    samples = replicates[:, other] - replicates[:, first]
    return _zero(values[other] - values[first], samples, np.maximum(size, np.abs(values))[other])


def proportional_components(
    values: Array, replicates: Array, column: Array, size: Array | float = 0.0
) -> ComponentTest:
    """Test that components (q,) with jackknife replicates (R, q) are to each other as the entries of column (q,).

    Every one is held against that with the largest entry. `size`: as in :func:`equal_components`.
    """
    reference = int(np.argmax(np.abs(column)))
    if not (np.isfinite(column).all() and column[reference]):
        return ComponentTest(0, np.nan, 0, np.nan, "there are no proportions to test")
    others = np.arange(len(values)) != reference
    ratio = column[others] / column[reference]
    difference = values[others] - ratio * values[reference]
    samples = replicates[:, others] - ratio * replicates[:, [reference]]
    return _zero(difference, samples, np.maximum(size, np.abs(values))[others])


def class_violation(values: Array, labels: Indices) -> float:
    """Largest difference within a class, relative to its largest member, of exact components (q,); NaN without any.

    Members below 1e-9 of the largest component of all are zero to rounding and left out.
    """
    first, other = _pairs(labels)
    largest = np.maximum(np.abs(values[first]), np.abs(values[other]))
    seen = largest > _SMALL * np.abs(values).max(initial=0.0)
    if not seen.any() or not np.isfinite(values).all():
        return float("nan")
    return float(np.max(np.abs(values[other] - values[first])[seen] / largest[seen]))


def explained(values: Array, column: Array, size: Array) -> float:
    """How much of the dependence of components (q,) on their legs is that of column (q,): 1 at best, negative at worst.

    1 - |v - c u|^2 / |v - mean v|^2 with v = values / size, u = column / size, c fitted with equal weights; `size`
    (q,): natural sizes, components of size 0 are left out. NaN where v is the same for all to rounding.
    """
    seen = size > _SMALL * np.abs(size).max(initial=0.0)
    v, u = values[seen] / size[seen], column[seen] / size[seen]
    left = v - u * (u @ v) / (u @ u) if u.any() else v
    total = v - v.mean() if len(v) else v
    if not np.linalg.norm(total) > 1e-6 * np.linalg.norm(v):
        return float("nan")
    return float(1 - (left @ left) / (total @ total))


def _zero(difference: Array, samples: Array, size: Array) -> ComponentTest:
    if not len(difference):
        return ComponentTest(0, np.nan, 0, np.nan, UNRELATED)
    found = agreement(difference, samples, np.zeros_like(difference), size)
    if np.isinf(found.worst):  # they do not fluctuate, and differ
        return ComponentTest(len(difference), np.inf, found.modes, 0.0)
    reason = "" if np.isfinite(found.p_value) else EXACT if found.worst == 0 else FEW
    return ComponentTest(len(difference), found.chi2, found.modes, found.p_value, reason)


def _pairs(labels: Indices) -> tuple[Indices, Indices]:
    """For every component that is not the first of its class: the first one's position, and its own."""
    _, start, inverse = np.unique(labels, return_index=True, return_inverse=True)
    first = start[inverse.ravel()]
    other = np.flatnonzero(first != np.arange(len(labels)))
    return first[other], other


def _ids(values: Array, tolerance: float) -> Indices:
    """Whole numbers in place of numbers, equal where these are equal up to a tolerance, and in the same order."""
    flat = values.ravel()
    order = np.argsort(flat, kind="stable")
    steps = np.diff(flat[order], prepend=flat[order[:1]]) > tolerance
    found = np.empty(flat.size, dtype=np.int64)
    found[order] = np.cumsum(steps)
    return found.reshape(values.shape)
