"""One theory, four normalisations of its couplings; the derivation of every arrow is docs/couplings-conventions.md.

All four actions are local, S = int d^d y [ kinetic + terms below ], and those of the 1PI effective action:

    hms       f^2 / (2 K0)     + lambda f^4            + kappa f^6             two_point = K0, quartic, sextic
    demirtas  g2 f^2 / 2       + g4 f^4 / 4!           + g6 f^6 / 6!
    ryh       g f^2 / 2        - v f^4 / 8             - u f^6 / 48
    erbin     u2 phi^2 / 2     + u4 phi^4 / 4!         + u6 phi^6 / 6!         phi = sqrt(Z) f canonical

hms: Halverson, Maiti, Stoner (arXiv:2008.08601); K0 = int d^d y K_w(y) is the kernel at zero momentum, so 1 / K0 is the
constant of the quadratic form K_w^-1. demirtas: arXiv:2307.03223. ryh: Roberts, Yaida, Hanin (arXiv:2106.10165), the
quadratic and quartic terms; the sextic normalisation is defined here, continuing 2 = 2 1!, 8 = 2^2 2! by 48 = 2^3 3!.
erbin: Erbin, Lahoche, Ousmane Samary (arXiv:2108.01403); Z is the coefficient of p^2 in 1 / K_w(p).
"""

from dataclasses import dataclass
from itertools import chain
from math import pi
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.core.packing import pairings

Array = NDArray[np.float64]
Normalisation = Literal["hms", "demirtas", "ryh", "erbin"]

NORMALISATIONS: tuple[Normalisation, ...] = ("hms", "demirtas", "ryh", "erbin")
SYMBOLS = {
    "hms": ("K0", "lambda", "kappa"),
    "demirtas": ("g2", "g4", "g6"),
    "ryh": ("g", "v", "u"),
    "erbin": ("u2", "u4", "u6"),
}
_DIVISORS = {"hms": (1, 1), "demirtas": (24, 720), "ryh": (-8, -48), "erbin": (24, 720)}  # of f^4 and f^6 in S


@dataclass(frozen=True)
class Couplings:
    """Couplings of the f^2, f^4 and f^6 terms in one normalisation; numbers or arrays of one shape (replicates)."""

    normalisation: Normalisation
    two_point: Any
    quartic: Any
    sextic: Any

    def __str__(self) -> str:
        values = (self.two_point, self.quartic, self.sextic)
        numbers = (f"{s} = {v}" for s, v in zip(SYMBOLS[self.normalisation], values, strict=True))
        return f"{self.normalisation}: " + ", ".join(numbers)


def translate(couplings: Couplings, to: Normalisation, Z: Any = None) -> Couplings:
    """The same action with its couplings in normalisation `to`; plain arithmetic, also on arrays and symbols.

    Z, the wave-function normalisation in phi = sqrt(Z) f, is needed to or from "erbin" and is that of the kernel, from
    :func:`gauss_field` for instance. Raises ValueError without it, or for an unknown normalisation.
    """
    source = couplings.normalisation
    if unknown := {source, to} - set(NORMALISATIONS):
        raise ValueError(f"normalisation {sorted(unknown)[0]!r} is unknown; use one of {', '.join(NORMALISATIONS)}")
    if source == to:
        return couplings
    if Z is None and "erbin" in (source, to):
        raise ValueError("the canonical field of 'erbin' needs Z; give the one of the kernel, as gauss_field does")
    wave: Any = Z
    quadratic = 1 / couplings.two_point if source == "hms" else couplings.two_point
    (quartic_from, sextic_from), (quartic_to, sextic_to) = _DIVISORS[source], _DIVISORS[to]
    quartic, sextic = couplings.quartic * quartic_to / quartic_from, couplings.sextic * sextic_to / sextic_from
    if source == "erbin":
        quadratic, quartic, sextic = quadratic * wave, quartic * wave**2, sextic * wave**3
    if to == "erbin":
        quadratic, quartic, sextic = quadratic / wave, quartic / wave**2, sextic / wave**3
    return Couplings(to, 1 / quadratic if to == "hms" else quadratic, quartic, sextic)


def translations(couplings: Couplings, Z: Any = None) -> dict[Normalisation, Couplings]:
    """The couplings in every normalisation; without Z only in those that do not need it."""
    found: dict[Normalisation, Couplings] = {}
    for name in NORMALISATIONS:
        if Z is not None or name == couplings.normalisation or "erbin" not in (name, couplings.normalisation):
            found[name] = translate(couplings, name, Z)
    return found


@dataclass(frozen=True)
class CanonicalField:
    """Field phi = sqrt(Z) f with kinetic term (d phi)^2 / 2: 1 / K_w(p) = Z (p^2 + u2) + O(p^4) and K0 = K_w(p = 0)."""

    Z: float
    u2: float
    K0: float


def gauss_field(sigma_w: float, dimension: int) -> CanonicalField:
    """Canonical field of the Gauss-net, K_w = sigma_w^2 exp(-sigma_w^2 (x - x')^2 / (2 d)) in d = 1, 2, ... dimensions.

    K_w(p) = K0 exp(-d p^2 / (2 sigma_w^2)) with K0 = sigma_w^2 (2 pi d / sigma_w^2)^(d/2); its inverse to order p^2 has
    Z = d / (2 sigma_w^2 K0), u2 = 2 sigma_w^2 / d. Hence u4 = 24 lambda / Z^2 ~ sigma_w^(4-d) where the bare
    lambda ~ sigma_w^(d-4), at tree level. Raises ValueError for a scale or a dimension that is not positive.
    """
    if not sigma_w > 0 or dimension < 1:
        raise ValueError(f"a canonical field needs sigma_w > 0 and a dimension >= 1, not {sigma_w} and {dimension}")
    K0 = sigma_w**2 * (2 * pi * dimension / sigma_w**2) ** (dimension / 2)
    return CanonicalField(dimension / (2 * sigma_w**2 * K0), 2 * sigma_w**2 / dimension, K0)


def potential_start(quartic: ArrayLike, sextic: ArrayLike, field: CanonicalField) -> Array:
    """Start (..., 3) = (u2, u4, u6) of :func:`nnqft.couplings.lpa.potential_flow` from lambda (...) and kappa (...).

    Central values give (3,), jackknife replicates (R,) give (R, 3). u2 is that of the kernel and has no error.
    """
    values = np.broadcast_arrays(np.asarray(quartic, dtype=np.float64), np.asarray(sextic, dtype=np.float64))
    start = translate(Couplings("hms", np.full_like(values[0], field.K0), *values), "erbin", field.Z)
    return np.stack([start.two_point, start.quartic, start.sextic], axis=-1)


def action_from_pairs(v: NDArray) -> NDArray:
    """Symmetric couplings g of S = g_abcd f_a f_b f_c f_d / 4! from the pair couplings of ryh, on n points.

    v (n, n, n, n), v_(ab)(cd) with S = -1/8 sum v_(ab)(cd) f_a f_b f_c f_d: g_abcd = -(v_(ab)(cd) + v_(ac)(bd) +
    v_(ad)(bc)). u (n,) * 6 with S = -1/48 sum u_(ab)(cd)(ef) f...f: g_abcdef = -(sum over the 15 pairings of u). v is
    symmetric within pairs and under exchange of pairs. Raises ValueError for another number of legs.
    """
    if v.ndim not in (4, 6):
        raise ValueError(f"pair couplings have four or six legs, not {v.ndim}")
    terms = [v.transpose(tuple(np.argsort(list(chain.from_iterable(pairing))))) for pairing in pairings(v.ndim)]
    return -np.sum(terms, axis=0)


def pairs_from_action(g: NDArray) -> NDArray:
    """The symmetric pair couplings -g / 3 (four legs) or -g / 15 (six) with the action of g; inverse of the above.

    One output fixes the totally symmetric part of v only, and this is it; the rest acts between different outputs.
    Raises ValueError for another number of legs.
    """
    if g.ndim not in (4, 6):
        raise ValueError(f"couplings have four or six legs, not {g.ndim}")
    return -g / len(pairings(g.ndim))
