"""Linear networks with tied weights: integer polynomials in 1/N, and what drives them."""

from itertools import permutations
from math import prod

import numpy as np
import pytest

import nnqft.criticality
from nnqft.core.errors import InputError
from nnqft.criticality.ginibre import (
    MOST,
    biased_variance,
    driven_correlator,
    evaluated,
    tied_linear,
    tied_linear_complex,
    two_time,
)

TABLE = {
    0: (1,),
    1: (1,),
    2: (1, 0, 2),
    3: (1, 0, 10, 4),
    4: (1, 0, 28, 28, 48),
    5: (1, 0, 62, 110, 468, 304),
    6: (1, 0, 118, 314, 2426, 3880, 3656),
}
TWO_TIMES = {(0, 2): (0, 1), (1, 3): (0, 2, 1), (2, 4): (0, 3, 4, 8), (3, 5): (0, 4, 11, 54, 36)}


def loops(ends, pairing):
    """Cycles of indices when factors with (row, column) slots are identified in pairs."""
    parent = list(range(len(ends)))

    def root(i):
        while parent[i] != i:
            i = parent[i]
        return i

    for i, j in pairing:
        for a, b in zip(ends[i], ends[j], strict=True):
            parent[root(a)] = root(b)
    return sum(parent[i] == i for i in range(len(ends)))


def pairings(items):
    if not items:
        yield []
    for k in range(1, len(items)):
        for rest in pairings(items[1:k] + items[k + 1 :]):
            yield [(items[0], items[k]), *rest]


def enumerated(t, s, pairs):
    """Coefficients of (1/N) E tr (W^T)^t W^s in 1/N, one Wick pairing at a time."""
    n = t + s
    ends = [((i + 1) % n, i) if i < t else (i, (i + 1) % n) for i in range(n)]
    powers = [n // 2 + 1 - loops(ends, pairing) for pairing in pairs]
    return tuple(np.bincount(powers)) if powers else ()


def test_the_table():
    assert {t: nnqft.criticality.tied_linear(t) for t in TABLE} == TABLE
    assert {times: two_time(*times) for times in TWO_TIMES} == TWO_TIMES


@pytest.mark.parametrize(("t", "s"), [(1, 1), (2, 2), (4, 4), (5, 5), (1, 5), (3, 5), (2, 3)])
def test_every_wick_pairing(t, s):
    every = list(pairings(list(range(t + s)))) if (t + s) % 2 == 0 else []
    assert two_time(t, s) == two_time(s, t) == enumerated(t, s, every)
    assert sum(two_time(t, s)) == len(every)


@pytest.mark.parametrize("t", range(1, 7))
def test_complex_matrices(t):
    """W pairs with W^+ only; the closed form and every permutation."""
    every = [[(i, t + j) for i, j in enumerate(order)] for order in permutations(range(t))]
    assert tied_linear_complex(t) == enumerated(t, t, every)


def test_complex_networks_expand_in_squares_of_time():
    for t, x in ((20, 1.0), (40, 2.0)):
        N = t**2 / (2 * x)
        assert evaluated(tied_linear_complex(t), int(N)) == pytest.approx(np.sinh(x) / x, rel=0.12)


def test_one_neuron_knows_all_moments():
    """N = 1: (1/N) E tr (W^T)^t W^t = E w^2t = (2t - 1)!!."""
    for t in (7, 8, 9, 10):
        assert sum(tied_linear(t)) == prod(range(1, 2 * t, 2))


def test_sampled_matrices():
    W = np.random.default_rng(3).normal(size=(20_000, 8, 8)) / np.sqrt(8)
    power = np.broadcast_to(np.eye(8), W.shape)
    for t in range(1, 5):
        power = W @ power
        found = np.einsum("nij,nij->n", power, power) / 8
        assert abs(found.mean() - evaluated(tied_linear(t), 8)) < 4 * found.std() / np.sqrt(len(W))


def test_driven_networks_at_order_one_over_width():
    """sum_t C(t, t + 2) sigma_w^(2t + 2) from the exact polynomials: order u is the double pole."""
    for sigma_w, noise in ((0.5, 1.0), (0.3, 2.0)):
        first = sum(two_time(t, t + 2)[1] * sigma_w ** (2 * t + 2) for t in range(9))
        assert driven_correlator(2, sigma_w, noise, 1) == pytest.approx(noise * first, rel=1e-4)
        polynomials = {(t, s): two_time(t, s) for t in range(9) for s in range(9) if t != s}
        first = sum(c[1] * sigma_w ** (t + s) for (t, s), c in polynomials.items() if len(c) > 1)
        plain = 1 / (1 - sigma_w**2)
        assert biased_variance(sigma_w, 1.0, 10) == pytest.approx(plain + first / 10, rel=2e-3)
    assert driven_correlator(3, 0.5, 1.0, 10) == 0
    assert driven_correlator(0, 0.5, 1.0, 10) == pytest.approx(4 / 3)
    assert driven_correlator(2, np.sqrt(0.5), 1, 60) == pytest.approx(1 / 30)
    assert biased_variance(np.sqrt(0.5), 1, 60) == pytest.approx(2 + 2 / 15)


def test_driven_networks_of_sixty_neurons():
    """C(2) at sigma_w^2 = 1/2: sampled matrices, noise averaged exactly over 8 steps, and the exact polynomials.

    Over longer times a rare real eigenvalue near 1 dominates the mean: the sum over t is asymptotic only.
    """
    W = np.random.default_rng(1).normal(size=(1000, 60, 60)) * np.sqrt(0.5 / 60)
    P, power = np.eye(60), W
    for _ in range(3):
        P, power = P + power @ P @ power.transpose(0, 2, 1), power @ power
    found = np.einsum("nij,nji->n", W @ W, P) / 60
    exact = [evaluated(two_time(t, t + 2), 60) * 0.5 ** (t + 1) for t in range(11)]
    assert abs(found.mean() - sum(exact[:8])) < 4 * found.std() / np.sqrt(len(W))
    assert found.std() / np.sqrt(len(W)) < 0.15 * driven_correlator(2, np.sqrt(0.5), 1, 60)
    assert sum(exact) == pytest.approx(driven_correlator(2, np.sqrt(0.5), 1, 60), rel=0.15)


def test_too_large_is_refused():
    for arguments in ((MOST + 1,), (-1,)):
        with pytest.raises(ValueError, match="out of range"):
            tied_linear(*arguments)
    with pytest.raises(InputError):
        driven_correlator(2, 1.0, 1, 10)
