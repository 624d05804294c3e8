"""From a scan to its architectures, in the order written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.core.hashing import canonical_json
from nnqft.spec.measurements import Measurement
from nnqft.spec.model import SWEEPABLE, ArchitectureFamily, Scan

NO_CHOICE = "none"
"""The activation of a network that fixes its own."""


@dataclass(frozen=True)
class Architecture:
    """One ensemble at every width: hyperparameters resolved, points attached."""

    name: str
    family: str
    network: str
    activation: str
    depth: int
    sigma_w: float
    sigma_b: float
    points: str
    coordinates: tuple[tuple[float, ...], ...]
    options: str = "{}"
    """Canonical JSON of the network's own options."""
    heldout: str = ""
    """Name of the same ensemble on its held-out points, if it has any."""

    @property
    def x(self) -> NDArray[np.float64]:
        """Input points, (n_x, d_in) float64."""
        return np.array(self.coordinates, dtype=np.float64)

    def law(self) -> dict[str, Any]:
        """What fixes the random function, whatever it is called in the file."""
        keys = ("network", *SWEEPABLE, "coordinates", "options")
        return {key: getattr(self, key) for key in keys}


def architecture(
    x: ArrayLike,
    activation: str = NO_CHOICE,
    depth: int = 1,
    sigma_w: float = 1.0,
    sigma_b: float = 0.0,
    network: str = "mlp",
    name: str = "architecture",
    **options: Any,
) -> Architecture:
    """An ensemble for use without a scan file; x (n_x, d_in); `options` are the network's own."""
    coordinates = tuple(tuple(float(c) for c in row) for row in np.atleast_2d(np.asarray(x, dtype=np.float64)))
    scales = float(sigma_w), float(sigma_b)
    return Architecture(name, name, network, activation, depth, *scales, "points", coordinates, canonical_json(options))


def architectures(scan: Scan, measured: Measurement = "cumulants") -> list[Architecture]:
    """The architectures of one measurement in the order written; swept ones are named ``family[key=value,...]``.

    Those with held-out points come a second time after all others, on these and named ``name@points``.
    """
    families = {name: family for name, family in scan.architectures.items() if measured in family.measure}
    found = [a for name, family in families.items() for a in _resolve(scan, name, family)]
    return found + [_elsewhere(scan, a) for a in found if a.heldout and measured == "cumulants"]


def _elsewhere(scan: Scan, a: Architecture) -> Architecture:
    points = a.heldout.rpartition("@")[2]
    return replace(a, name=a.heldout, points=points, coordinates=_coordinates(scan, points), heldout="")


def _coordinates(scan: Scan, points: str) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(c) for c in row) for row in scan.points[points])


def sweeps(group: Sequence[Architecture], key: str) -> list[list[int]]:
    """Positions in `group` of two or more architectures of one family each, that differ in `key` alone, values rising.

    key: a hyperparameter that may be swept. Sweeps are in the order in which their first members stand in the group.
    """
    found: dict[str, list[int]] = {}
    for i, a in enumerate(group):
        fixed = {name: value for name, value in a.law().items() if name != key} | {"family": a.family}
        found.setdefault(canonical_json(fixed), []).append(i)
    return [sorted(places, key=lambda i: getattr(group[i], key)) for places in found.values() if len(places) > 1]


def _resolve(scan: Scan, name: str, family: ArchitectureFamily) -> Iterator[Architecture]:
    values = [value if isinstance(value := getattr(family, key), list) else [value] for key in SWEEPABLE]
    order = [*family.swept, *(key for key in SWEEPABLE if key not in family.swept)]
    by_key: dict[str, list[Any]] = dict(zip(SWEEPABLE, values, strict=True))
    coordinates = _coordinates(scan, family.points)
    for choice in product(*(by_key[key] for key in order)):
        chosen = dict(zip(order, choice, strict=True))
        chosen["activation"] = chosen["activation"] or NO_CHOICE
        label = ",".join(f"{key}={chosen[key]!r}" for key in family.swept)
        full = f"{name}[{label}]" if label else name
        heldout = f"{full}@{family.heldout}" if family.heldout else ""
        yield Architecture(
            full, name, family.network, points=family.points, coordinates=coordinates,
            options=canonical_json(family.options), heldout=heldout, **chosen,
        )  # fmt: skip
