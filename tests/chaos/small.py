"""The scan that is disturbed: small and quick; what it leaves on disk; how it is resumed without Snakemake."""

from pathlib import Path

from nnqft.sampling.check import check
from nnqft.spec.load import parse_scan
from nnqft.spec.model import Scan
from nnqft.stages.ensemble import generate_all
from nnqft.stages.layout import Layout
from nnqft.stages.mend import withdraw_damaged
from nnqft.stages.pipeline import PRODUCTS
from nnqft.stages.work import all_work

CONTENT = {
    "name": "chaos",
    "seed": 9,
    "points": {"line": [[-1.0], [0.2], [0.7]]},
    "architectures": {
        "erf": {"activation": "erf", "sigma_w": [1.0, 1.5], "sigma_b": 1.0, "points": "line"},
        "relu": {"activation": "relu", "points": "line"},
    },
    "widths": [4, 16],
    "ensemble": {"networks": 2048, "block": 256, "replicates": 16, "estimator": "marginal"},
}
LARGER = {"ensemble": CONTENT["ensemble"] | {"networks": 24_576}}  # type: ignore[operator]
"""Changes that make it 576 blocks: enough for processes to be hit in the middle."""
MADE = ("ensemble", "cumulants", "theory")
"""Products that the suite makes and damages."""
UNTRACKED = {"lock", ".lock", "logs", "benchmarks", "lost-blocks.zarr"}
"""What is no data: blocks whose index was lost are set aside under the last name."""

Contents = dict[str, bytes]
Times = dict[Path, tuple[int, int]]


def small_scan(**changes: object) -> Scan:
    """The scan, validated."""
    return check(parse_scan(CONTENT | changes), "chaos")


def generate(root: str, cluster: str = "inline", **changes: object) -> None:
    """The leaves of the scan, as the workflow's job does it."""
    layout = Layout(Path(root))
    generate_all([(w.leaf, w.budget, layout.leaf(w.leaf.name)) for w in all_work(small_scan(**changes))], cluster)


def resume(root: Path, products: bool = True) -> list[str]:
    """What `nnqft run` does, without Snakemake: withdraw, generate, remake; what was withdrawn, a line each."""
    scan, layout = small_scan(), Layout(root)
    found = withdraw_damaged(scan, layout)
    missing = [w for w in all_work(scan) if not layout.leaf(w.leaf.name).manifest.exists()]
    generate_all([(w.leaf, w.budget, layout.leaf(w.leaf.name)) for w in missing], "inline")
    remade = bool(missing)
    for stage in MADE if products else ():
        if (remade and stage != "theory") or not layout.receipt(stage).exists():
            PRODUCTS[stage](scan, layout)
            remade = remade or stage != "theory"
    return found


def contents(root: Path) -> Contents:
    """Every data file of a results folder, by name."""
    files = (p for p in root.rglob("*") if p.is_file() and not UNTRACKED & set(p.relative_to(root).parts))
    return {str(p.relative_to(root)): p.read_bytes() for p in files}


def differences(root: Path, wanted: Contents) -> list[str]:
    """Names of files that differ, are too many or too few."""
    there = contents(root)
    return sorted(name for name in there.keys() | wanted.keys() if there.get(name) != wanted.get(name))


def commits(root: Path) -> Times:
    """Committed blocks: count chunk -> (inode, time of writing)."""
    found = {}
    for path in root.glob("leaves/*/blocks.zarr/count/c/*/*/0"):
        status = path.stat()
        found[path] = status.st_ino, status.st_mtime_ns
    return found


def rewritten(root: Path, before: Times) -> int:
    """How many of some committed blocks were written again."""
    after = commits(root)
    return sum(after.get(path) != times for path, times in before.items())
