"""Unbiased cumulants from power sums (k-statistics), contracted over the pairings of a correlator.

Input: for M networks, power sums of deviations d = X - c of the packed entries X of a symmetric matrix a network:
s1_i = sum d_i, s2_ij = sum d_i d_j, and s3 = sum over networks and over the 15 pairings of d_i d_j d_k for each
six-point component. Fisher's k-statistics (Kendall & Stuart, The Advanced Theory of Statistics vol. 1, ch. 12-13):
k2(ij) = (s2_ij - s1_i s1_j / M) / (M - 1),
k3(ijk) = [M^2 s3_ijk - M (s2_ij s1_k + s2_ik s1_j + s2_jk s1_i) + 2 s1_i s1_j s1_k] / (M (M - 1) (M - 2)).

For the marginal estimator X = Khat and (physics: the law of f given Khat is Gaussian)
G2 = k1,  G4c = sum over 3 pairings of k2,  G6c = sum over 15 pairings of k3.
For the product estimator X = f f^T, and the cumulants of f are U-statistics of the same sums.
All functions broadcast over leading dimensions, so a jackknife is one call. Arrays are float64 throughout.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import multisets, pairing_legs, rank

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PowerSums:
    """count (...), first (..., pairs), second (..., products) or None, third (..., sexts) or None."""

    count: NDArray
    first: Array
    second: Array | None = None
    third: Array | None = None

    def __sub__(self, other: "PowerSums") -> "PowerSums":
        """Leave the networks of `other` out."""
        return PowerSums(
            self.count - other.count,
            self.first - other.first,
            None if self.second is None or other.second is None else self.second - other.second,
            None if self.third is None or other.third is None else self.third - other.third,
        )


def marginal(sums: PowerSums, centre: Array, points: int) -> dict[str, Array]:
    """G2, G4c, G6c and the full G4, G6 from sums of Khat - centre; orders without sums are left out.

    Unbiased for any number of networks above the order's half; below it the result is NaN.
    """
    M = np.asarray(sums.count, dtype=np.float64)[..., None]
    mean = sums.first / M
    found = {"G2": centre + mean}
    if sums.second is None:
        return found
    left, right = pairing_legs(points, 4)[..., 0], pairing_legs(points, 4)[..., 1]
    second = _pairs_of(sums.second, left, right, centre.shape[-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        k2 = (second - sums.first[..., left] * sums.first[..., right] / M[..., None]) / (M[..., None] - 1)
    found["G4c"] = k2.sum(axis=-1)
    raw = second / M[..., None] + _cross(centre, mean, left, right)
    found["G4"] = raw.sum(axis=-1)
    if sums.third is None:
        return found
    legs = pairing_legs(points, 6)
    triple = sums.third
    mixed, product = _contractions(sums, legs)
    with np.errstate(divide="ignore", invalid="ignore"):
        found["G6c"] = (M**2 * triple - M * mixed + 2 * product) / (M * (M - 1) * (M - 2))
    found["G6"] = triple / M + _shifted_third(sums, centre, mean, legs, M)
    return found


def product(sums: PowerSums, points: int) -> dict[str, Array]:
    """G2, G4c, G6c and the full G4, G6 from sums of f f^T (centre 0), with odd correlators known to vanish.

    Products of expectations are estimated without bias over distinct networks:
    U(p|q) = (s1_p s1_q - s2_pq) / (M (M - 1)) and its third-order analogues.
    """
    M = np.asarray(sums.count, dtype=np.float64)[..., None]
    found = {"G2": sums.first / M}
    if sums.second is None:
        return found
    pairs = sums.first.shape[-1]
    left, right = pairing_legs(points, 4)[..., 0], pairing_legs(points, 4)[..., 1]
    second = _pairs_of(sums.second, left, right, pairs)
    found["G4"] = (second / M[..., None]).mean(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        separate = (sums.first[..., left] * sums.first[..., right] - second) / (M * (M - 1))[..., None]
    found["G4c"] = found["G4"] - separate.sum(axis=-1)
    if sums.third is None:
        return found
    mixed, cubic = _contractions(sums, pairing_legs(points, 6))
    found["G6"] = sums.third / (15 * M)
    with np.errstate(divide="ignore", invalid="ignore"):
        two_four = (mixed - 3 * sums.third) / (M * (M - 1)) / 3
        two_two_two = (cubic - mixed + 2 * sums.third) / (M * (M - 1) * (M - 2))
    found["G6c"] = found["G6"] - two_four + 2 * two_two_two
    return found


def _pairs_of(second: Array, left: NDArray[np.int64], right: NDArray[np.int64], pairs: int) -> Array:
    """Entries s2[left, right] of the packed second sums."""
    return second[..., rank(np.stack([left, right], axis=-1), pairs)]


def _cross(centre: Array, mean: Array, left: NDArray[np.int64], right: NDArray[np.int64]) -> Array:
    """E[X_i X_j] - E[d_i d_j] = c_i c_j + c_i m_j + m_i c_j."""
    a, b = centre[..., left], centre[..., right]
    return a * b + a * mean[..., right] + mean[..., left] * b


def _contractions(sums: PowerSums, legs: NDArray[np.int64]) -> tuple[Array, Array]:
    """Sums over the pairings of s2_ij s1_k + s2_ik s1_j + s2_jk s1_i, and of s1_i s1_j s1_k.

    Pairing by pairing, so that memory stays at one array of components.
    """
    assert sums.second is not None
    pairs = sums.first.shape[-1]
    mixed = np.zeros((*sums.first.shape[:-1], len(legs)))
    cubic = np.zeros_like(mixed)
    for i, j, k in np.moveaxis(legs, 1, 0).transpose(0, 2, 1):
        a, b, c = sums.first[..., i], sums.first[..., j], sums.first[..., k]
        mixed += _pairs_of(sums.second, i, j, pairs) * c
        mixed += _pairs_of(sums.second, i, k, pairs) * b
        mixed += _pairs_of(sums.second, j, k, pairs) * a
        cubic += a * b * c
    return mixed, cubic


def _shifted_third(sums: PowerSums, centre: Array, mean: Array, legs: NDArray[np.int64], M: Array) -> Array:
    """Sum over pairings of E[X_i X_j X_k] - E[d_i d_j d_k]."""
    assert sums.second is not None
    pairs = sums.first.shape[-1]
    total = np.zeros((*sums.first.shape[:-1], len(legs)))
    for i, j, k in np.moveaxis(legs, 1, 0).transpose(0, 2, 1):
        a, b, c = centre[..., i], centre[..., j], centre[..., k]
        total += a * b * c + a * b * mean[..., k] + a * c * mean[..., j] + b * c * mean[..., i]
        for e, (p, q) in ((a, (j, k)), (b, (i, k)), (c, (i, j))):
            total += e * _pairs_of(sums.second, p, q, pairs) / M
    return total


def split(statistics: Array, count: NDArray, points: int, max_order: int) -> PowerSums:
    """Power sums from statistics vectors (..., length) as a block stores them."""
    pairs = len(multisets(points, 2))
    products = pairs * (pairs + 1) // 2 if max_order >= 4 else 0
    return PowerSums(
        count,
        statistics[..., :pairs],
        statistics[..., pairs : pairs + products] if max_order >= 4 else None,
        statistics[..., pairs + products :] if max_order >= 6 else None,
    )
