"""Which networks and activations exist, here and in other packages, by name.

Another package adds its own through the entry points ``nnqft.networks`` (subclasses of
:class:`nnqft.nets.base.Network`) and ``nnqft.activations`` (instances of :class:`nnqft.nets.activations.Activation`).
"""

import json
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

import numpy as np
from pydantic import ValidationError

from nnqft.core.errors import InputError
from nnqft.nets.activations import ACTIVATIONS, Activation
from nnqft.nets.attention import Attention
from nnqft.nets.base import Network
from nnqft.nets.convolutional import Convolutional
from nnqft.nets.cosine import Cosine
from nnqft.nets.linear import Linear
from nnqft.nets.mlp import MLP
from nnqft.nets.recurrent import Recurrent
from nnqft.nets.residual import Residual
from nnqft.spec.grid import NO_CHOICE, Architecture

NETWORKS: dict[str, type[Network]] = {
    n.name: n for n in (Attention, Convolutional, Cosine, Linear, MLP, Recurrent, Residual)
}


@lru_cache(maxsize=1)
def networks() -> dict[str, type[Network]]:
    """Kinds of networks by name, this package's first; entry points cannot replace them."""
    found = {point.name: point.load() for point in entry_points(group="nnqft.networks")}
    return found | NETWORKS


@lru_cache(maxsize=1)
def activations() -> dict[str, Activation]:
    """Activations by name, this package's first; entry points cannot replace them."""
    found = {point.name: point.load() for point in entry_points(group="nnqft.activations")}
    return found | ACTIVATIONS


@lru_cache(maxsize=1024)
def network(architecture: Architecture, width: int, sampler: str = "conditional", dtype: str = "float64") -> Network:
    """The network of an architecture at one width.

    Raises:
        InputError: for a network, activation, option or sampler that does not exist, or an ensemble that cannot be
            measured; `where` is the key within the architecture.
    """
    kind, options = kind_and_options(architecture)
    if sampler not in kind.samplers:
        allowed = ", ".join(kind.samplers)
        raise InputError("sampler", f"{kind.name} networks have no sampler {sampler!r}", f"use one of {allowed}")
    net = kind(_activation(kind, architecture.activation), architecture.depth, width, sampler, dtype, options)
    problem = _senseless(architecture, width) or net.refuse(architecture.x, architecture.sigma_b)
    if problem is not None:
        raise InputError(*problem)
    return net


def kind_and_options(architecture: Architecture) -> tuple[type[Network], Any]:
    """The kind of an architecture's networks and its options; InputError as for :func:`network`."""
    kinds = networks()
    if architecture.network not in kinds:
        known = ", ".join(kinds)
        raise InputError("network", f"no network {architecture.network!r}", f"use one of {known}")
    kind = kinds[architecture.network]
    try:
        return kind, kind.Options.model_validate(json.loads(architecture.options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["options", *map(str, first["loc"][:1])])
        known = ", ".join(kind.Options.model_fields) or "none"
        raise InputError(
            where, first["msg"].removeprefix("Value error, "), f"options of {kind.name}: {known}"
        ) from None


def _senseless(a: Architecture, width: int) -> tuple[str, str, str] | None:
    """Numbers that no network can have (scan files are checked when they are read)."""
    if width < 1 or a.depth < 1:
        return ("depth" if a.depth < 1 else "widths"), f"must be at least 1, got {min(width, a.depth)}", "raise it"
    if not (np.isfinite(a.sigma_w) and a.sigma_w > 0):
        return "sigma_w", f"must be positive, got {a.sigma_w}", "use a positive number"
    if not (np.isfinite(a.sigma_b) and a.sigma_b >= 0):
        return "sigma_b", f"must not be negative, got {a.sigma_b}", "use zero or more"
    if a.x.ndim != 2 or a.x.size == 0 or not np.isfinite(a.x).all():
        return "points", f"must be finite, of shape (n_x, d_in), got shape {a.x.shape}", "give finite coordinates"
    return None


def law(architecture: Architecture, width: int) -> Network:
    """The network of an architecture whatever its sampler: for predictions, which do not draw."""
    kinds = networks()
    samplers = kinds[architecture.network].samplers if architecture.network in kinds else ()
    return network(architecture, width, "weights" if "weights" in samplers else (*samplers, "conditional")[0])


def _activation(kind: type[Network], name: str) -> Activation:
    fixed, known = kind.fixed_activation, activations()
    if fixed is not None:
        if name not in (NO_CHOICE, fixed):
            raise InputError("activation", f"{kind.name} networks have {fixed}, not {name!r}", "leave the key out")
        return known[fixed]
    if name == NO_CHOICE:
        raise InputError("activation", "missing", f"use one of {', '.join(known)}")
    if name not in known:
        raise InputError("activation", f"no activation {name!r}", f"use one of {', '.join(known)}")
    return known[name]
