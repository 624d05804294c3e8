"""Unbiased connected correlators from power sums.

Samples t = 1..M give symmetric matrices X_t around a fixed centre c, d = X - c, and perhaps weights w_t of mean one
(importance sampling). With W_2k(d) the sum over the (2k-1)!! pairings of products of entries of d (Wick's theorem), a
network's output is Gaussian given X, so E f^{2k} = E W_2k(X) and the connected correlators are the joint cumulants

    G4c = <W_4> - sum_3 <d><d>,      G6c = <W_6> - sum_15 <d><W_4> + 2 sum_15 <d><d><d>,
    G8c = <W_8> - sum_28 <d><W_6> - sum_35 <W_4><W_4> + 2 sum_210 <d><d><W_4> - 6 sum_105 <d><d><d><d>,

sums over the splits of the legs. Products of expectations are estimated without bias over distinct samples (polykays:
Kendall & Stuart, The Advanced Theory of Statistics vol. 1, ch. 12-13). Their corrections close on the same symmetric
sums, because sum_3 d d = W_4, sum_15 d W_4 = 3 W_6, sum_28 d W_6 = 4 W_8, sum_35 W_4 W_4 = 3 W_8.

Three estimators differ only in what X is: `marginal`, X = Khat (docs: estimators); the pooled neurons of one hidden
layer, X = C_W s s^T with M = networks x width and G_2k,c scaled by N^{1-k}; `product`, X = f f^T. The last two have
moments of an amplitude in front, E a^{2k} / (2k-1)!! of W_2k: 1 / (2k-1)!! for `product`, the standardised moments of
the readout's weights for neurons.

When X and further conditional cumulants of f are estimates given a part P of the network (estimator `total`), the law
of total cumulance adds them: see :func:`_with_within`. `points` is a number, or a selection of components (a
:class:`nnqft.core.packing.Components`), to which tensors of order 4 and above are then cut: the algebra closes on it.
All functions broadcast over leading dimensions; float64.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import Basis, pair_products, pairing_products, splits, wick

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PowerSums:
    """Sums over samples; leading dimensions are jackknife groups.

    count (...); first (..., P) of d; second (..., PP) of d_i d_j, packed over products of pairs; third (..., S) of W_6;
    fourth (..., O) of W_8. With weights w, these are sums of w d, w^2 d d and w^3 W_6, and moment4 (..., PP), moment6
    and mixed6 (..., S) are those of w d d, w W_6, w^2 W_6. With conditional cumulants k4, k6 of f given P, within4
    (..., Q) sums k4, within6 k6, and cross6 sum_15 d k4 of each sample; within22 (..., PP) is the part of k4 before
    pairings are summed (Gaussian readouts).
    """

    count: NDArray
    first: Array
    second: Array | None = None
    third: Array | None = None
    fourth: Array | None = None
    moment4: Array | None = None
    moment6: Array | None = None
    mixed6: Array | None = None
    within22: Array | None = None
    within4: Array | None = None
    within6: Array | None = None
    cross6: Array | None = None

    def __sub__(self, other: "PowerSums") -> "PowerSums":
        """Leave the samples of `other` out."""
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return PowerSums(*(None if a is None or b is None else a - b for a, b in pairs))  # type: ignore[arg-type]

    def total(self, part: slice = slice(None)) -> "PowerSums":
        """Sum over some of the groups (the leading dimension)."""
        values = (getattr(self, f.name) for f in fields(self))
        return PowerSums(*(None if v is None else v[part].sum(axis=0) for v in values))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Amplitude:
    """E a^{2k} / (2k-1)!! for 2k = 4, 6, 8, and the number N of terms that make one network (1: none are pooled).

    common: E c^4 of the part c of the amplitude that two outputs of a network share.
    """

    four: float = 1.0
    six: float = 1.0
    eight: float = 1.0
    common: float = 1.0
    pooled: int = 1
    textbook: bool = False
    """The samples are f f^T, so that full correlators are plain averages."""


PRODUCT = Amplitude(1 / 3, 1 / 15, 1 / 105, textbook=True)


def connected(sums: PowerSums, centre: Array, points: Basis, amplitude: Amplitude = Amplitude()) -> dict[str, Array]:
    """G2, G4c, G6c, G8c, and G4c_outputs[ab, cd] = Cov(X_ab, X_cd): the correlator of two outputs, f1 f1 f2 f2.

    Orders without sums are left out. Unbiased for any number of samples above half the order; below, NaN.
    """
    M = np.asarray(sums.count, dtype=np.float64)[..., None]
    S2, found = sums.first, {"G2": centre + sums.first / M}
    if sums.second is None:
        return _with_within(found, sums, M, points)
    with np.errstate(divide="ignore", invalid="ignore"):
        pairs = pairing_products(points)
        S4, W4 = _contract(sums.second, pairs), _contract(_first(sums.moment4, sums.second), pairs)
        four = amplitude.four * W4 / M - (wick(S2, points, 4) - S4) / (M * (M - 1))
        found["G4c"] = four / amplitude.pooled
        found["G4c_outputs"] = _covariance(sums, M, points, amplitude.common) / amplitude.pooled
        if sums.third is not None:
            found["G6c"] = _six(sums, sums.third, S4, W4, M, points, amplitude) / amplitude.pooled**2
        if sums.third is not None and sums.fourth is not None:
            found["G8c"] = _eight(sums, sums.third, sums.fourth, S4, M, points, amplitude) / amplitude.pooled**3
    return _with_within(found, sums, M, points)


def full(
    found: dict[str, Array], networks: NDArray, points: Basis, sums: PowerSums, amplitude: Amplitude
) -> dict[str, Array]:
    """Full correlators G4, G6, G8 of the connected ones, without the bias of products of estimates.

    For M networks E G2_ab G2_cd = G2_ab G2_cd + Cov(Khat_ab, Khat_cd) / M, and so on: exact for `marginal` and
    pooled neurons with Gaussian readouts, else up to a bias of order G4c / M, far below the error. `product` averages.
    """
    M = np.asarray(networks, dtype=np.float64)[..., None]
    values: dict[str, Array] = {}
    if amplitude.textbook:
        four, six, eight = sums.second, sums.third, sums.fourth
        values |= {} if four is None else {"G4": _contract(four, pairing_products(points)) / (3 * M)}
        values |= {} if six is None else {"G6": six / (15 * M)}
        return values | ({} if eight is None else {"G8": eight / (105 * M)})
    if "G4c" not in found:
        return values
    G2, G4c = found["G2"], found["G4c"] * (1 - 1 / M)
    values["G4"] = G4c + wick(G2, points, 4)
    if "G6c" not in found:
        return values
    G6c = found["G6c"] * (1 - 1 / M) * (1 - 2 / M)
    values["G6"] = G6c + _product(G2, G4c, points, 2, 4) + wick(G2, points, 6)
    if "G8c" in found:
        pairs = _product(wick(G2, points, 4), G4c, points, 4, 4, ordered=True)
        values["G8"] = found["G8c"] + _product(G2, G6c, points, 2, 6) + _product(G4c, G4c, points, 4, 4)
        values["G8"] += pairs + wick(G2, points, 8)
    return values


def _six(sums: PowerSums, third: Array, S4: Array, W4: Array, M: Array, points: Basis, amplitude: Amplitude) -> Array:
    W6, mixed = _first(sums.moment6, third), _first(sums.mixed6, third)
    two_four = (_product(sums.first, W4, points, 2, 4) - 3 * mixed) / (M * (M - 1))
    cubes = wick(sums.first, points, 6) - _product(sums.first, S4, points, 2, 4) + 2 * third
    return amplitude.six * W6 / M - amplitude.four * two_four + 2 * cubes / (M * (M - 1) * (M - 2))


def _eight(sums: PowerSums, S6: Array, S8: Array, S4: Array, M: Array, points: Basis, amplitude: Amplitude) -> Array:
    """Eight legs; no weights."""
    S2 = sums.first
    P26, P44 = _product(S2, S6, points, 2, 6), _product(S4, S4, points, 4, 4)
    P224 = _product(wick(S2, points, 4), S4, points, 4, 4, ordered=True)
    M2, M3, M4 = M * (M - 1), M * (M - 1) * (M - 2), M * (M - 1) * (M - 2) * (M - 3)
    two_six, four_four = (P26 - 4 * S8) / M2, (P44 - 3 * S8) / M2
    two_two_four = (P224 - 2 * P44 - 3 * P26 + 12 * S8) / M3
    twos = (wick(S2, points, 8) - P224 + P44 + 2 * P26 - 6 * S8) / M4
    a = amplitude
    lower = a.six * two_six + a.four**2 * four_four - 2 * a.four * two_two_four + 6 * twos
    return a.eight * S8 / M - lower


def _with_within(found: dict[str, Array], sums: PowerSums, M: Array, points: Basis) -> dict[str, Array]:
    """Law of total cumulance: G4c += <k4>, G6c += <k6> + sum_15 Cov(k2, k4), G4c_outputs += <c>."""
    if sums.within4 is not None:
        found["G4c"] = found["G4c"] + sums.within4 / M
    if sums.within22 is not None:
        found["G4c_outputs"] = found["G4c_outputs"] + sums.within22 / M
    if sums.within4 is not None and sums.within6 is not None and sums.cross6 is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            covariance = (sums.cross6 - _product(sums.first, sums.within4, points, 2, 4) / M) / (M - 1)
        found["G6c"] = found["G6c"] + sums.within6 / M + covariance
    return found


def _covariance(sums: PowerSums, M: Array, points: Basis, common: float) -> Array:
    """Cov(X_i, X_j), packed over two pairs; weighted samples estimate it from w d d and w d."""
    assert sums.second is not None
    left, right = pair_products(points)
    products = sums.first[..., left] * sums.first[..., right]
    return common * _first(sums.moment4, sums.second) / M - (products - sums.second) / (M * (M - 1))


def _product(a: Array, b: Array, points: Basis, left: int, right: int, *, ordered: bool = False) -> Array:
    """Sum over the splits (left | right) of a on the left part times b on the right; split by split, to save memory.

    ordered: for left = right, both ways round.
    """
    first, second = splits(points, left, right)
    total = np.zeros((*a.shape[:-1], len(first)))
    for i, j in zip(first.T, second.T, strict=True):
        total += a[..., i] * b[..., j]
        if ordered:
            total += a[..., j] * b[..., i]
    return total


def _contract(second: Array, pairs: NDArray[np.int64]) -> Array:
    return second[..., pairs].sum(axis=-1)


def _first(value: Array | None, default: Array) -> Array:
    return default if value is None else value
