"""The operators of the quartic action, by name: the integrals they need and their columns in the fit of G4c.

    V = int d^d y lambda(y) f^4 + lambda_nl (int d^d y f^2)^2,   lambda(y) = sum_k lambda_2k |y|^2k

(Halverson, Maiti, Stoner, arXiv:2008.08601, section 4, for constant lambda). At leading order

    G4c = -24 sum_k lambda_2k I4_y2k - 8 lambda_nl sum_{3 pairings} A A,   I4_y2k = int d^d y |y|^2k K_a K_b K_c K_d,

where I4_y0 is called I4. Lambda is the cutoff of the integrals, not a coupling.
"""

import re
from collections.abc import Iterable, Sequence
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import Basis, pairing_legs

Array = NDArray[np.float64]
Integrals = dict[str, Array]

COUPLINGS = ("lambda_0", "lambda_2", "lambda_nl")
QUARTIC = ("I4", "I4_y2", "A")
ALL = (*QUARTIC, "I6", "tree")
COUPLING_PATTERN = r"^lambda_(nl|0|[2468]|1[02468])$"
"""Names of the couplings; |y|^18 is the highest power."""

_MONOMIAL = re.compile(r"I4(?:_y([2468]|1[02468]))?")
_LEGS = {"A": 2, "I6": 6, "tree": 6}


def is_coupling(name: str) -> bool:
    """Whether a quartic coupling is called that."""
    return re.fullmatch(COUPLING_PATTERN, name) is not None


def is_integral(name: str) -> bool:
    """Whether :func:`nnqft.couplings.vertices.vertex_integrals` knows the name."""
    return name in _LEGS or _MONOMIAL.fullmatch(name) is not None


def legs_of(name: str) -> int:
    """Legs of an integral: 2, 4 or 6."""
    return _LEGS.get(name, 4)


def power_of(name: str) -> int:
    """The k of |y|^2k in an integral (I4_y2k) or a local coupling (lambda_2k); 0 for I4, A, I6."""
    if is_coupling(name):
        return int(name.removeprefix("lambda_")) // 2
    found = _MONOMIAL.fullmatch(name)
    return int(found[1] or 0) // 2 if found else 0


def quartic_names(models: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The integrals that the designs of the models need, such as (I4, I4_y2, I4_y4, A): by power, A last.

    ValueError for a name that is no coupling.
    """
    couplings = {name for model in models for name in checked(model)}
    powers = sorted(power_of(name) for name in couplings - {"lambda_nl"})
    return (*map(monomial, powers), *(["A"] if "lambda_nl" in couplings else []))


def monomial(k: int) -> str:
    """The name of the integral over |y|^2k and four legs."""
    return f"I4_y{2 * k}" if k else "I4"


def checked(model: Sequence[str]) -> tuple[str, ...]:
    """The couplings of a model, each once; ValueError otherwise."""
    if not model or not all(map(is_coupling, model)) or len(set(model)) < len(model):
        raise ValueError(
            f"a model is a list of couplings out of lambda_0, lambda_2, ..., lambda_18 and lambda_nl, not {list(model)}"
        )
    return tuple(model)


def design(integrals: Integrals, model: Sequence[str], basis: Basis | None = None) -> Array:
    """Columns dG4c / d(coupling) of the leading-order fit: shape (n_cutoffs, quads, couplings), in the model's order.

    integrals: at least those of :func:`quartic_names`. basis: the components, if selected. ValueError for a name that
    is no coupling, or whose integral is missing.
    """
    return np.stack([_column(integrals, name, basis) for name in _available(integrals, model)], axis=-1)


def design_slope(integrals: Integrals, model: Sequence[str], basis: Basis | None = None) -> Array:
    """Derivative of :func:`design` with respect to the cutoff Lambda, same shape, from the surface terms."""
    return np.stack([_slope(integrals, name, basis) for name in _available(integrals, model)], axis=-1)


def _available(integrals: Integrals, model: Sequence[str]) -> tuple[str, ...]:
    missing = [name for name in quartic_names([model]) if name not in integrals]
    if missing:
        raise ValueError(f"the couplings {', '.join(model)} need the integrals {', '.join(missing)}")
    return tuple(model)


def _column(integrals: Integrals, name: str, basis: Basis | None) -> Array:
    if name != "lambda_nl":
        return -24 * integrals[monomial(power_of(name))]
    a = integrals["A"][:, _pairs_of_quads(integrals, basis)]
    return -8 * np.prod(a, axis=-1).sum(axis=-1)


def _slope(integrals: Integrals, name: str, basis: Basis | None) -> Array:
    if name != "lambda_nl":
        return -24 * integrals["d" + monomial(power_of(name))]
    pairs = _pairs_of_quads(integrals, basis)
    a, da = integrals["A"][:, pairs], integrals["dA"][:, pairs]
    return -8 * np.sum(da[..., 0] * a[..., 1] + a[..., 0] * da[..., 1], axis=-1)


def _pairs_of_quads(integrals: Integrals, basis: Basis | None) -> NDArray[np.int64]:
    """Packed pairs (quads, 3 pairings, 2) of the four legs of every component."""
    n = (isqrt(8 * integrals["A"].shape[-1] + 1) - 1) // 2
    return pairing_legs(basis or n, 4)
