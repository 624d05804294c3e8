"""Selected components: which they are, what comes with them, and that the packed algebra closes on them."""

import numpy as np
import pytest

from nnqft.core.packing import Components, multisets, number, pair_products, pairing_products, rank, splits, wick
from nnqft.core.selection import MOST, parts, placements, select

MIXED = select(7, (2, 4, 6, 8), ("aabbcc", "aaaaaaaa"), ((0, 1, 2, 5),), ((3, 4, 6, 6, 6, 5, 5, 3), (1, 0, 4, 6)))


def rows(basis, order):
    return set(map(tuple, multisets(basis, order).tolist()))


@pytest.mark.parametrize(
    ("pattern", "size", "member"),
    [
        ("aaaa", 5, (3, 3, 3, 3)),
        ("aabb", 10, (1, 1, 4, 4)),
        ("abab", 10, (1, 1, 4, 4)),
        ("abbb", 20, (2, 3, 3, 3)),
        ("aabc", 30, (1, 2, 2, 4)),
        ("abcd", 5, (0, 2, 3, 4)),
    ],
)
def test_patterns_are_points_that_are_equal_and_points_that_differ(pattern, size, member):
    found = select(5, (2, 4), (pattern,))
    assert number(found, 4) == len(rows(found, 4)) == size
    assert member in rows(found, 4)
    assert all(sorted(np.unique(row, return_counts=True)[1]) == sorted(np.unique(list(pattern), return_counts=True)[1])
               for row in multisets(found, 4).tolist())  # fmt: skip
    assert np.array_equal(multisets(found, 2), multisets(5, 2))


def test_lists_are_united_in_lexicographic_order_and_everything_is_no_selection():
    found = select(4, (2, 4), ("aaaa",), ((2, 0, 2),), ((3, 1, 0, 1),))
    assert rows(found, 4) == {(i,) * 4 for i in range(4)} | {(0, 0, 0, 2), (0, 0, 2, 2), (0, 2, 2, 2), (0, 1, 1, 3)}
    assert np.all(np.diff(rank(multisets(found, 4), 4)) > 0)
    assert select(4, (2, 4), (), ((0, 1, 2, 3),)) == 4
    assert select(3, (2, 4), ("aaaa", "abbb", "aabb", "aabc")) == 3


def test_what_a_component_is_made_of_comes_with_it():
    found = select(9, (2, 4, 6, 8), (), (), ((0, 2, 2, 5, 5, 5, 8, 8),))
    assert [number(found, k) for k in (2, 8)] == [45, 1]
    assert (2, 2, 8, 8) in rows(found, 4)
    assert (0, 5, 5, 5, 8, 8) in rows(found, 6)
    assert not any(1 in row for row in rows(found, 4))


@pytest.mark.parametrize("order", [4, 6, 8])
def test_packed_functions_are_those_of_all_components_cut_to_the_selection(order):
    where = rank(multisets(MIXED, order), 7)
    kernel = np.random.default_rng(order).normal(size=(2, 28))
    np.testing.assert_array_equal(wick(kernel, MIXED, order), wick(kernel, 7, order)[:, where])
    for left in range(2, order // 2 + 1, 2):
        for part, legs, all_parts in zip((left, order - left), splits(MIXED, left, order - left),
                                         splits(7, left, order - left), strict=True):  # fmt: skip
            np.testing.assert_array_equal(multisets(MIXED, part)[legs], multisets(7, part)[all_parts[where]])


def test_only_needed_products_of_pairs_are_kept():
    where = rank(multisets(MIXED, 4), 7)
    chosen, everything = (np.stack(pair_products(b), axis=1)[pairing_products(b)] for b in (MIXED, 7))
    np.testing.assert_array_equal(chosen, everything[where])
    assert len(np.unique(pairing_products(MIXED))) == len(pair_products(MIXED)[0]) < 28 * 29 // 2
    left, right = pair_products(7)
    np.testing.assert_array_equal((left, right), np.triu_indices(28))


def test_what_is_not_selected_is_not_found():
    with pytest.raises(ValueError, match="not selected"):
        rank(np.array([0, 1, 2, 3]), select(5, (2, 4), ("aaaa",)))
    assert isinstance(MIXED, Components)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, (2, 4), (), (), ((0, 1, 2, 5),)), "outside 0 to 4"),
        ((5, (2, 4, 6), ("aaaa",)), "0 components of order 6"),
        ((64, (2, 4), ("abcd",)), f"635,376 components of order 4; select at most {MOST:,}"),
        ((64, (2, 4, 6, 8), ("abcdefgh",)), "4,426,165,368 components of order 8"),
    ],
)
def test_selections_that_are_none_or_too_many_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        select(*arguments)


@pytest.mark.parametrize("size", [1, 4])
def test_subsets_of_points_hold_every_component_once(size):
    seen = {k: np.zeros(number(MIXED, k), dtype=int) for k in (2, 4, 6)}
    for subset, place in placements(MIXED, (2, 4, 6), parts(MIXED, (2, 4, 6), size)):
        for k, (there, here) in place.items():
            own = np.array(subset)[multisets(len(subset), k)][here]
            np.testing.assert_array_equal(own, multisets(MIXED, k)[there])
            seen[k][there] += 1
    assert all((count > 0).all() for count in seen.values())
