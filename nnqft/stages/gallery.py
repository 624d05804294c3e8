"""Which figures a scan has: a function of the scan file alone, so that nothing is drawn that would say nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nnqft.nets.maps import CLOSED
from nnqft.spec.grid import Architecture, sweeps
from nnqft.spec.model import Scan
from nnqft.stages.layout import by_points

Applies = Callable[[Scan, list[Architecture]], bool]


@dataclass(frozen=True)
class Kind:
    """One kind of figure: the stores that it shows, and the point sets (or maps of trainability) that have one."""

    stores: tuple[str, ...]
    points: tuple[str, ...]


def figures(scan: Scan) -> dict[str, Kind]:
    """Kinds of figures of a scan, in the order of the report; those that apply to no point set are left out."""
    groups = {"cumulants": by_points(scan), "criticality": by_points(scan, "criticality")}
    found = {
        name: Kind(stores, tuple(points for points, group in groups[measured].items() if applies(scan, group)))
        for measured, kinds in _KINDS.items()
        for name, (stores, applies) in kinds.items()
    }
    found["trainability"] = Kind(("trainability",), tuple(scan.trainability))
    return {name: kind for name, kind in found.items() if kind.points}


def galleries(scan: Scan) -> dict[str, dict[str, Kind]]:
    """The figures of a scan by the job that draws them: those that wait for the same stores share the start of one."""
    found = figures(scan)
    jobs = {job: {name: found[name] for name in names if name in found} for job, names in _JOBS.items()}
    return {job: kinds for job, kinds in jobs.items() if kinds}


def potential_sweeps(group: Sequence[Architecture]) -> list[list[int]]:
    """Sweeps of sigma_w, rising, in families that have a canonical field: Gauss-nets of one hidden layer."""
    found = sweeps(group, "sigma_w")
    return [places for places in found if _is_gauss_net(group[places[0]])]


def _is_gauss_net(a: Architecture) -> bool:
    return (a.network, a.activation, a.depth, a.options) == ("mlp", "gauss", 1, "{}")


def _always(scan: Scan, group: list[Architecture]) -> bool:
    return True


def _depth(scan: Scan, group: list[Architecture]) -> bool:
    return 4 in scan.cumulants.orders and bool(sweeps(group, "depth"))


def _potential(scan: Scan, group: list[Architecture]) -> bool:
    return 6 in scan.cumulants.orders and bool(potential_sweeps(group))


def _sextic(scan: Scan, group: list[Architecture]) -> bool:
    return {4, 6} <= set(scan.cumulants.orders) and any(map(_trees, group))


def _action(scan: Scan, group: list[Architecture]) -> bool:
    return 4 in scan.cumulants.orders and isinstance(scan.basis(group[0].points), int)


def _trees(a: Architecture) -> bool:
    """Whether the vertices of six legs and the trees of quartic ones are known for an architecture."""
    if len(a.coordinates[0]) > 3 or a.depth != 1:
        return False
    return a.network == "cosine" or (a.network in ("mlp", "linear") and a.options == "{}" and a.activation in CLOSED)


def _swept(scan: Scan, group: list[Architecture]) -> bool:
    return bool(sweeps(group, "sigma_w"))


def _swept_perceptrons(scan: Scan, group: list[Architecture]) -> bool:
    return _swept(scan, [a for a in group if a.network == "mlp"])


def _perceptrons(scan: Scan, group: list[Architecture]) -> bool:
    return any(a.network == "mlp" for a in group)


def _recurrent(scan: Scan, group: list[Architecture]) -> bool:
    return any(a.network == "recurrent" for a in group)


_KINDS: dict[str, dict[str, tuple[tuple[str, ...], Applies]]] = {
    "cumulants": {
        "deviations": (("cumulants", "theory"), _always),
        "scaling": (("cumulants", "theory"), _always),
        "couplings": (("cumulants", "couplings", "flow"), _always),
        "pulls": (("cumulants", "theory"), _always),
        "sextic": (("cumulants", "couplings", "flow"), _sextic),
        "sixpoints": (("cumulants", "sixpoints"), _sextic),
        "action": (("cumulants", "action"), _action),
        "depth": (("cumulants", "theory", "flow"), _depth),
        "potential": (("cumulants", "flow"), _potential),
    },
    "criticality": {
        "phase": (("criticality",), _swept_perceptrons),
        "exponents": (("criticality",), _swept),
        "lengths": (("criticality",), _swept_perceptrons),
        "corrections": (("criticality",), _perceptrons),
        "collapse": (("criticality",), _perceptrons),
        "dynamics": (("criticality",), _recurrent),
    },
}
"""Every kind there is, by measurement: the stores that it shows, and whether a point set has such a figure."""

_JOBS = {
    "correlators": ("deviations", "scaling", "pulls"),
    "couplings": ("couplings", "sextic", "depth", "potential"),
    "predictions": ("sixpoints", "action"),
    "criticality": ("phase", "exponents", "lengths", "corrections", "collapse", "dynamics"),
    "trainability": ("trainability",),
}
"""Every job that draws figures, and its kinds."""
