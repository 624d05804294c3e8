"""Which components of the correlators of many points are wanted, and what else these need.

A correlator of order k has C(n + k - 1, k) components: 766,480 four-point ones at 64 points. Of those one wants, say,
G4c(aaaa) and G4c(aabb), or everything on a few chosen points. Rules and lists say so, and all together give one
:class:`nnqft.core.packing.Components`. Cumulants of six and eight legs contain products of lower ones, so the
components of four and six legs within a selected one are selected too.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations, permutations
from math import comb, factorial, prod

import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import Basis, Components, Indices, multisets, points_of, rank

Flags = NDArray[np.bool_]

MOST = 200_000
"""Components of one order that may be selected."""


@lru_cache(maxsize=64)
def select(
    points: int,
    orders: tuple[int, ...],
    patterns: tuple[str, ...] = (),
    subsets: tuple[tuple[int, ...], ...] = (),
    tuples: tuple[tuple[int, ...], ...] = (),
) -> Basis:
    """The union of the components of `orders` (2 aside) that match a pattern, lie on a subset, or are listed.

    patterns: such as aabb; equal letters are equal points and different letters different ones, in any order. subsets:
    every component on these points. tuples: single ones. The number of points itself where that is all components.

    Raises:
        ValueError: for an order of which nothing, or more than `MOST`, is selected; for indices beyond the points.
    """
    listed = (*subsets, *tuples)
    if any(not 0 <= index < points for indices in listed for index in indices):
        raise ValueError(f"an index outside 0 to {points - 1}; the {points} points are counted from 0")
    found: dict[int, Indices] = {}
    for order in sorted((k for k in orders if k > 2), reverse=True):
        counts = [_pattern_size(p, points) for p in patterns if len(p) == order]
        counts += [comb(len(set(s)) + order - 1, order) for s in subsets]
        if sum(counts) > MOST:
            raise ValueError(f"{sum(counts):,} components of order {order}; select at most {MOST:,}")
        parts = [_matching(p, points) for p in patterns if len(p) == order]
        parts += [np.array(sorted(set(s)), dtype=np.int64)[multisets(len(set(s)), order)] for s in subsets]
        parts += [np.array([sorted(t)], dtype=np.int64) for t in tuples if len(t) == order]
        parts += [_within(legs, order) for legs in found.values()]
        rows = np.concatenate([np.empty((0, order), dtype=np.int64), *parts])
        found[order] = rows[np.unique(rank(rows, points), return_index=True)[1]]
        if not 0 < len(found[order]) <= MOST:
            raise ValueError(
                f"{len(found[order]):,} components of order {order}; select at least one and at most {MOST:,}"
            )
    if all(len(legs) == comb(points + order - 1, order) for order, legs in found.items()):
        return points
    return Components(points, tuple((k, found[k].astype("<i2").tobytes()) for k in sorted(found)))


def parts(basis: Basis, orders: Sequence[int], size: int = 1) -> list[tuple[int, ...]]:
    """Subsets of the points such that every component of `orders` lies on one of them, larger ones first.

    Subsets of at most `size` points, or as many as a component has: the fewer points, the more subsets.
    """
    found: set[tuple[int, ...]] = set()
    n = points_of(basis)
    for order in orders:
        legs = multisets(basis, order)
        distinct = 1 + (np.diff(legs, axis=1) > 0).sum(axis=1)
        for number in np.unique(distinct):
            width = max(1, size // int(number))  # of blocks of consecutive points
            for blocks in np.unique(legs[distinct == number] // width, axis=0).tolist():
                starts = [block * width for block in sorted(set(blocks))]
                found.add(tuple(i for start in starts for i in range(start, min(start + width, n))))
    return sorted(found, key=lambda subset: (-len(subset), subset))


def placements(
    basis: Basis, orders: Sequence[int], subsets: Sequence[tuple[int, ...]], done: Mapping[int, Flags] | None = None
) -> Iterator[tuple[tuple[int, ...], Mapping[int, tuple[Indices, Indices]]]]:
    """Each subset of the points, and by order which components it has: where in `basis`, where among all of its own.

    Subsets on which nothing lies that is still to be done are left out. done: by order, a flag for every component,
    which the caller sets; without it, what is handed out is done.
    """
    n = points_of(basis)
    everything = {order: rank(multisets(basis, order), n) for order in orders}
    seen = {k: np.zeros(len(p), dtype=bool) for k, p in everything.items()} if done is None else done
    for subset in subsets:
        place = {}
        for order, positions in everything.items():
            own = rank(np.array(subset, dtype=np.int64)[multisets(len(subset), order)], n)
            where = np.minimum(np.searchsorted(positions, own), len(positions) - 1)
            here = np.flatnonzero(positions[where] == own)
            place[order] = where[here], here
        if all(seen[order][where].all() for order, (where, _) in place.items()):
            continue
        for order, (where, _) in place.items() if done is None else ():
            seen[order][where] = True
        yield subset, place


def _multiplicities(pattern: str) -> tuple[int, ...]:
    return tuple(sorted((pattern.count(letter) for letter in set(pattern)), reverse=True))


def _pattern_size(pattern: str, points: int) -> int:
    """Number of components that match: points for the letters, those that appear equally often in any order."""
    repeats = _multiplicities(pattern)
    alike = prod(factorial(repeats.count(r)) for r in set(repeats))
    return comb(points, len(repeats)) * factorial(len(repeats)) // alike


def _matching(pattern: str, points: int) -> Indices:
    """Sorted index tuples that match a pattern."""
    repeats = _multiplicities(pattern)
    chosen = np.array(list(combinations(range(points), len(repeats))), dtype=np.int64).reshape(-1, len(repeats))
    return np.concatenate([np.repeat(chosen, r, axis=1) for r in sorted(set(permutations(repeats)))])


def _within(legs: Indices, order: int) -> Indices:
    """The components of that order on some of the legs of higher ones."""
    chosen = [legs[:, list(c)] for c in combinations(range(legs.shape[1]), order)]
    return np.unique(np.concatenate(chosen), axis=0)
