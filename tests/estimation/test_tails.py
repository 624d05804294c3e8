"""Tail diagnostics against laws with a known tail."""

import numpy as np
import pytest

from nnqft.estimation.tails import halves_distance, merge_tails, pareto_index, top_share, trusted

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


def test_merged_tails_are_the_largest_of_the_sample():
    blocks = np.sort(RNG.normal(size=(7, 1000)), axis=1)[:, ::-1]
    merged = merge_tails(blocks[:, :50], 7000)
    everything = np.sort(blocks.ravel())[::-1]
    assert len(merged) > 100
    assert (merged == everything[: len(merged)]).all()


def test_share_of_the_top():
    d = np.sort(RNG.uniform(size=10_000))[::-1]
    assert top_share(d, 2, float((d**2).sum()), len(d)) == pytest.approx((d[:10] ** 2).sum() / (d**2).sum())


def test_halves_of_honest_data_differ_by_about_one_error():
    x = RNG.normal(size=(2, 500, 200))
    error = np.full(200, 1 / np.sqrt(1000))
    assert halves_distance(x[0].mean(0), x[1].mean(0), error) == pytest.approx(1.0, abs=0.2)
    assert halves_distance(x[0].mean(0), x[1].mean(0) + 1, error) > 10
