"""Complete trees: the part of G6c that is quadratic in the quartic couplings, for every pair of operators.

V = int lambda(y) f^4 + lambda_nl (int f^2)^2 with lambda(y) = sum_k lambda_2k |y|^2k. Three legs of a vertex are at the
points a, b, c and the fourth is at the end of the propagator, where the operators have the sources

    F^2k_abc(y) = |y|^2k K_a K_b K_c(y)   and   F^nl_abc(y) = [A_ab K_c(y) + A_ac K_b(y) + A_bc K_a(y)] / 3

(the fourth derivatives of f^4 at one point and of (int f^2)^2 are 24 and 8 per pairing), so that, exactly at second
order in the couplings g,

    G6c_tree = sum_ij g_i g_j T_ij,   T_ij = 576 sum_{10 splits abc|def} int dy dz [F^i_abc K_w F^j_def + i <-> j] / 2.

lambda_0 alone is the tree of Halverson, Maiti, Stoner, arXiv:2008.08601, section 4; the others follow from the same
vertices as G4c = -24 lambda_2k I4_y2k and -8 lambda_nl sum A A. The derivative in Lambda contains that of A.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.core.packing import Components, multisets, rank, splits
from nnqft.core.selection import parts, placements
from nnqft.couplings.exchange import exchange
from nnqft.couplings.operators import checked, power_of
from nnqft.couplings.theory import Region, theory
from nnqft.couplings.vertices import vertex_integrals

Array = NDArray[np.float64]

_TOGETHER, _TOGETHER_KINKED = 8, 4  # points of selected components that are integrated together


def tree_design(
    activation: str,
    sigma_w: float,
    sigma_b: float,
    x: ArrayLike,
    cutoffs: ArrayLike,
    model: Sequence[str],
    *,
    depth: int = 1,
    region: Region = "box",
    strength: float = 1.0,
) -> tuple[Array, Array]:
    """T and dT / dLambda, float64 (n_cutoffs, sexts, m, m) each, symmetric in the m couplings of the model.

    G6c_tree = einsum("i,csij,j->cs", g, T, g). Arguments and accuracy are those of
    :func:`nnqft.couplings.vertices.vertex_integrals` for the name tree (the bound is of every pair of sources).

    Raises ValueError where that does (bad points, cutoffs or strength; an infinite cutoff unless gauss; depth > 1; an
    activation without a closed kernel) and for names that are no couplings; RuntimeError where quadrature does not
    converge (erf at far cutoffs in two and three dimensions) and for gauss points too far apart at a finite cutoff.
    """
    model = checked(model)
    x = np.asarray(x, dtype=np.float64)
    cutoffs = np.asarray(cutoffs, dtype=np.float64)
    powers = tuple(sorted(power_of(name) for name in set(model) - {"lambda_nl"}))
    nonlocal_too = "lambda_nl" in model
    law = theory(
        activation,
        sigma_w,
        sigma_b,
        x,
        cutoffs,
        depth=depth,
        region=region,
        strength=strength,
        trees=True,
        powers=powers,
        single=nonlocal_too,
    )
    value, slope = exchange(law, cutoffs)
    a = np.zeros((2, len(cutoffs), len(multisets(len(x), 2))))
    if nonlocal_too:
        found = vertex_integrals(activation, sigma_w, sigma_b, x, cutoffs, names=("A",), region=region)
        a = np.stack([found["A"], found["dA"]])
    trees, slopes = assembled(value, slope, a, len(x), model)
    return strength**7 * trees, strength**7 * slopes


def selected_tree_design(
    activation: str,
    sigma_w: float,
    sigma_b: float,
    x: Array,
    cutoffs: ArrayLike,
    model: Sequence[str],
    basis: Components,
    *,
    depth: int = 1,
    region: Region = "box",
    strength: float = 1.0,
) -> tuple[Array, Array]:
    """:func:`tree_design` of the selected components of six legs, some points at a time."""
    cutoffs = np.asarray(cutoffs, dtype=np.float64)
    shape = cutoffs.size, len(multisets(basis, 6)), len(model), len(model)
    found = np.full(shape, np.nan), np.full(shape, np.nan)
    together = _TOGETHER_KINKED if activation == "relu" else _TOGETHER
    for subset, place in placements(basis, [6], parts(basis, [6], together)):
        own = tree_design(
            activation,
            sigma_w,
            sigma_b,
            x[list(subset)],
            cutoffs,
            model,
            depth=depth,
            region=region,
            strength=strength,
        )
        there, here = place[6]
        for whole, part in zip(found, own, strict=True):
            whole[:, there] = part[:, here]
    return found


def assembled(matrix: Array, slope: Array, a: Array, n: int, model: Sequence[str]) -> tuple[Array, Array]:
    """T and its derivative from the matrix between the sources of :class:`nnqft.couplings.trees.Legs` and A.

    matrix, slope: (n_cutoffs, sources, sources), sources |y|^2k K_a K_b K_c by k and component, then K_c; a: A and its
    derivative, (2, n_cutoffs, pairs). The model's operators are linear maps of these sources.
    """
    left, right = splits(n, 3, 3)
    ends = [_ends(name, model, n, a) for name in model]
    shape = len(matrix), len(left), len(model), len(model)
    trees, slopes = np.empty(shape), np.empty(shape)
    for i, (own, first, first_slope) in enumerate(ends):
        rows, rows_slope = matrix[:, own], slope[:, own]
        half, half_slope = first @ rows, first @ rows_slope + first_slope @ rows
        for j, (other, last, last_slope) in enumerate(ends[: i + 1]):
            last, last_slope = last.swapaxes(-1, -2), last_slope.swapaxes(-1, -2)
            between = half[..., other] @ last
            change = half_slope[..., other] @ last + half[..., other] @ last_slope
            for found, values in ((trees, between), (slopes, change)):
                both = 288 * (values[:, left, right] + values[:, right, left]).sum(axis=-1)
                found[..., i, j] = found[..., j, i] = both
    return trees, slopes


def _ends(name: str, model: Sequence[str], n: int, a: Array) -> tuple[slice, Array, Array]:
    """The sources that an operator has, the map of F_abc (n_cutoffs or 1, triples, sources) onto them, its slope."""
    triples = multisets(n, 3)
    powers = sorted(power_of(other) for other in model if other != "lambda_nl")
    if name != "lambda_nl":
        start = powers.index(power_of(name)) * len(triples)
        identity = np.eye(len(triples))[None]
        return slice(start, start + len(triples)), identity, np.zeros_like(identity)
    onto = np.zeros((*a.shape[:2], len(triples), n))
    for leg in range(3):
        rest = np.delete(triples, leg, axis=1)
        onto[:, :, np.arange(len(triples)), triples[:, leg]] += a[..., rank(rest, n)] / 3
    start = len(powers) * len(triples)
    return slice(start, start + n), onto[0], onto[1]
