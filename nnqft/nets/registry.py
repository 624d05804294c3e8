"""Which networks and activations exist, and whether a scan asks for something that cannot be measured."""

from pathlib import Path

from nnqft.core.errors import InputError
from nnqft.nets.activations import ACTIVATIONS
from nnqft.spec.grid import architectures, blocks
from nnqft.spec.load import read_scan
from nnqft.spec.model import Scan

NETWORKS = ("mlp",)

_STATISTICS_LIMIT = 512 * 2**20
_SUBBATCHES = 64


def check(scan: Scan, source: str) -> Scan:
    """The scan itself, when all of it can be measured.

    Raises:
        InputError: for an unknown network or activation, an ensemble whose correlators are infinite, statistics too
            large for memory, or fewer networks than the jackknife needs.
    """
    for a in architectures(scan):
        where = f"{source}: architectures.{a.family}"
        if a.network not in NETWORKS:
            raise InputError(f"{where}.network", f"no network {a.network!r}", f"use one of {', '.join(NETWORKS)}")
        if a.activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise InputError(f"{where}.activation", f"no activation {a.activation!r}", f"use one of {known}")
        if ACTIVATIONS[a.activation].kind == "lognormal" and a.depth > 1:
            raise InputError(
                f"{where}.depth",
                f"the {a.activation} unit has infinite variance beyond one hidden layer (got {a.depth})",
                "use depth: 1, or another activation",
            )
        order = max(scan.cumulants.orders)
        size = statistics_bytes(len(a.coordinates), order)
        if size > _STATISTICS_LIMIT:
            raise InputError(
                f"{source}: points.{a.points}",
                f"{len(a.coordinates)} points at order {order} need {size / 2**30:.1f} GiB a block",
                "use fewer points or lower cumulants.orders",
            )
    if scan.ensemble.sampler == "weights" and max(scan.widths) > 2**14:
        raise InputError(
            f"{source}: ensemble.sampler",
            f"draws every weight of layers as wide as {max(scan.widths)}",
            "use sampler: conditional, exact in law, or smaller widths",
        )
    groups = blocks(scan) * min(scan.ensemble.block, _SUBBATCHES)
    if groups < scan.ensemble.replicates:
        raise InputError(
            f"{source}: ensemble.replicates",
            f"{scan.ensemble.replicates} jackknife groups, but the networks asked for make only {groups}",
            f"raise ensemble.networks or give replicates: {groups}",
        )
    return scan


def load_config(path: str | Path) -> Scan:
    """Read and check a scan file; raises InputError naming file, key and remedy."""
    return check(read_scan(path), str(path))


def statistics_bytes(points: int, max_order: int) -> int:
    """Bytes of the statistics of one block."""
    pairs = points * (points + 1) // 2
    second = pairs * (pairs + 1) // 2 if max_order >= 4 else 0
    third = points * (points + 1) * (points + 2) * (points + 3) * (points + 4) * (points + 5) // 720
    return 8 * _SUBBATCHES * (pairs + second + (third if max_order >= 6 else 0))
