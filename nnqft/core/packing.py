"""Symmetric tensors in packed form, and the pairings that build correlators from kernels.

A symmetric tensor of order k over n points is stored once per multiset of indices: component c belongs to the
sorted index tuple ``multisets(n, k)[c]``. All of nnqft uses this one order (lexicographic, from 0).

Where n points have too many components, :class:`Components` stands for n: the same functions then speak of the selected
components alone, in the same order.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations, combinations_with_replacement
from math import comb

import numpy as np
from more_itertools import set_partitions
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Components:
    """All pairs of `points` points, and of every order from 4 on only selected components.

    legs: (order, sorted index tuples in lexicographic order as the bytes of an int16 array), by order. Closed: with a
    component of six or eight legs come those of four and six legs that its cumulant is made of (nnqft.core.selection).
    """

    points: int
    legs: tuple[tuple[int, bytes], ...]

    @property
    def orders(self) -> tuple[int, ...]:
        """Orders that hold a selection."""
        return tuple(order for order, _ in self.legs)


Basis = int | Components
"""Which components there are: a number of points, for all of them, or a selection."""


def points_of(n: Basis) -> int:
    """The number of points."""
    return n.points if isinstance(n, Components) else n


def number(n: Basis, order: int) -> int:
    """How many components there are of an order, without listing them."""
    if isinstance(n, Components) and order != 2:
        return len(dict(n.legs)[order]) // (2 * order)
    return comb(points_of(n) + order - 1, order)


@lru_cache(maxsize=64)
def multisets(n: Basis, order: int) -> Indices:
    """Sorted index tuples of a symmetric tensor: shape (comb(n + order - 1, order), order), int64; or those selected.

    KeyError for an order of which nothing is selected.
    """
    if isinstance(n, Components) and order != 2:
        chosen = np.frombuffer(dict(n.legs)[order], dtype="<i2")
        return _frozen(chosen.reshape(-1, order).astype(np.int64))
    rows = list(combinations_with_replacement(range(points_of(n)), order))
    return _frozen(np.array(rows, dtype=np.int64).reshape(len(rows), order))


@lru_cache(maxsize=64)
def _selected(n: Components, order: int) -> Indices:
    """Positions of the selected components among all."""
    return _frozen(rank(multisets(n, order), n.points))


def rank(indices: Indices, n: Basis) -> Indices:
    """Position in :func:`multisets` of index tuples of shape (..., order); the tuples need not be sorted.

    A multiset i_1 <= ... <= i_k is the combination j_m = i_m + m - 1 of n + k - 1 things, whose lexicographic
    position is counted by hockey-stick sums of binomials. ValueError for a component that is not selected.
    """
    order = indices.shape[-1]
    if isinstance(n, Components):
        position = rank(indices, n.points)
        return position if order == 2 else _found(position, _selected(n, order))
    total = n + order - 1
    combination = np.sort(indices, axis=-1) + np.arange(order)
    position = np.full(indices.shape[:-1], comb(total, order) - 1, dtype=np.int64)
    for m in range(order):
        table = np.array([comb(r, order - m) for r in range(total)], dtype=np.int64)
        position -= table[total - 1 - combination[..., m]]
    return position


@lru_cache(maxsize=8)
def pairings(order: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """All (order - 1)!! ways to group `order` legs into pairs: 1, 3, 15, 105 for order 2, 4, 6, 8."""
    found = []
    for blocks in set_partitions(range(order), order // 2):
        if all(len(block) == 2 for block in blocks):
            found.append(tuple(sorted((min(block), max(block)) for block in blocks)))
    return tuple(sorted(found))


@lru_cache(maxsize=64)
def pairing_legs(n: Basis, order: int) -> Indices:
    """Packed pair index of every pair, in every pairing, of every component of an order-`order` tensor.

    Shape (components, pairings, order // 2); the entries index ``multisets(n, 2)``.
    """
    legs = multisets(n, order)[:, np.array(pairings(order))]
    return _frozen(rank(legs, n))


@lru_cache(maxsize=64)
def pair_products(n: Basis) -> tuple[Indices, Indices]:
    """Left and right factor, two arrays (PP,) into ``multisets(n, 2)``, of the products of two pairs, left <= right.

    All P (P + 1) / 2 of them, or those that the selected components of four legs need.
    """
    pairs = points_of(n) * (points_of(n) + 1) // 2
    if isinstance(n, int):
        left, right = np.triu_indices(pairs)
    else:
        left, right = np.divmod(np.unique(_codes(n)), pairs)
    return _frozen(left), _frozen(right)


@lru_cache(maxsize=64)
def pairing_products(n: Basis) -> Indices:
    """Where the 3 pairings (ab)(cd) of every four-leg component are in a tensor packed over :func:`pair_products`.

    Shape (components, 3).
    """
    if isinstance(n, int):
        return _frozen(rank(pairing_legs(n, 4), n * (n + 1) // 2))
    return _frozen(np.searchsorted(np.unique(_codes(n)), _codes(n)))


def _codes(n: Components) -> Indices:
    """One number, left P + right, for the product of pairs in each of the 3 pairings of every four-leg component."""
    left, right = np.sort(pairing_legs(n, 4), axis=-1).transpose(2, 0, 1)
    return left * (n.points * (n.points + 1) // 2) + right


@lru_cache(maxsize=64)
def splits(n: Basis, left: int, right: int) -> tuple[Indices, Indices]:
    """Packed positions of both parts of every split (left | right) of every component of order left + right.

    Two arrays (components, splits), into ``multisets(n, left)`` and ``multisets(n, right)``; when left = right every
    unordered split appears once.
    """
    order = left + right
    legs = multisets(n, order)
    chosen = [c for c in combinations(range(order), left) if left != right or 0 in c]
    others = [[leg for leg in range(order) if leg not in c] for c in chosen]
    return _frozen(rank(legs[:, np.array(chosen)], n)), _frozen(rank(legs[:, np.array(others)], n))


def wick(kernel: NDArray[np.float64], n: Basis, order: int) -> NDArray[np.float64]:
    """Free correlators: the sum over pairings of products of kernel entries (Wick's theorem).

    `kernel` has shape (..., n (n + 1) / 2), packed; the result (..., components of that order).
    """
    return np.prod(kernel[..., pairing_legs(n, order)], axis=-1).sum(axis=-1)


def pack(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Packed entries (..., n (n + 1) / 2) of symmetric matrices (..., n, n)."""
    rows, columns = multisets(matrix.shape[-1], 2).T
    return matrix[..., rows, columns]


def unpack(packed: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Symmetric matrices (..., n, n) from packed entries (..., n (n + 1) / 2)."""
    rows, columns = multisets(n, 2).T
    matrix = np.empty((*packed.shape[:-1], n, n), dtype=packed.dtype)
    matrix[..., rows, columns] = packed
    matrix[..., columns, rows] = packed
    return matrix


def _found(wanted: Indices, among: Indices) -> Indices:
    """Positions of sorted numbers; ValueError for one that is not there."""
    position = np.minimum(np.searchsorted(among, wanted), len(among) - 1)
    if not np.array_equal(among[position], wanted):
        raise ValueError("a component that is not selected")
    return position


def _frozen(array: Indices) -> Indices:
    """Cached arrays are shared by all callers, so nobody may write to them."""
    array.setflags(write=False)
    return array
