"""Vertex integrals of an architecture: four legs at all cutoffs, six legs and trees cutoff by cutoff, kept on disk."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import Basis, Components, number
from nnqft.couplings.operators import quartic_names
from nnqft.couplings.tree_design import selected_tree_design, tree_design
from nnqft.couplings.vertices import VERSION, selected_integrals, vertex_integrals
from nnqft.nets.activations import ACTIVATIONS, Activation
from nnqft.nets.registry import law
from nnqft.spec.grid import Architecture
from nnqft.storage.integrals import IntegralCache

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Vertices:
    """Integrals of four legs of one architecture, or the reason why there are none; the components they are for."""

    integrals: dict[str, Array] | None
    reason: str = ""
    basis: Basis | None = None


@dataclass(frozen=True)
class SixLegs:
    """What the sextic coupling needs at every cutoff, for the quartic couplings `names` (m); NaN where there is none.

    I6 (n_cutoffs, sexts), trees (n_cutoffs, sexts, m, m), each with its d / d Lambda; reasons (n_cutoffs,), empty
    where they exist.
    """

    names: tuple[str, ...]
    I6: Array
    I6_slope: Array
    trees: Array
    trees_slope: Array
    reasons: tuple[str, ...]

    def between(self, left: Sequence[str], right: Sequence[str], k: int, *, slope: bool = False) -> Array:
        """Trees between some of the couplings at cutoff number k, or their slope: (sexts, left, right)."""
        rows, columns = ([self.names.index(name) for name in some] for some in (left, right))
        return (self.trees_slope if slope else self.trees)[k][:, rows][:, :, columns]


@dataclass(frozen=True)
class _Legs:
    """What fixes the legs: strength times those of a perceptron."""

    activation: Activation
    sigma_w: float
    sigma_b: float
    depth: int
    strength: float

    @property
    def arguments(self) -> tuple[str, float, float]:
        return self.activation.name, self.sigma_w, self.sigma_b


def vertices(
    architecture: Architecture,
    cutoffs: Sequence[float],
    basis: Basis,
    cache: IntegralCache | None = None,
    models: Sequence[Sequence[str]] = (("lambda_0", "lambda_2", "lambda_nl"),),
) -> Vertices:
    """Integrals of four legs for the couplings of the models; a reason instead where the theory has none.

    They are looked up in the cache first, if there is one.
    """
    a, names = architecture, quartic_names(models)
    legs = _legs(a)
    if isinstance(legs, str):
        return Vertices(None, legs)
    selected = basis if isinstance(basis, Components) and 4 in basis.orders else None
    options: dict[str, Any] = {"depth": legs.depth, "names": names, "strength": legs.strength}

    def compute() -> dict[str, Array]:
        if selected is None:
            return vertex_integrals(*legs.arguments, a.x, cutoffs, **options)
        return selected_integrals(*legs.arguments, a.x, cutoffs, selected, **options)

    try:
        key = {"names": list(names)} | _content(a, legs, cutoffs, selected)
        found = compute() if cache is None else cache.fetch(key, compute)
    except (ValueError, RuntimeError) as error:
        return Vertices(None, str(error))
    return Vertices(found, basis=selected)


def six_legs(
    architecture: Architecture,
    cutoffs: Sequence[float],
    basis: Basis,
    names: Sequence[str],
    cache: IntegralCache | None = None,
) -> SixLegs:
    """Integrals of six legs and all trees of these couplings; a cutoff where they are refused costs no other.

    They are looked up in the cache first, if there is one.
    """
    a, m, sexts = architecture, len(names), number(basis, 6)
    shapes = {"I6": (sexts,), "dI6": (sexts,), "trees": (sexts, m, m), "dtrees": (sexts, m, m)}
    found = {name: np.full((len(cutoffs), *shape), np.nan) for name, shape in shapes.items()}
    legs, reasons = _legs(a), [""] * len(cutoffs)
    selected = basis if isinstance(basis, Components) else None
    for k, cutoff in enumerate(cutoffs):
        if isinstance(legs, str):
            reasons[k] = legs
            continue
        try:
            key = {"trees": list(names)} | _content(a, legs, [cutoff], selected)
            compute = partial(_six, a.x, legs, cutoff, names, selected)
            values = compute() if cache is None else cache.fetch(key, compute)
        except (ValueError, RuntimeError) as error:
            reasons[k] = str(error)
            continue
        for name, value in values.items():
            found[name][k] = value
    return SixLegs(tuple(names), found["I6"], found["dI6"], found["trees"], found["dtrees"], tuple(reasons))


def _six(x: Array, legs: _Legs, cutoff: float, names: Sequence[str], selected: Components | None) -> dict[str, Array]:
    """I6, all trees, and their slopes, at one cutoff."""
    options: dict[str, Any] = {"depth": legs.depth, "strength": legs.strength}
    at = [cutoff]
    if selected is None:
        own = vertex_integrals(*legs.arguments, x, at, names=("I6",), **options)
        trees, slopes = tree_design(*legs.arguments, x, at, names, **options)
    else:
        own = selected_integrals(*legs.arguments, x, at, selected, names=("I6",), **options)
        trees, slopes = selected_tree_design(*legs.arguments, x, at, names, selected, **options)
    return {"I6": own["I6"][0], "dI6": own["dI6"][0], "trees": trees[0], "dtrees": slopes[0]}


def _legs(a: Architecture) -> _Legs | str:
    """The legs of an architecture, or why they are not known."""
    activation = law(a, 1).activation
    if a.network in ("mlp", "linear") and a.options == "{}":
        return _Legs(activation, a.sigma_w, a.sigma_b, a.depth, 1.0)
    if a.network == "cosine" and a.depth == 1:  # amplitude^2 / 2 exp(-sigma_w^2 |x - y|^2 / (2 d_in)), any readout
        amplitude = float(json.loads(a.options).get("amplitude", 1.0))
        return _Legs(ACTIVATIONS["gauss"], a.sigma_w, 0.0, 1, amplitude**2 / (2 * a.sigma_w**2))
    return f"vertices are known for plain perceptrons and cosine networks only, not for {a.network} with {a.options}"


def _content(a: Architecture, legs: _Legs, cutoffs: Sequence[float], basis: Components | None) -> dict[str, Any]:
    """All that vertex integrals depend on. An activation is its name and what it does to some numbers."""
    z = np.linspace(-2.5, 2.5, 11)
    chosen = [] if basis is None else [[order, rows.hex()] for order, rows in basis.legs]
    activation = legs.activation
    return {
        "version": VERSION,
        "region": "box",
        "activation": [activation.name, np.asarray(activation(jnp.asarray(z), jnp.ones_like(z))).tolist()],
        "law": [legs.sigma_w, legs.sigma_b, legs.depth, legs.strength],
        "x": np.asarray(a.x, dtype=np.float64).tolist(),
        "cutoffs": [float(cutoff) for cutoff in cutoffs],
        "legs": chosen,
    }
