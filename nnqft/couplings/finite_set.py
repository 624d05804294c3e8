"""The action on a finite set of points: couplings g2, g4, g6 from connected correlators, without continuum or cutoff.

The density of the outputs phi at n points is exp(-S), S = g2 phi phi / 2 + g4 phi^4 / 4! + g6 phi^6 / 6! + ...
(symmetric tensors, all legs summed). It is the Edgeworth series read as diagrams: -S is the sum of all connected
diagrams with vertices G_c^(r), internal lines -G^-1 and external legs G^-1 phi (Halverson, arXiv:2112.04527;
Demirtas, Halverson, Maiti, Schwartz, Stoner, arXiv:2307.03223, section 3). In whitened coordinates u = W phi,
W G2 W^T = 1, with k4, k6 the cumulants of u, T_ab = k_abee, and repeated indices summed,

    g2 = 1 + T/2 - k_abccdd/8 + k_aefg k_befg/6 + k_abef T_ef/4 + T_ae T_eb/4,
    g4 = -k4 + k_abcdee/2 - (1/2) sum_3 k_abef k_efcd - (1/2) sum_4 k_abce T_ed,
    g6 = -k6 + sum_10 k_abce k_edef,

and g(phi) has W on every leg. With k4 ~ 1/N, k6 ~ 1/N^2 the first term after g2 = 1 and the first of g4 are of order
1/N, all others 1/N^2; what is left out is of order 1/N^3. `leading` keeps g2 = G2^-1 and g4 = -k4, amputated.

Tensors are packed (nnqft.core.packing) over all components of n points: (..., components), float64, leading dimensions
(architectures, widths, replicates) broadcast. Legs are amputated one after the other, some replicates at a time:
arrays of `MEMORY` bytes, or of 8 n C(n+2, 3)^2 bytes if that is more (4 MB for 10 points, 380 MB for 20).
"""

from collections.abc import Mapping
from functools import lru_cache
from math import sqrt
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import Indices, multisets, number, pack, pairing_legs, rank, splits, unpack

Array = NDArray[np.float64]

CONDITION_LIMIT = 1e5
"""Condition number from which amputation is refused: rounding of k6 grows with its cube, 2e-16 x 1e15 = 0.2."""
EXPANSION_LIMIT = 0.1
"""Expansion parameter from which the series is in doubt: on one point NLO moves g4 by 3.5 times as much."""
MEMORY = 2**26
"""Bytes of the arrays in which legs are amputated, unless a single tensor needs more."""

DIAGRAMS: Mapping[str, float] = MappingProxyType(
    {
        "g2 tadpole": 1 / 2, "g2 double tadpole": -1 / 8, "g2 sunset": 1 / 6, "g2 cactus": 1 / 4, "g2 chain": 1 / 4,
        "g4 tree": -1.0, "g4 tadpole": 1 / 2, "g4 bubble": -1 / 2, "g4 leg": -1 / 2,
        "g6 tree": -1.0, "g6 exchange": 1.0,
    }
)  # fmt: skip
"""Sign and symmetry factor of every diagram; channels (3 bubbles, 4 legs, 10 exchanges) are summed besides."""


class Couplings(NamedTuple):
    """g2 (..., pairs), g4 (..., quads), g6 (..., sexts), packed; g6 None at leading order."""

    g2: Array
    g4: Array
    g6: Array | None


class Expansion(NamedTuple):
    """How small the non-Gaussianity is.

    parameter (...): the largest |eigenvalue| of the whitened G4c as a matrix on pairs. It bounds the kurtosis
    |kappa_4(u)| / (u G2 u)^2 of every linear combination u of the outputs, and a bubble multiplies by at most half of
    it. kurtosis (..., n): kappa_4(u) / (u G2 u)^2 along the principal components u, largest variance first.
    """

    parameter: Array
    kurtosis: Array


def couplings(
    G2: Array, G4c: Array, G6c: Array | None = None, *, n: int, condition_limit: float = CONDITION_LIMIT
) -> Couplings:
    """Couplings at next-to-leading order; without G6c at leading order. Packed (..., components) for n points.

    NaN where G2 is not positive definite or its :func:`condition` is beyond the limit: no pseudo-inverse is put in its
    place (:func:`principal` gives the components in which there is an action). Quadratic terms carry the bias Var(k4)
    of the estimates. Raises ValueError for other numbers of components.
    """
    _check(n, {2: G2, 4: G4c} | ({} if G6c is None else {6: G6c}))
    white, _ = whitening(G2, n, condition_limit=condition_limit)
    back = np.swapaxes(white, -1, -2)
    k4 = transform(G4c, 4, white)
    if G6c is None:
        return Couplings(pack(back @ white), transform(DIAGRAMS["g4 tree"] * k4, 4, back), None)
    k6 = transform(G6c, 6, white)
    g2, g4, g6 = _two(k4, k6, n), _four(k4, k6, n), _six(k4, k6, n)
    return Couplings(pack(back @ g2 @ white), transform(g4, 4, back), transform(g6, 6, back))


def condition(G2: Array, n: int) -> Array:
    """Condition number (...) of the correlation matrix G2_ab / sqrt(G2_aa G2_bb); infinite where it is not positive.

    (That of G2 itself changes when the output at a point is measured in other units; couplings only follow.)
    """
    return whitening(G2, n)[1]


def whitening(G2: Array, n: int, *, condition_limit: float = np.inf) -> tuple[Array, Array]:
    """W (..., n, n) with W G2 W^T = 1 and the condition number (...); W is NaN where that is beyond the limit.

    Rows of W are the principal components of the outputs in units of their standard deviations, largest first, each
    scaled to unit variance; of each row the largest entry is positive.
    """
    values, vectors, scale = _spectrum(G2, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(values[..., -1] > 0, values[..., 0] / values[..., -1], np.inf)
        rows = np.swapaxes(vectors, -1, -2) / np.sqrt(values)[..., None] / scale[..., None, :]
    good = (found <= condition_limit) & np.isfinite(found)
    return np.where(good[..., None, None], rows, np.nan), found


def principal(G2: Array, n: int, *, condition_limit: float = CONDITION_LIMIT, keep: int | None = None) -> Array:
    """The leading rows (m, n) of W for one G2 (pairs,): components whose variance is within the limit of the largest.

    u = W phi has an action of its own, the marginal over what is left out (all there is where G2 has rank m): its
    cumulants are ``transform(G4c, 4, W)`` and so on, to be given to :func:`couplings` with n = m. At most `keep`.
    Empty when G2 is not finite or has a variance that is not positive.
    """
    values, vectors, scale = _spectrum(G2, n)
    if not np.isfinite(values).all():
        return np.empty((0, n))
    m = int(np.count_nonzero(values * condition_limit >= values[0]))
    m = m if keep is None else min(m, keep)
    return vectors[:, :m].T / np.sqrt(values[:m])[:, None] / scale


def expansion(G2: Array, G4c: Array, *, n: int, condition_limit: float = CONDITION_LIMIT) -> Expansion:
    """The whitened expansion parameter: it, not 1/N, decides whether the series makes sense. NaN where refused."""
    _check(n, {2: G2, 4: G4c})
    white, _ = whitening(G2, n, condition_limit=condition_limit)
    k4 = transform(G4c, 4, white)
    diagonal = rank(np.repeat(np.arange(n)[:, None], 4, axis=1), n)
    good = np.asarray(np.isfinite(k4).all(axis=-1))
    weight = np.where(multisets(n, 2)[:, 0] == multisets(n, 2)[:, 1], 1.0, sqrt(2.0))  # a pair stands for ab and ba
    matrix = np.where(good[..., None], k4, 0.0)[..., _pairs_of_pairs(n)] * weight[:, None] * weight
    size = np.abs(np.linalg.eigvalsh(matrix)).max(axis=-1)
    return Expansion(np.where(good, size, np.nan), k4[..., diagonal])


def transform(tensor: Array, order: int, matrix: Array) -> Array:
    """Packed tensor with `matrix` (..., m, n) on each of its legs: (..., components over n) -> (..., over m)."""
    m, n = matrix.shape[-2:]
    lead = np.broadcast_shapes(tensor.shape[:-1], matrix.shape[:-2])
    flat = np.broadcast_to(tensor, (*lead, tensor.shape[-1])).reshape(-1, tensor.shape[-1])
    shared = matrix.ndim == 2
    matrices = matrix[None] if shared else np.broadcast_to(matrix, (*lead, m, n)).reshape(-1, m, n)
    found = np.empty((len(flat), number(m, order)))
    step = max(1, MEMORY // (8 * _largest(m, n, order)))
    for start in range(0, len(flat), step):
        here = slice(start, start + step)
        rows, values = matrices[:1, None] if shared else matrices[here, None], flat[here, None]
        for done in range(order):  # (B, components of the new legs, components of the old ones)
            opened, kept = _leg_opened(n, order - done), _leg_added(m, done + 1)
            values = (rows @ values[:, :, opened]).reshape(len(values), -1, opened.shape[1])[:, kept]
        found[here] = values[..., 0]
    return found.reshape(*lead, -1)


def _two(k4: Array, k6: Array, n: int) -> Array:
    """g2 (..., n, n) in whitened coordinates."""
    triples, pairs = _with_point(k4, n), unpack(_loop(k4, 4, n), n)
    weight = np.bincount(rank(np.indices((n, n, n)).reshape(3, -1).T, n)).astype(np.float64)  # orders of efg
    cactus = k4[..., _pairs_of_pairs(n)] @ (_multiplicity(n) * pack(pairs))[..., None]
    terms = {
        "g2 tadpole": pairs,
        "g2 double tadpole": unpack(_loop(_loop(k6, 6, n), 4, n), n),
        "g2 sunset": np.swapaxes(triples * weight[:, None], -1, -2) @ triples,
        "g2 cactus": unpack(cactus[..., 0], n),
        "g2 chain": pairs @ pairs,
    }
    return np.eye(n) + sum(DIAGRAMS[name] * term for name, term in terms.items())


def _four(k4: Array, k6: Array, n: int) -> Array:
    """g4 (..., quads) in whitened coordinates."""
    matrix = k4[..., _pairs_of_pairs(n)]
    channels = (matrix * _multiplicity(n)) @ matrix
    left, right = np.moveaxis(pairing_legs(n, 4), -1, 0)
    three, one = splits(n, 3, 1)
    legs = _with_point(k4, n) @ unpack(_loop(k4, 4, n), n)
    terms = {
        "g4 tree": k4,
        "g4 tadpole": _loop(k6, 6, n),
        "g4 bubble": channels[..., left, right].sum(axis=-1),
        "g4 leg": legs[..., three, one].sum(axis=-1),
    }
    return np.asarray(sum(DIAGRAMS[name] * term for name, term in terms.items()))


def _six(k4: Array, k6: Array, n: int) -> Array:
    """g6 (..., sexts) in whitened coordinates."""
    triples = _with_point(k4, n)
    left, right = splits(n, 3, 3)
    exchange = (triples @ np.swapaxes(triples, -1, -2))[..., left, right].sum(axis=-1)
    return DIAGRAMS["g6 tree"] * k6 + DIAGRAMS["g6 exchange"] * exchange


def _loop(tensor: Array, order: int, n: int) -> Array:
    """Two legs closed: sum_e k_(...)ee, packed, of order - 2."""
    rest = multisets(n, order - 2)
    closed = np.repeat(np.arange(n)[:, None], 2, axis=1)
    legs = np.concatenate([np.repeat(rest, n, axis=0), np.tile(closed, (len(rest), 1))], axis=1)
    return tensor[..., rank(legs, n).reshape(len(rest), n)].sum(axis=-1)


def _with_point(k4: Array, n: int) -> Array:
    """k_(abc)e as (..., triples, n)."""
    triples = multisets(n, 3)
    legs = np.concatenate([np.repeat(triples, n, axis=0), np.tile(np.arange(n), len(triples))[:, None]], axis=1)
    return k4[..., rank(legs, n).reshape(len(triples), n)]


def _pairs_of_pairs(n: int) -> Indices:
    """Position (pairs, pairs) of k_(ab)(cd) among the quads."""
    pairs = multisets(n, 2)
    both = np.concatenate([np.repeat(pairs, len(pairs), axis=0), np.tile(pairs, (len(pairs), 1))], axis=1)
    return rank(both, n).reshape(len(pairs), len(pairs))


def _multiplicity(n: int) -> Array:
    """How often a packed pair comes in a sum over two indices: 1 or 2."""
    pairs = multisets(n, 2)
    return np.where(pairs[:, 0] == pairs[:, 1], 1.0, 2.0)


@lru_cache(maxsize=64)
def _leg_opened(n: int, order: int) -> Indices:
    """Packed position (n, components of order - 1) of leg e with the other legs."""
    rest = multisets(n, order - 1)
    legs = np.concatenate([np.repeat(np.arange(n), len(rest))[:, None], np.tile(rest, (n, 1))], axis=1)
    return rank(legs, n).reshape(n, len(rest))


@lru_cache(maxsize=64)
def _leg_added(m: int, order: int) -> Indices:
    """Where each component is among (components of order - 1, m): its last leg is the new one."""
    legs = multisets(m, order)
    return rank(legs[:, :-1], m) * m + legs[:, -1]


def _largest(m: int, n: int, order: int) -> int:
    """Entries of the largest array on the way of one tensor from n points to m."""
    return max(number(m, done) * number(n, order - done - 1) * max(m, n) for done in range(order))


def _spectrum(G2: Array, n: int) -> tuple[Array, Array, Array]:
    """Eigenvalues (descending; NaN where there are none) and vectors of the correlation matrix, standard deviations."""
    matrix = unpack(np.asarray(G2, dtype=np.float64), n)
    variance = np.diagonal(matrix, axis1=-2, axis2=-1)
    good = np.asarray(np.isfinite(matrix).all(axis=(-1, -2)) & (variance > 0).all(axis=-1))
    scale = np.sqrt(np.where(good[..., None], variance, 1.0))
    correlation = np.where(good[..., None, None], matrix, np.eye(n)) / scale[..., :, None] / scale[..., None, :]
    values, vectors = np.linalg.eigh(correlation)
    values, vectors = np.flip(values, axis=-1), np.flip(vectors, axis=-1)
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=-2)[..., None, :], axis=-2)
    return np.where(good[..., None], values, np.nan), vectors * np.sign(largest), scale


def _check(n: int, tensors: Mapping[int, Array]) -> None:
    for order, tensor in tensors.items():
        if tensor.shape[-1:] != (len(multisets(n, order)),):
            raise ValueError(f"{n} points have {len(multisets(n, order))} components of {order} legs: {tensor.shape}")
