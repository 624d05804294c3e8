"""Mean and covariance of functions of a few or many independent variables, with an error.

Few Gaussian variables and a smooth function: the trapezoid lattice of `nnqft.core.gaussian`, to 1e-9. Otherwise
scrambled Sobol points: averages over independent scramblings are unbiased and independent, so that their scatter is an
honest standard error; it falls nearly as 1 / points for smooth functions (Owen, J. Complexity 14 (1998) 466).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from nnqft.core.gaussian import MAX_DIMENSION, QuadratureError, Rule, refined_lattice
from nnqft.nets.base import Known, Quality

Array = NDArray[np.float64]
Integrand = Callable[[Array], tuple[Array, Array]]
"""Variables (m, r) -> psi (m, p), of which mean and covariance are wanted, and more (m, c), of which the mean is."""
Summary = Callable[[Array, Array, Array], tuple[Array, ...]]
"""Mean (p,) and covariance (p, p) of psi and mean (c,) of the rest -> what is wanted."""

WIDEST = 100.0
"""Growth of a lattice with the size of the amplitudes beyond which Sobol points take over: a minute of work."""
TOLERANCE = 1e-6
"""Relative error below which an average counts as quadrature."""
LATTICE_ERROR = 1e-8
"""Relative error that is ascribed to converged lattices."""
ROWS = 1 << 12
"""Points handed to the integrand at a time: one shape for compilers to see, or two."""
NAMES = "first", "second", "more"
SCRAMBLES = 16
FIRST = 1 << 10
"""Points of each scrambling before the first look at the error."""
BITS = 30
SEED = 20200819


@dataclass(frozen=True)
class Estimate:
    """A result and its standard error, of shapes that broadcast."""

    value: Array
    error: Array

    @property
    def relative(self) -> float:
        """Largest error over largest value: zero where both vanish."""
        error = float(np.max(self.error, initial=0.0))
        return error / float(np.max(np.abs(self.value))) if error > 0 else 0.0

    @property
    def quality(self) -> Quality:
        """How it was found, as far as its error tells."""
        error = self.relative
        return "exact" if error == 0 else "quadrature" if error <= TOLERANCE else "sampled"


def known_from(estimates: dict[int, Estimate], reason: str) -> Known:
    """Estimates (n_widths, components) by order as a prediction."""
    values = {order: found.value for order, found in estimates.items()}
    errors = {k: np.broadcast_to(e.error, e.value.shape) for k, e in estimates.items() if e.quality != "exact"}
    return Known(values, {order: found.quality for order, found in estimates.items()}, reason, errors)


def gaussian_estimates(
    integrand: Integrand,
    summary: Summary,
    amplitudes: Array,
    points: int,
    *,
    smooth: bool,
    even: bool = False,
    tolerance: float = TOLERANCE,
) -> tuple[Estimate, ...]:
    """Estimates for r independent standard normal variables; the same for the same arguments.

    amplitudes (r,): how fast the argument of the non-linearity grows with each variable; smooth: analytic near the real
    axis; even: unchanged when all variables change sign. psi may grow as the fourth power of the variables. points,
    tolerance: see `sobol_estimates`.
    """
    if smooth and len(amplitudes) <= MAX_DIMENSION and np.prod(np.sqrt(1 + 4 * amplitudes**2)) < WIDEST:
        try:
            found = refined_lattice(lambda rule: _rule_sums(integrand, rule), amplitudes, 8, even, 1e-9)
        except QuadratureError:
            pass
        else:
            values = _summarised(summary, [found.get(name, np.empty(0)) for name in NAMES])
            return tuple(Estimate(v, np.full_like(v, LATTICE_ERROR * np.max(np.abs(v), initial=0.0))) for v in values)
    return sobol_estimates(lambda u: integrand(ndtri(u)), summary, len(amplitudes), points, tolerance=tolerance)


def sobol_estimates(
    integrand: Integrand, summary: Summary, dimension: int, points: int, *, tolerance: float = TOLERANCE
) -> tuple[Estimate, ...]:
    """Estimates for independent variables u, uniform and strictly between 0 and 1; the same for the same arguments.

    The points double until every result has a relative error below `tolerance`, or `points` are spent.
    """
    from scipy.stats import qmc  # a second to import, and few need it

    seeds = np.random.SeedSequence(SEED).spawn(SCRAMBLES)
    engines = [qmc.Sobol(dimension, bits=BITS, seed=np.random.default_rng(s)) for s in seeds]  # pyright: ignore[reportCallIssue]
    sums = [_sums(integrand, _points(engine, FIRST)) for engine in engines]
    used = FIRST
    while True:
        single = [_summarised(summary, [part / used for part in parts]) for parts in sums]
        mean = [np.mean(parts, axis=0) / used for parts in zip(*sums, strict=True)]
        spread = [np.std(values, axis=0, ddof=1) / np.sqrt(SCRAMBLES) for values in zip(*single, strict=True)]
        found = tuple(Estimate(v, e) for v, e in zip(_summarised(summary, mean), spread, strict=True))
        if all(e.relative <= tolerance for e in found) or 2 * used * SCRAMBLES > points:
            return found
        for parts, engine in zip(sums, engines, strict=True):
            for part, more in zip(parts, _sums(integrand, _points(engine, used)), strict=True):
                part += more
        used *= 2


def _points(engine: Any, count: int) -> Iterator[tuple[Array, Array]]:
    """The next points of a sequence, moved to the middle of their cells, with weights one."""
    for start in range(0, count, ROWS):
        rows = min(ROWS, count - start)
        yield engine.random(rows) + 0.5 ** (BITS + 1), np.ones(rows)


def _rule_sums(integrand: Integrand, rule: Rule) -> dict[str, Array]:
    sums = dict(zip(NAMES, _sums(integrand, _pieces(rule)), strict=True))
    return {name: part for name, part in sums.items() if part.size}


def _pieces(rule: Rule) -> Iterator[tuple[Array, Array]]:
    """The same nodes and weights, ROWS at a time, the last of a chunk filled up by nodes without weight."""
    for nodes, weights in rule:
        missing = -len(nodes) % ROWS
        nodes, weights = np.pad(nodes, ((0, missing), (0, 0))), np.pad(weights, (0, missing))
        for start in range(0, len(nodes), ROWS):
            yield nodes[start : start + ROWS], weights[start : start + ROWS]


def _sums(integrand: Integrand, chunks: Iterable[tuple[Array, Array]]) -> list[Array]:
    """Weighted sums of psi (p,), psi psi (p, p) and the rest (c,)."""
    totals: list[Array] = []
    for nodes, weights in chunks:
        psi, more = integrand(nodes)
        parts = [weights @ psi, psi.T @ (weights[:, None] * psi), weights @ more]
        totals = [a + b for a, b in zip(totals, parts, strict=True)] if totals else parts
    return totals


def _summarised(summary: Summary, means: list[Array]) -> tuple[Array, ...]:
    first, second, more = means
    return summary(first, second - np.outer(first, first), more)
