"""A worker that runs out of memory: its address space is limited while it works."""

import resource
from pathlib import Path

from chaos.children import end, start
from chaos.kills import run_driver
from chaos.small import Contents, commits, differences, generate, rewritten
from chaos.table import Row

MIB = 2**20
PATIENCE = 40.0


def _starved(root: str, spare: int) -> None:
    """Generate with so many bytes more than the imports took."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + spare, used + spare))
    generate(root)


def starvation(folder: Path, leaves: Contents) -> Row:
    """Little memory, less memory, and then enough."""
    row = Row("out of memory")
    if not Path("/proc/self/statm").exists():
        row.skipped = "address space is read from /proc"
        return row
    root = folder / "starved"
    ended: list[str] = []
    for spare in (16 * MIB, 64 * MIB, 256 * MIB, 512 * MIB):
        before = commits(root)
        code = end(start(_starved, str(root), spare, silent=True), PATIENCE)
        ended.append("stuck" if code is None else str(code))  # a library waits for a thread it could not start
        row.tried += 1
        row.recomputed += rewritten(root, before)
        row.survived += 1
    before = commits(root)
    if run_driver(root) != 0 or set(ended) == {"0"}:  # not mended, or never short of memory
        row.survived = 0
    changed = differences(root, leaves)
    row.changed, row.notes = len(changed), [f"exit codes {', '.join(ended)}", *changed[:3]]
    row.recomputed += rewritten(root, before)
    return row
