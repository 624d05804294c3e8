"""Symmetric tensors in packed form, and the pairings that build correlators from kernels.

A symmetric tensor of order k over n points is stored once per multiset of indices: component c belongs to the
sorted index tuple ``multisets(n, k)[c]``. All of nnqft uses this one order (lexicographic, from 0).
"""

from functools import lru_cache
from itertools import combinations, combinations_with_replacement
from math import comb

import numpy as np
from more_itertools import set_partitions
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@lru_cache(maxsize=64)
def multisets(n: int, order: int) -> Indices:
    """Sorted index tuples of a symmetric tensor: shape (comb(n + order - 1, order), order), int64."""
    rows = list(combinations_with_replacement(range(n), order))
    return _frozen(np.array(rows, dtype=np.int64).reshape(len(rows), order))


def rank(indices: Indices, n: int) -> Indices:
    """Position in :func:`multisets` of index tuples of shape (..., order); the tuples need not be sorted.

    A multiset i_1 <= ... <= i_k is the combination j_m = i_m + m - 1 of n + k - 1 things, whose lexicographic
    position is counted by hockey-stick sums of binomials.
    """
    order = indices.shape[-1]
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
def pairing_legs(n: int, order: int) -> Indices:
    """Packed pair index of every pair, in every pairing, of every component of an order-`order` tensor.

    Shape (components, pairings, order // 2); the entries index ``multisets(n, 2)``.
    """
    legs = multisets(n, order)[:, np.array(pairings(order))]
    return _frozen(rank(legs, n))


@lru_cache(maxsize=64)
def pairing_products(n: int) -> Indices:
    """Where the 3 pairings (ab)(cd) of every four-leg component are in a tensor packed over multisets of two pairs.

    Shape (components, 3); the entries index ``multisets(P, 2)`` with P = n (n + 1) / 2.
    """
    return _frozen(rank(pairing_legs(n, 4), n * (n + 1) // 2))


@lru_cache(maxsize=64)
def splits(n: int, left: int, right: int) -> tuple[Indices, Indices]:
    """Packed positions of both parts of every split (left | right) of every component of order left + right.

    Two arrays (components, splits), into ``multisets(n, left)`` and ``multisets(n, right)``; when left = right every
    unordered split appears once.
    """
    order = left + right
    legs = multisets(n, order)
    chosen = [c for c in combinations(range(order), left) if left != right or 0 in c]
    others = [[leg for leg in range(order) if leg not in c] for c in chosen]
    return _frozen(rank(legs[:, np.array(chosen)], n)), _frozen(rank(legs[:, np.array(others)], n))


def wick(kernel: NDArray[np.float64], n: int, order: int) -> NDArray[np.float64]:
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


def _frozen(array: Indices) -> Indices:
    """Cached arrays are shared by all callers, so nobody may write to them."""
    array.setflags(write=False)
    return array
