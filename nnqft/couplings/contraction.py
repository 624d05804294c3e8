"""Contractions over the nodes of a rule for all components at once, and refinement until two rules agree.

Products of half the legs make a matrix, and its square with the weights is the integral: I4 comes from pairs, I6 from
triples. The same matrix bounds every component by Cauchy and Schwarz, |I4(abcd)|^2 <= I4(aabb) I4(ccdd), which is what
the accuracy refers to: a component itself may vanish.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import multisets, rank
from nnqft.couplings.operators import legs_of, power_of
from nnqft.couplings.quadrature import Rule
from nnqft.couplings.trees import Legs

Array = NDArray[np.float64]
Integrals = dict[str, Array]

TOLERANCE = {1: 1e-11, 2: 1e-10, 3: 1e-8}
"""By d_in: agreement of two successive rules."""

KINKED_TREE = 1e-6
"""The same for trees where the kernel is singular at a point."""

_TREE_TOLERANCE = {1: 1e-11, 2: 1e-9, 3: 1e-7}
_NODES = (12, 16, 24, 36, 54, 82, 122)  # Gauss-Legendre nodes a panel, until two agree
_TREE_NODES = {1: _NODES, 2: (8, 12, 16, 24, 36, 54), 3: (6, 8, 10, 12, 14, 16, 18, 22, 28)}
_CHUNK, _WORK = 1 << 14, 1 << 22  # nodes, and products of legs at nodes, that are held at a time


def contract(legs: Legs, rule: Rule, names: Sequence[str]) -> Integrals:
    """Sum over the nodes of a rule: packed integrals of the `names` but the tree."""
    n = legs.n
    first, second = multisets(n, 2).T
    pairs, triples = len(first), len(multisets(n, 3)) if "I6" in names else 0
    fours = {name: power_of(name) for name in names if legs_of(name) == 4}
    total = {name: np.zeros((pairs,) * 2) for name in fours} | {"I6": np.zeros((triples,) * 2)}
    a = np.zeros(pairs)
    for y, w in _in_chunks(rule, min(_CHUNK, max(1, _WORK // max(pairs, triples)))):
        k = legs.leg(y)
        product = k[first] * k[second]
        weighted = product * w
        a += weighted.sum(axis=1)
        square = np.sum(y * y, axis=1)
        for name, power in fours.items():
            total[name] += (weighted * square**power if power else weighted) @ product.T
        if "I6" in names:
            triple = legs.triples_of(k)
            total["I6"] += (triple * w) @ triple.T
    return {name: a if name == "A" else total[name][_halves(n, legs_of(name))] for name in names}


def _in_chunks(rule: Rule, size: int) -> Iterator[Rule]:
    y, w = rule
    for start in range(0, len(w), size):
        yield y[start : start + size], w[start : start + size]


def _halves(n: int, order: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Packed positions of the first and the last half of the legs of every component."""
    legs = multisets(n, order)
    return rank(legs[:, : order // 2], n), rank(legs[:, order // 2 :], n)


def converge(legs: Legs, d: int, names: Sequence[str], rule: Callable[[int], Rule]) -> Integrals:
    """Refine until two rules agree, relative to the Cauchy-Schwarz bound of each component (which may be zero)."""
    if not names:
        return {}
    n, tolerance = legs.n, TOLERANCE[d]
    coarse = contract(legs, rule(_NODES[0]), names)
    for nodes in _NODES[1:]:
        fine = contract(legs, rule(nodes), names)
        if all(np.all(np.abs(fine[k] - coarse[k]) <= tolerance * _bound(fine[k], n, legs_of(k))) for k in names):
            return fine
        coarse = fine
    raise RuntimeError(f"a vertex integral has not converged with {_NODES[-1]} Gauss-Legendre nodes a panel")


def _bound(values: Array, n: int, order: int) -> Array:
    """sqrt(I4(aabb) I4(ccdd)) >= |I4(abcd)|, and so for two and six legs."""
    doubled = rank(np.repeat(multisets(n, order // 2), 2, axis=1), n)
    norm = np.sqrt(values[doubled])
    first, last = _halves(n, order)
    return norm[first] * norm[last]


def converge_tree(
    integrate: Callable[[int], tuple[Array, ...]], d: int, tolerance: float | None = None
) -> tuple[Array, ...]:
    """The matrix of trees (and its derivative), refined until two rules agree relative to sqrt(tree_ss tree_tt)."""
    tolerance = _TREE_TOLERANCE[d] if tolerance is None else tolerance
    coarse = integrate(_TREE_NODES[d][0])
    for nodes in _TREE_NODES[d][1:]:
        fine = integrate(nodes)
        norm = np.sqrt(np.maximum(np.diagonal(fine[0]), 0.0))
        bounds = [np.multiply.outer(norm, norm)]
        for slope in fine[1:]:
            size = np.max(np.abs(slope) / np.where(norm > 0, norm, np.inf), axis=1, initial=0.0)
            outer = np.multiply.outer(size, norm)
            bounds.append(np.maximum(outer, outer.T))
        if all(np.all(np.abs(f - c) <= tolerance * b) for f, c, b in zip(fine, coarse, bounds, strict=True)):
            return fine
        coarse = fine
    raise RuntimeError(
        f"a tree has not converged with {_TREE_NODES[d][-1]} nodes a panel: K(y, z) varies too fast between far points"
    )
