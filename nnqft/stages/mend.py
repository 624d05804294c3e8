"""What a run does before it starts: the receipt of whatever is damaged is taken away, so that the workflow mends it.

Snakemake looks at dates and names; it cannot see a chunk that was cut short, a store that is gone behind its receipt,
or an empty figure.
"""

from collections.abc import Iterator
from pathlib import Path

from nnqft.core.errors import DamageError
from nnqft.spec.model import Scan
from nnqft.stages.layout import Layout, stages
from nnqft.stages.status import receipted
from nnqft.stages.work import Work, all_work
from nnqft.storage.files import SealError, read_sealed
from nnqft.storage.leafstore import LeafStore
from nnqft.storage.receipts import fault


def withdraw_damaged(scan: Scan, layout: Layout) -> list[str]:
    """Read leaves and products back and withdraw the receipts of the damaged; what was found, a line each.

    Raises:
        ReplacedDataError: when every block of a leaf is whole and yet not what its receipt says.
    """
    return [*_leaves(scan, layout), *_products(scan, layout), *_files(layout)]


class ReplacedDataError(DamageError):
    """Blocks that pass their checks and are not those that were computed: only somebody can have put them there."""

    def __init__(self, folder: Path):
        super().__init__(f"{folder}: blocks are whole but not those of the receipt; somebody replaced them: delete "
                         "this folder and run again")  # fmt: skip


def _leaves(scan: Scan, layout: Layout) -> Iterator[str]:
    for work in all_work(scan):
        store = layout.leaf(work.leaf.name)
        if store.manifest.exists() and (wrong := _fault(work, layout, store)):
            store.manifest.unlink()
            yield f"{work.leaf.name}: {wrong}"


def _fault(work: Work, layout: Layout, store: LeafStore) -> str:
    try:
        cells = {c["identity"]: c for c in read_sealed(store.manifest)["cells"]}
    except SealError:
        return "its manifest is damaged or edited and is made again"
    rows, wanted = store.rows(), receipted(work, layout)  # nothing is wanted of a receipt for another budget
    if not wanted.keys() <= rows.keys() or (wanted and not store.sound(work.leaf.static)):
        return "its list of cells or metadata are damaged and made again"
    for identity, blocks in wanted.items():
        good, digest = store.checked(rows[identity].index, blocks)
        if not good.all():
            return "damaged blocks are computed again"
        if digest != cells[identity]["sha256"]:
            raise ReplacedDataError(store.folder)
    return ""


def _products(scan: Scan, layout: Layout) -> Iterator[str]:
    for stage in stages(scan):
        if layout.receipt(stage).exists() and (wrong := fault(layout.store(stage), layout.receipt(stage))):
            layout.receipt(stage).unlink()
            yield f"{stage}.zarr {wrong} and is made again"


def _files(layout: Layout) -> Iterator[str]:
    for path in [*layout.figures.glob("*"), *layout.tables.glob("*"), layout.report, layout.manifest]:
        if path.is_file() and not path.stat().st_size:
            path.unlink()
            yield f"{path.name} is empty and is made again"
