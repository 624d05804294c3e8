"""Estimators are unbiased, exactly: averaged over every possible sample of a small population."""

from itertools import product as samples
from math import factorial

import numpy as np
import pytest
from more_itertools import set_partitions

from nnqft.core.packing import multisets, pairing_legs
from nnqft.estimation.kstatistics import PowerSums, marginal, product, split

POINTS = 3
RNG = np.random.default_rng(1)
OUTPUTS = RNG.normal(size=(4, POINTS)) * np.array([1.0, 2.0, 0.5])
POPULATION = np.concatenate([OUTPUTS, -OUTPUTS])  # odd correlators vanish
ROWS, COLUMNS = multisets(POINTS, 2).T
MATRICES = POPULATION[:, ROWS] * POPULATION[:, COLUMNS]


def power_sums(d):
    left, right = multisets(d.shape[1], 2).T
    third = d[:, pairing_legs(POINTS, 6)].prod(axis=-1).sum(axis=-1)
    return PowerSums(np.array(len(d)), d.sum(0), (d[:, left] * d[:, right]).sum(0), third.sum(0))


def cumulant(values):
    """Joint cumulant of the columns of a population, from the definition over set partitions."""
    return sum(
        (-1) ** (len(p) - 1) * factorial(len(p) - 1) * np.prod([values[:, b].prod(axis=1).mean() for b in p])
        for p in set_partitions(range(values.shape[1]))
    )


def average_over_all_samples(estimator, size=3):
    total = {}
    indices = list(samples(range(len(MATRICES)), repeat=size))
    for index in indices:
        for name, value in estimator(MATRICES[list(index)]).items():
            total[name] = total.get(name, 0) + value / len(indices)
    return total


def test_product_estimator_is_unbiased_for_the_cumulants_of_the_outputs():
    found = average_over_all_samples(lambda X: product(power_sums(X), POINTS))
    for order, name in ((2, "G2"), (4, "G4c"), (6, "G6c")):
        exact = [cumulant(POPULATION[:, list(c)]) for c in multisets(POINTS, order)]
        np.testing.assert_allclose(found[name], exact, atol=1e-11)
    for order, name in ((4, "G4"), (6, "G6")):
        exact = [POPULATION[:, list(c)].prod(axis=1).mean() for c in multisets(POINTS, order)]
        np.testing.assert_allclose(found[name], exact, atol=1e-11)


@pytest.mark.parametrize("centre", [np.zeros(6), RNG.normal(size=6)], ids=["zero", "off the mean"])
def test_marginal_estimator_is_unbiased_for_the_cumulants_of_the_kernel(centre):
    found = average_over_all_samples(lambda X: marginal(power_sums(X - centre), centre, POINTS))
    for order, connected, full in ((4, "G4c", "G4"), (6, "G6c", "G6")):
        legs = pairing_legs(POINTS, order)
        exact = [sum(cumulant(MATRICES[:, list(p)]) for p in component) for component in legs]
        np.testing.assert_allclose(found[connected], exact, atol=1e-10)
        exact = [sum(MATRICES[:, list(p)].prod(axis=1).mean() for p in component) for component in legs]
        np.testing.assert_allclose(found[full], exact, atol=1e-10)
    np.testing.assert_allclose(found["G2"], MATRICES.mean(axis=0), atol=1e-12)


def test_a_dropped_pairing_is_noticed():
    """Negative control: without one of the fifteen pairings the sum is another number."""
    legs = pairing_legs(POINTS, 6)
    exact = np.array([sum(cumulant(MATRICES[:, list(p)]) for p in component) for component in legs])
    short = np.array([sum(cumulant(MATRICES[:, list(p)]) for p in component[1:]) for component in legs])
    assert np.abs(exact - short).max() > 1e-2


def test_merging_and_leaving_out_are_inverse():
    a, b = power_sums(MATRICES[:5]), power_sums(MATRICES[5:])
    whole = power_sums(MATRICES)
    left = whole - b
    for field in ("count", "first", "second", "third"):
        np.testing.assert_allclose(getattr(left, field), getattr(a, field), atol=1e-12)


def test_all_functions_broadcast():
    groups = [power_sums(MATRICES[i:]) for i in range(3)]
    stacked = PowerSums(*(np.stack([getattr(g, f) for g in groups]) for f in ("count", "first", "second", "third")))
    for i, group in enumerate(groups):
        for name, value in marginal(group, np.ones(6), POINTS).items():
            np.testing.assert_allclose(marginal(stacked, np.ones(6), POINTS)[name][i], value, rtol=1e-13)


def test_split_follows_the_layout_of_a_block():
    vector = np.arange(6 + 21 + 28, dtype=float)
    sums = split(vector, np.array(2), POINTS, 6)
    assert (len(sums.first), len(sums.second), len(sums.third)) == (6, 21, 28)
    assert np.concatenate([sums.first, sums.second, sums.third]).tolist() == vector.tolist()
