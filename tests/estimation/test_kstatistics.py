"""Estimators are unbiased, exactly: averaged over every possible sample of a small population."""

from dataclasses import fields
from itertools import product as samples
from math import factorial

import numpy as np
import pytest
from more_itertools import set_partitions

from nnqft.core.packing import multisets, pairing_legs
from nnqft.estimation.kstatistics import PRODUCT, Amplitude, PowerSums, connected, full

POINTS = 2
RNG = np.random.default_rng(1)
OUTPUTS = RNG.normal(size=(3, POINTS)) * np.array([1.0, 2.0])
POPULATION = np.concatenate([OUTPUTS, -OUTPUTS])  # odd correlators vanish
ROWS, COLUMNS = multisets(POINTS, 2).T
MATRICES = OUTPUTS[:, ROWS] * OUTPUTS[:, COLUMNS] + RNG.normal(size=(3, 3))
ORDERS = {2: "G2", 4: "G4c", 6: "G6c", 8: "G8c"}


def wicks(d, order):
    return d[:, pairing_legs(POINTS, order)].prod(axis=-1).sum(axis=-1)


def power_sums(d, weight=None):
    w = np.ones(len(d)) if weight is None else weight
    left, right = np.triu_indices(d.shape[1])
    pairs = d[:, left] * d[:, right]
    plain = [w @ d, w**2 @ pairs, w**3 @ wicks(d, 6), w**4 @ wicks(d, 8)]
    if weight is None:
        return PowerSums(np.array(len(d)), *plain)
    return PowerSums(
        np.array(len(d)), *plain[:3], moment4=w @ pairs, moment6=w @ wicks(d, 6), mixed6=w**2 @ wicks(d, 6)
    )


def cumulant(values):
    """Joint cumulant of the columns of a population, from the definition over set partitions."""
    return sum(
        (-1) ** (len(p) - 1) * factorial(len(p) - 1) * np.prod([values[:, b].prod(axis=1).mean() for b in p])
        for p in set_partitions(range(values.shape[1]))
    )


def cumulants_of(matrices, order):
    """Sum over pairings of the joint cumulants of matrix entries."""
    return np.array([sum(cumulant(matrices[:, list(p)]) for p in c) for c in pairing_legs(POINTS, order)])


def average(estimator, population, size):
    """Over all samples of a size, drawn with replacement; `population`: arrays that are indexed alike."""
    total, indices = {}, list(samples(range(len(population[0])), repeat=size))
    for index in indices:
        for name, value in estimator(*(p[list(index)] for p in population)).items():
            total[name] = total.get(name, 0) + value / len(indices)
    return total


@pytest.mark.parametrize("centre", [np.zeros(3), RNG.normal(size=3)], ids=["zero", "off the mean"])
def test_matrices_give_the_cumulants_of_their_gaussian_outputs(centre):
    def estimator(X):
        sums = power_sums(X - centre)
        found = connected(sums, centre, POINTS)
        return found | full(found, sums.count, POINTS, sums, Amplitude())

    found = average(estimator, (MATRICES,), 5)
    np.testing.assert_allclose(found["G2"], MATRICES.mean(axis=0), atol=1e-12)
    for order in (4, 6, 8):
        np.testing.assert_allclose(found[ORDERS[order]], cumulants_of(MATRICES, order), atol=1e-9)
    for order in (4, 6):
        np.testing.assert_allclose(found[f"G{order}"], wicks(MATRICES, order).mean(axis=0), atol=1e-9)
    left, right = np.triu_indices(3)
    exact = [cumulant(MATRICES[:, [i, j]]) for i, j in zip(left, right, strict=True)]
    np.testing.assert_allclose(found["G4c_outputs"], exact, atol=1e-11)


def test_products_of_outputs_give_the_cumulants_of_the_outputs():
    products = OUTPUTS[:, ROWS] * OUTPUTS[:, COLUMNS]

    def estimator(X):
        found = connected(power_sums(X), np.zeros(3), POINTS, PRODUCT)
        return found | full(found, np.array(len(X)), POINTS, power_sums(X), PRODUCT)

    found = average(estimator, (products,), 5)
    for order, name in ORDERS.items():
        exact = [cumulant(POPULATION[:, list(c)]) for c in multisets(POINTS, order)]
        np.testing.assert_allclose(found[name], exact, atol=1e-9)
        if order > 2:
            exact = [POPULATION[:, list(c)].prod(axis=1).mean() for c in multisets(POINTS, order)]
            np.testing.assert_allclose(found[f"G{order}"], exact, atol=1e-10)


@pytest.mark.parametrize(("law", "values"), [("sign", [-1.0, 1.0]), ("three values", [-2.0, 0.0, 0.0, 2.0])])
def test_pooled_neurons_give_the_cumulants_of_a_sum_with_any_readout_law(law, values):
    """f = sum_i a_i s_i over N = 2 neurons, a with a discrete law: exact cumulants against pooled samples of s."""
    weights = np.array(values) / np.sqrt(np.mean(np.square(values)))
    moments = [np.mean(weights**k) for k in (4, 6, 8)]
    amplitude = Amplitude(moments[0] / 3, moments[1] / 15, moments[2] / 105, pooled=2)
    one = np.concatenate([a * OUTPUTS for a in weights])
    products = OUTPUTS[:, ROWS] * OUTPUTS[:, COLUMNS]
    found = average(lambda X: connected(power_sums(X), np.zeros(3), POINTS, amplitude), (products,), 5)
    for order, name in ORDERS.items():
        exact = np.array([cumulant(one[:, list(c)]) for c in multisets(POINTS, order)]) * 2.0 ** (1 - order // 2)
        np.testing.assert_allclose(found[name], exact, atol=1e-9)


def test_importance_weights_leave_the_answer_alone():
    """Samples drawn from q with weight p / q estimate the cumulants of p."""
    repeats = np.array([1, 3, 2])  # q: this often; p: uniform
    q = repeats / repeats.sum()
    weight = (1 / 3) / q
    index = np.repeat(np.arange(3), repeats)
    found = average(lambda X, w: connected(power_sums(X, w), np.zeros(3), POINTS), (MATRICES[index], weight[index]), 4)
    for order in (2, 4, 6):
        exact = MATRICES.mean(axis=0) if order == 2 else cumulants_of(MATRICES, order)
        np.testing.assert_allclose(found[ORDERS[order]], exact, atol=1e-9)


def test_total_cumulance_adds_the_conditional_cumulants():
    """Networks: a random kernel k2 and conditional k4, k6 of f, all three correlated."""
    k4, k6 = RNG.normal(size=(3, 5)), RNG.normal(size=(3, 7))
    first, second = (legs.T for legs in _splits())

    def estimator(X, four, six):
        sums = power_sums(X)
        cross = (X[:, first] * four[:, second]).sum(axis=1).sum(axis=0)
        sums = PowerSums(
            sums.count, sums.first, sums.second, sums.third, within4=four.sum(0), within6=six.sum(0), cross6=cross
        )
        return connected(sums, np.zeros(3), POINTS)

    found = average(estimator, (MATRICES, k4, k6), 4)
    np.testing.assert_allclose(found["G4c"], cumulants_of(MATRICES, 4) + k4.mean(axis=0), atol=1e-10)
    covariance = sum(
        (MATRICES[:, i] * k4[:, j]).mean(0) - MATRICES[:, i].mean(0) * k4[:, j].mean(0)
        for i, j in zip(first, second, strict=True)
    )
    exact = cumulants_of(MATRICES, 6) + k6.mean(axis=0) + covariance
    np.testing.assert_allclose(found["G6c"], exact, atol=1e-9)


def _splits():
    from nnqft.core.packing import splits

    return splits(POINTS, 2, 4)


def test_a_dropped_pairing_is_noticed():
    """Negative control: without one of the fifteen pairings the sum is another number."""
    short = [sum(cumulant(MATRICES[:, list(p)]) for p in c[1:]) for c in pairing_legs(POINTS, 6)]
    assert np.abs(cumulants_of(MATRICES, 6) - short).max() > 1e-2


def test_merging_and_leaving_out_are_inverse_and_functions_broadcast():
    parts = [power_sums(MATRICES[:2]), power_sums(MATRICES[2:])]
    stacked = PowerSums(*(np.stack([getattr(p, f.name) for p in parts]) for f in fields(PowerSums)[:5]))
    whole = stacked.total()
    for field in fields(PowerSums)[:5]:
        np.testing.assert_allclose(getattr(whole, field.name), getattr(power_sums(MATRICES), field.name), atol=1e-12)
        left = getattr(whole - parts[1], field.name)
        np.testing.assert_allclose(left, getattr(parts[0], field.name), atol=1e-12)
    groups = PowerSums(*(np.stack([getattr(whole, f.name)] * 3) for f in fields(PowerSums)[:5]))
    for name, value in connected(groups, np.ones(3), POINTS).items():
        np.testing.assert_allclose(value[1], connected(whole, np.ones(3), POINTS)[name], rtol=1e-13)
