"""Whether everything that a scan asks for can be measured, whatever the measurement; before any work starts."""

from pathlib import Path

from nnqft.criticality.cells import check_criticality
from nnqft.sampling.check import check as check_cumulants
from nnqft.spec.load import read_scan
from nnqft.spec.model import Scan
from nnqft.training.cells import check_trainability


def check(scan: Scan, source: str) -> Scan:
    """The scan itself, when all of it can be measured.

    Raises:
        InputError: naming the source, the key and the remedy; see the three functions that this one calls.
    """
    check_cumulants(scan, source)
    check_criticality(scan, source)
    check_trainability(scan, source)
    return scan


def load_config(path: str | Path) -> Scan:
    """Read and check a scan file; raises InputError naming file, key and remedy."""
    return check(read_scan(path), str(path))
