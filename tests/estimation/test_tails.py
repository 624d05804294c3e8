"""Tail diagnostics against laws with a known tail."""

import numpy as np
import pytest

from nnqft.estimation.tails import halves_distance, largest, pareto_index, top_share, trusted

RNG = np.random.default_rng(8)


def generalised_pareto(index, size):
    u = RNG.uniform(size=size)
    return -np.log(u) if index == 0 else (u**-index - 1) / index


@pytest.mark.parametrize("index", [-0.3, 0.0, 0.3, 0.6, 1.0])
def test_index_of_generalised_pareto_laws(index):
    found = [pareto_index(np.sort(generalised_pareto(index, 20_000))[::-1][:1000]) for _ in range(20)]
    error = (1 + index) / np.sqrt(1000 * 20)
    assert abs(np.mean(found) - index) < 5 * error + 0.03  # 0.03: the estimator's prior pulls towards 1/2


def test_powers_multiply_the_index():
    d = np.sort(generalised_pareto(0.3, 200_000) + 1)[::-1][:1000]
    assert pareto_index(d**3) == pytest.approx(0.9, abs=0.15)


def test_too_little_data_says_nothing():
    assert np.isnan(pareto_index(np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])))
    assert trusted(float("nan"), 0.0, 0.0)


def test_each_symptom_alone_takes_trust_away():
    assert trusted(0.2, 0.01, 1.0)
    assert not trusted(0.6, 0.01, 1.0)
    assert not trusted(0.2, 0.6, 1.0)
    assert not trusted(0.2, 0.01, 6.0)


def test_the_largest_are_a_sixteenth_within_limits_and_empty_classes_do_not_count():
    sizes = RNG.uniform(0.1, 1, size=(30, 1024))
    assert len(largest(sizes, 10**6)) == 1920
    assert largest(sizes, 10**6)[0] == sizes.max()
    assert len(largest(sizes[:1], 16384)) == 256
    assert len(largest(sizes[:1], 1024)) == 32
    assert len(largest(np.tile(sizes, (10, 1)), 10**7)) == 4096
    sizes[:, ::2] = 0
    assert len(largest(sizes, 10**6)) == 1024


def maxima(index):
    return generalised_pareto(index, 16 * 8192).reshape(16, -1).max(axis=0)


@pytest.mark.parametrize("index", [0.0, 0.4, 0.8])
def test_maxima_of_classes_have_the_index_of_the_sample(index):
    """16 to a class, as in a block; a power law (index > 0) or an exponential tail."""
    found = [pareto_index(largest(maxima(index), 16 * 8192)) for _ in range(20)]
    assert abs(np.mean(found) - index) < 0.08


def test_share_of_the_top():
    d = np.sort(RNG.uniform(size=10_000))[::-1]
    assert top_share(d, 2, float((d**2).sum()), len(d)) == pytest.approx((d[:10] ** 2).sum() / (d**2).sum())


def test_halves_of_honest_data_differ_by_about_one_error():
    x = RNG.normal(size=(2, 500, 200))
    error = np.full(200, 1 / np.sqrt(1000))
    assert halves_distance(x[0].mean(0), x[1].mean(0), error) == pytest.approx(1.0, abs=0.2)
    assert halves_distance(x[0].mean(0), x[1].mean(0) + 1, error) > 10
