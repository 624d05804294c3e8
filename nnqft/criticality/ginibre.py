"""Linear recurrent networks with tied weights, to all orders in 1/N: traces of powers of one random matrix.

    C(t, s) = (1/N) E tr (W^T)^t W^s,    K_t = C(t, t),    W_ij ~ N(0, 1/N) (sigma_w = 1).

Real matrices: integration by parts (Schwinger-Dyson). The letter W_ab of tr(W u) is contracted with every other one;
with unit variances

    tr(W u W v) -> tr(u v^T),        tr(W u W^T v) -> tr u tr v,
    tr(W u) tr(W v) -> tr(u v^T),    tr(W u) tr(W^T v) -> tr(u v),

so products of traces of words in W, W^T reduce to powers of N = tr 1, with integer coefficients. Words equal up to
rotation and transposition are identified and remembered. Complex matrices have a closed form.
"""

from functools import cache

from nnqft.core.errors import InputError

MOST = 12
"""Largest (t + s) / 2, below a second; each step more doubles the words to remember and takes 2.3 times as long."""

Word = tuple[int, ...]
"""A cyclic word: 0 is W, 1 is W^T."""
Polynomial = tuple[tuple[int, int], ...]
"""Pairs (power of N, coefficient)."""


def tied_linear(t: int) -> tuple[int, ...]:
    """Integer coefficients of K_t = (1/N) E tr (W^T)^t W^t in u = 1/N, for W_ij ~ N(0, 1/N): K_2 = 1 + 2 u^2.

    The lowest power first, no trailing zeros.

    Raises:
        InputError: unless 0 <= t <= MOST.
    """
    return two_time(t, t)


def two_time(t: int, s: int) -> tuple[int, ...]:
    """Integer coefficients of C(t, s) = (1/N) E tr (W^T)^t W^s in u = 1/N; empty for odd t - s, where it vanishes.

    At leading order [min(t, s) + 1] / N for even t != s.

    Raises:
        InputError: for negative times, or t + s > 2 MOST.
    """
    if t < 0 or s < 0 or t + s > 2 * MOST:
        raise InputError("t", f"times {t}, {s} are out of range", f"use non-negative times of mean at most {MOST}")
    powers = dict(_moment((_canonical((1,) * t + (0,) * s),)))
    below = {(t + s) // 2 + 1 - power: coefficient for power, coefficient in powers.items()}
    return tuple(below.get(k, 0) for k in range(max(below, default=-1) + 1))


def tied_linear_complex(t: int) -> tuple[int, ...]:
    """Integer coefficients of (1/N) E tr W^t W^t+ in u = 1/N, for complex Gaussian W_ij of mean square 1/N.

    N^-(t + 1) [N (N + 1) ... (N + t + 1) - N (N - 1) ... (N - t - 1)] / ((t + 1) (t + 2)); at large N and fixed
    x = t^2 / 2N it is sinh(x) / x: tied networks expand in t^2 / N.

    Raises:
        InputError: for negative t.
    """
    if t < 0:
        raise InputError("t", f"must not be negative, got {t}", "use zero or more")
    rising = [1]
    for k in range(t + 2):  # coefficients of N^0, N^1, ... of N (N + 1) ... (N + k)
        rising = [a + k * b for a, b in zip([0, *rising], [*rising, 0], strict=True)]
    total = [2 * c // ((t + 1) * (t + 2)) if (t + 2 - power) % 2 else 0 for power, c in enumerate(rising)]
    found = total[t + 1 :: -1]
    while found[-1] == 0:
        found.pop()
    return tuple(found)


def evaluated(coefficients: tuple[int, ...], width: int) -> float:
    """The polynomial at u = 1 / width."""
    return float(sum(c / width**k for k, c in enumerate(coefficients)))


def driven_correlator(lag: int, sigma_w: float, noise: float, width: int) -> float:
    """C(lag) of h_(t+1) = W h_t + sqrt(D) eta_t, stationary, to order 1/N; `noise` is D.

    sum_t C(t, t + lag) sigma_w^(2t + lag): D / (1 - sigma_w^2) at lag 0, where 1/N does not correct it; for even lags
    the double pole D sigma_w^lag / N (1 - sigma_w^2)^2; zero for odd ones.

    Raises:
        InputError: for sigma_w >= 1, where nothing is stationary.
    """
    _contracting(sigma_w)
    if lag == 0:
        return noise / (1 - sigma_w**2)
    return noise * sigma_w ** abs(lag) / (width * (1 - sigma_w**2) ** 2) if lag % 2 == 0 else 0.0


def biased_variance(sigma_w: float, sigma_b: float, width: int) -> float:
    """Variance of the fixed point h = W h + b to order 1/N.

    sigma_b^2 sum_ts sigma_w^(t + s) C(t, s) = sigma_b^2 [1 / (1 - sigma_w^2) + 2 sigma_w^2 / N (1 - sigma_w^2)^3].

    Raises:
        InputError: for sigma_w >= 1, where there is no such expansion.
    """
    _contracting(sigma_w)
    rest = 1 - sigma_w**2
    return sigma_b**2 * (1 / rest + 2 * sigma_w**2 / (width * rest**3))


def _contracting(sigma_w: float) -> None:
    if not 0 <= sigma_w < 1:
        raise InputError("sigma_w", f"must be in [0, 1), got {sigma_w}", "lower it")


def _canonical(word: Word) -> Word:
    """The least of a word's rotations and those of its transpose: all have the same trace."""
    turned = _transposed(word)
    return min(w[i:] + w[:i] for w in (word, turned) for i in range(max(len(word), 1)))


def _transposed(word: Word) -> Word:
    return tuple(1 - letter for letter in reversed(word))


@cache
def _moment(words: tuple[Word, ...]) -> Polynomial:
    """E prod tr(word) for unit variances; words canonical and sorted."""
    letters = [word for word in words if word]
    loops = len(words) - len(letters)
    if not letters:
        return ((loops, 1),)
    first, rest = letters[0], letters[1:]  # canonical words begin with W
    tail, total = first[1:], {}
    reduced = [
        ([tail[:j], tail[j + 1 :]] if letter else [tail[:j] + _transposed(tail[j + 1 :])], rest)
        for j, letter in enumerate(tail)
    ]
    for i, other in enumerate(rest):
        for j, letter in enumerate(other):
            opened = other[j + 1 :] + other[:j]
            reduced.append(([tail + (opened if letter else _transposed(opened))], rest[:i] + rest[i + 1 :]))
    for new, kept in reduced:
        for power, coefficient in _moment(tuple(sorted([*map(_canonical, new), *kept]))):
            total[power + loops] = total.get(power + loops, 0) + coefficient
    return tuple(sorted(total.items()))
