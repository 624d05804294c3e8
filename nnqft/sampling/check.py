"""Whether everything that a scan asks for can be measured."""

from importlib.util import find_spec

from nnqft.core.errors import InputError
from nnqft.sampling.block import SUBBATCHES
from nnqft.sampling.budget import budget
from nnqft.sampling.cells import cell
from nnqft.sampling.kinds import PRODUCT_LIMIT, product_bytes, refuse
from nnqft.spec.grid import architectures
from nnqft.spec.model import Scan

MOST_BLOCKS = 10**6
"""Of one (architecture, width): three files each."""
_ENSEMBLE = ("sampler", "estimator", "block")


def check(scan: Scan, source: str) -> Scan:
    """The scan itself, when all of it can be measured.

    Raises:
        InputError: for an unknown network, activation or option, an optional package that is not installed, an
            ensemble whose correlators are infinite, an estimator or sampler that a network does not allow, statistics
            too large for memory, or fewer networks than the jackknife needs.
    """
    dense = dict.fromkeys(scan.points, 0)
    for a in architectures(scan):
        family = a.family
        try:
            for width in scan.widths:
                spec = cell(scan, a, width).spec
                refuse(spec)
                dense[a.points] += product_bytes(spec, scan.ensemble.replicates)
        except InputError as error:
            own = scan.architectures[family].model_dump(exclude_none=True)
            shared = error.where in _ENSEMBLE and error.where not in own
            where = "ensemble" if shared else f"architectures.{family}"
            raise InputError(f"{source}: {where}.{error.where}", error.what, error.remedy) from None
    for points, needed in dense.items():
        if needed > PRODUCT_LIMIT:
            what = f"the stores of its correlators and replicates would take {needed / 2**30:.0f} GiB of memory"
            remedy = f"select components (cumulants.components.{points}), or use fewer points, orders or replicates"
            raise InputError(f"{source}: points.{points}", what, remedy)
    if scan.couplings.asymmetric and find_spec("iminuit") is None:
        remedy = 'install it (pip install "nnqft[minuit]"), or leave the key out'
        raise InputError(f"{source}: couplings.asymmetric", "needs iminuit, which is not installed", remedy)
    if budget(scan).most > MOST_BLOCKS:
        what = f"{budget(scan).most:,} blocks for each (architecture, width)"
        fewest = -(-scan.ensemble.networks // MOST_BLOCKS)
        raise InputError(f"{source}: ensemble.block", what, f"use blocks of {fewest:,} networks or more")
    groups = budget(scan).pilot * min(scan.ensemble.block, SUBBATCHES)
    if groups < scan.ensemble.replicates:
        raise InputError(
            f"{source}: ensemble.replicates",
            f"{scan.ensemble.replicates} jackknife groups, but the networks asked for make only {groups}",
            f"raise ensemble.networks or give replicates: {groups}",
        )
    return scan
