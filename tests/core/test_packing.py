"""Packed symmetric tensors and pairings."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnqft.core.packing import multisets, pack, pairing_legs, pairing_products, pairings, rank, splits, unpack, wick


@given(n=st.integers(1, 7), order=st.integers(1, 6))
def test_rank_inverts_multisets_whatever_the_order_of_legs(n, order):
    indices = multisets(n, order)
    assert indices.shape == (comb(n + order - 1, order), order)
    assert (rank(indices, n) == np.arange(len(indices))).all()
    assert (rank(indices[:, ::-1], n) == np.arange(len(indices))).all()


def test_numbers_of_pairings_are_double_factorials():
    assert [len(pairings(k)) for k in (2, 4, 6, 8)] == [1, 3, 15, 105]
    for order in (2, 4, 6):
        assert all(sorted(leg for pair in p for leg in pair) == list(range(order)) for p in pairings(order))


def test_wick_gives_the_moments_of_a_gaussian():
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(3, 3))
    kernel = factor @ factor.T
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    u = np.stack(np.meshgrid(nodes, nodes, nodes), axis=-1).reshape(-1, 3)
    w = np.prod(np.stack(np.meshgrid(weights, weights, weights), axis=-1).reshape(-1, 3), axis=1)
    f = u @ factor.T
    for order in (2, 4, 6):
        exact = [np.average(np.prod(f[:, list(c)], axis=1), weights=w) for c in multisets(3, order)]
        np.testing.assert_allclose(wick(pack(kernel), 3, order), exact, rtol=1e-11, atol=1e-11)


def test_single_point_wick_counts_pairings():
    assert [wick(np.array([2.0]), 1, k)[0] for k in (2, 4, 6)] == [2.0, 3 * 4.0, 15 * 8.0]


def test_pack_and_unpack_are_inverse():
    matrix = np.array([[1.0, 2, 3], [2, 4, 5], [3, 5, 6]])
    assert pack(matrix).tolist() == [1, 2, 3, 4, 5, 6]
    assert (unpack(pack(matrix), 3) == matrix).all()


def test_pairing_products_point_at_the_products_of_their_legs():
    n = 4
    values = np.random.default_rng(1).normal(size=n * (n + 1) // 2)
    by_product = np.array([values[i] * values[j] for i, j in multisets(len(values), 2)])
    found = by_product[pairing_products(n)]
    np.testing.assert_allclose(found, values[pairing_legs(n, 4)].prod(axis=-1), rtol=1e-13)


@pytest.mark.parametrize(("left", "right", "ways"), [(2, 2, 3), (2, 4, 15), (2, 6, 28), (4, 4, 35)])
def test_splits_rebuild_free_correlators(left, right, ways):
    """Sum over splits of W_left W_right = the number of pairings counted over."""
    n = 3
    kernel = np.random.default_rng(2).normal(size=6)
    first, second = splits(n, left, right)
    assert first.shape == (len(multisets(n, left + right)), ways)
    total = (wick(kernel, n, left)[first] * wick(kernel, n, right)[second]).sum(axis=1)
    multiplicity = {(2, 2): 1, (2, 4): 3, (2, 6): 4, (4, 4): 3}[left, right]
    np.testing.assert_allclose(total, multiplicity * wick(kernel, n, left + right), rtol=1e-12)
