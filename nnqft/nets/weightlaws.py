"""Laws of independent weights of zero mean and unit variance, and the cumulants of a sum of neurons that use them.

A neuron a s with a unit s and an independent weight a of standardised moments m_2k = E a^2k has the moments
m_2k E s...s, and N of them, divided by sqrt(N), the joint cumulants N^(1-k) kappa_2k exactly. To leading order a weight
matters through its excess kurtosis kappa = m_4 - 3 alone: G4c gains kappa (C_W^2 / N^2) sum_i phi_ia phi_ib phi_ic
phi_id (Demirtas et al. 2307.03223 section 3).

| law | weight | kappa |
|---|---|---|
| gaussian | N(0, 1) | 0 |
| uniform | on [-sqrt 3, sqrt 3] | -6/5 |
| sign | 1 or -1 | -2 |
| student-nu | Student's t of nu degrees of freedom, rescaled | 6 / (nu - 4) |
| sparse-p | 0, or with probability p normal of variance 1 / p | 3 / p - 3 |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import inf, isfinite, prod
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator

from nnqft.core.gaussian import Unit, packed_moments
from nnqft.core.normals import lane_normals, threefry
from nnqft.core.packing import multisets, rank
from nnqft.nets.draws import layer
from nnqft.nets.lanes import Lanes

Array = NDArray[np.float64]

COARSEST, NODES, TOLERANCE = 16, 4e6, 1e-10
"""Quadrature over the first layer's weights: nodes of one weight at first, of all together at most, and accuracy."""


@dataclass(frozen=True)
class WeightLaw:
    """A law by its name in scan files: ValueError for a name that means none, or for an infinite fourth moment."""

    name: str

    def __post_init__(self) -> None:
        _parsed(self.name)

    @property
    def gaussian(self) -> bool:
        """Whether it is the normal law."""
        return self.name == "gaussian"

    @property
    def moments(self) -> tuple[float, float, float]:
        """Standardised moments m_4, m_6, m_8; `inf` where they do not exist."""
        family, parameter = _parsed(self.name)
        m4, m6, m8 = (_moment(family, parameter, k) for k in (2, 3, 4))
        return m4, m6, m8

    @property
    def light(self) -> bool:
        """Whether all moments exist."""
        return _parsed(self.name)[0] != "student"

    @property
    def kappa(self) -> float:
        """Excess kurtosis m_4 - 3."""
        return self.moments[0] - 3

    def draw(self, key: jax.Array, network: jax.Array, rows: int, columns: int, dtype: str = "float64") -> jax.Array:
        """Independent weights (networks, rows, columns): entry (m, i, j) depends on the key, network[m], i, j and the
        shape (rows, columns) only. ValueError if rows * columns exceeds the 32-bit counter.
        """
        if rows * columns >= 2**32:
            raise ValueError(f"{rows} x {columns} weights a network do not fit a 32-bit counter")
        lane = jnp.arange(rows, dtype=jnp.uint32)
        return self.draw_lanes(Lanes(key, network[:, None], lane, rows), columns, dtype)

    def draw_lanes(self, lanes: Lanes, columns: int, dtype: str) -> jax.Array:
        """Rows (network, index) of what :meth:`draw` gives for `count` rows: (*shape, columns)."""
        if self.gaussian:
            return jnp.stack(lane_normals(*lanes, columns), axis=-1).astype(dtype)
        network, index = jnp.broadcast_arrays(lanes.network, lanes.neuron)
        entry = index[..., None] + jnp.arange(columns, dtype=jnp.uint32) * jnp.asarray(lanes.neurons, dtype=jnp.uint32)
        family, parameter = _parsed(self.name)
        return _weights(family, parameter, *threefry(lanes.key, network[..., None], entry), dtype)

    def rule(self, count: int) -> tuple[Array, Array]:
        """Nodes and positive weights (sum 1) of a quadrature for E f(a), f smooth: (count,) each, two for `sign`.

        For Student's t it is the trapezoid rule in asinh(a), right for averages of |f| < a^2.
        """
        family, parameter = _parsed(self.name)
        if family == "sign":
            return np.array([-1.0, 1.0]), np.array([0.5, 0.5])
        if family == "uniform":
            nodes, weights = np.polynomial.legendre.leggauss(count)
            return np.sqrt(3) * nodes, weights / 2
        if family == "student":
            u = np.linspace(-1, 1, count) * 35 / (parameter - 2)
            weights = np.cosh(u) ** -parameter
            return np.sqrt(parameter - 2) * np.sinh(u), weights / weights.sum()
        nodes, weights = np.polynomial.hermite_e.hermegauss(count)
        weights = weights / weights.sum()
        if family == "gaussian":
            return nodes, weights
        return np.append(nodes / np.sqrt(parameter), 0.0), np.append(parameter * weights, 1 - parameter)


def _known_law(name: str) -> str:
    WeightLaw(name)
    return name


LawName = Annotated[str, AfterValidator(_known_law)]
"""The name of a law, as an option of a network."""


def draw_layer(
    law: WeightLaw,
    key: jax.Array,
    network: jax.Array,
    count: int,
    features: jax.Array,
    weight: jax.Array,
    bias: jax.Array,
    sampler: str,
    dtype: str,
) -> tuple[jax.Array, jax.Array | None]:
    """`count` neurons b + sum_k a_k phi_k a network, (networks, count, n) in `dtype`, and `draws.covariance` or None.

    features (networks, k, n), or (k, n) for all networks; a_k / sqrt(weight) has the law, b ~ N(0, bias). Gaussian
    layers are drawn by `sampler`, others weight by weight: these have no covariance that tells all.
    """
    if law.gaussian:
        return layer(key, network, count, features, weight, bias, sampler, dtype)
    lanes = Lanes(key, network[:, None], jnp.arange(count, dtype=jnp.uint32), count)
    return draw_units(law, lanes, features, weight, bias, dtype), None


def draw_units(
    law: WeightLaw, lanes: Lanes, features: jax.Array, weight: jax.Array, bias: jax.Array, dtype: str
) -> jax.Array:
    """Neurons (network, index) of what :func:`draw_layer` draws weight by weight for `count` neurons: (*shape, n)."""
    a = law.draw_lanes(lanes.salted(1), features.shape[-2], dtype)
    b = lane_normals(*lanes.salted(2), 1)[0]
    summed = jnp.matmul(a, features.astype(dtype), precision="highest")
    return jnp.sqrt(weight).astype(dtype) * summed + (jnp.sqrt(bias) * b[..., None]).astype(dtype)


def first_moments(law: WeightLaw, unit: Unit, design: Array, orders: Sequence[int]) -> tuple[dict[int, Array], float]:
    """Packed moments of s = unit(z), z_a = sum_k design_ak a_k, the last a_k normal (a bias), the others of the law.

    design (n, k). Product rules are refined until no moment moves by more than TOLERANCE of the largest of its order,
    or NODES are used up; the last such change is returned too (kinks make it large). ValueError if even the coarsest
    rule has too many nodes: see :func:`enumerable`.
    """
    laws = [law] * (design.shape[1] - 1) + [WeightLaw("gaussian")]
    used = [k for k in range(len(laws)) if np.any(design[:, k] != 0)] or [0]
    factor, count, found, change = design[:, used], COARSEST, None, inf
    while change > TOLERANCE:
        rules = [laws[k].rule(count) for k in used]
        if prod(len(nodes) for nodes, _ in rules) > NODES:
            break
        nodes = np.stack(np.meshgrid(*(r[0] for r in rules), indexing="ij"), axis=-1).reshape(-1, len(rules))
        weights = np.prod(np.meshgrid(*(r[1] for r in rules), indexing="ij"), axis=0).ravel()
        finer = packed_moments([(nodes, weights)], unit, factor, orders)
        if found is not None:
            change = max(float(np.max(np.abs(finer[k] - found[k])) / np.max(np.abs(finer[k]))) for k in orders)
        found, count = finer, int(1.5 * count)
    if found is None:
        raise ValueError(f"no quadrature over {len(used)} weights of the law {law.name}")
    return found, change


def enumerable(law: WeightLaw, weights: int) -> bool:
    """Whether :func:`first_moments` can refine at least once with that many weights and a bias."""
    count = int(1.5 * COARSEST)
    return len(law.rule(count)[0]) ** weights * count <= NODES


def neuron_cumulants(moments: dict[int, Array], points: int, weights: Sequence[float]) -> dict[int, Array]:
    """Joint cumulants of a s by order, packed, from the packed moments of s (orders 2, 4, ... without a gap).

    weights: m_4, m_6, m_8 of a, whose variance is 1; orders of which they are infinite are left out. a and s are
    independent and all odd moments vanish.
    """
    scales = {2: 1.0, **dict(zip((4, 6, 8), weights, strict=True))}
    full = {k: scales[k] * moment for k, moment in moments.items() if isfinite(scales[k])}
    found: dict[int, Array] = {}
    for order in sorted(full):
        legs, total = multisets(points, order), full[order]
        for size in range(2, order, 2):
            for block in combinations(range(1, order), size - 1):
                inside = [0, *block]
                outside = [leg for leg in range(1, order) if leg not in block]
                lower, rest = rank(legs[:, inside], points), rank(legs[:, outside], points)
                total = total - found[size][lower] * full[order - size][rest]
        found[order] = total
    return found


@lru_cache(maxsize=64)
def _parsed(name: str) -> tuple[str, float]:
    """Family and parameter (0 where there is none)."""
    if name in ("gaussian", "uniform", "sign"):
        return name, 0.0
    family, _, text = name.partition("-")
    try:
        parameter = float(text)
    except ValueError:
        parameter = float("nan")
    if family == "student" and parameter < inf:
        if parameter <= 4:
            raise ValueError(f"{name} has an infinite fourth moment: take more than 4 degrees of freedom")
        return family, parameter
    if family == "sparse" and 0 < parameter < 1:
        return family, parameter
    raise ValueError(f"no law of weights {name!r}: use gaussian, uniform, sign, student-NU or sparse-P with 0 < P < 1")


def _moment(family: str, parameter: float, k: int) -> float:
    """E a^2k."""
    normal = float(prod(range(1, 2 * k, 2)))
    if family == "uniform":
        return 3**k / (2 * k + 1)
    if family == "sign":
        return 1.0
    if family == "sparse":
        return normal * parameter ** (1 - k)
    if family == "student":
        ratios = [(parameter - 2) / (parameter - 2 * j) for j in range(1, k + 1) if parameter > 2 * j]
        return normal * prod(ratios) if len(ratios) == k else inf
    return normal


def _weights(family: str, parameter: float, first: jax.Array, second: jax.Array, dtype: str) -> jax.Array:
    """One weight from two uniform uint32 words; Student's t by the polar method of Bailey, Math. Comp. 62, 779."""
    if family == "sign":
        return 1 - 2 * (first >> np.uint32(31)).astype(dtype)
    uniform = _uniform(first, dtype)
    if family == "uniform":
        return np.sqrt(3).astype(dtype) * (2 * uniform - 1)
    cosine = jnp.cos(_uniform(second, dtype) * np.asarray(2 * np.pi, dtype))
    if family == "student":
        radius = jnp.sqrt((parameter - 2) * jnp.expm1(-2 / parameter * jnp.log(uniform)))
        return radius * cosine
    kept = np.uint32(min(round(parameter * 2**32), 2**32 - 1))
    radius = jnp.sqrt(-2 / parameter * jnp.log(jnp.minimum(uniform / parameter, 1)))
    return jnp.where(first < kept, radius * cosine, 0)


def _uniform(word: jax.Array, dtype: str) -> jax.Array:
    """Uniform on (0, 1]."""
    return (word.astype(dtype) + np.asarray(0.5, dtype)) * np.asarray(2.0**-32, dtype)
