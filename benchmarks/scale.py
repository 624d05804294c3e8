"""A scan of 1e4 points generated, asked for its state and opened; one of 1e5 planned and dry-run."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import timing
import yaml

from nnqft import open_results
from nnqft.spec.load import parse_scan
from nnqft.spec.model import Scan
from nnqft.stages.assemble import assemble
from nnqft.stages.check import check
from nnqft.stages.ensemble import generate_all
from nnqft.stages.layout import Layout
from nnqft.stages.status import cell_status
from nnqft.stages.work import all_work

LIMITS = {
    "overhead_ms_per_point": 20.0,
    "generation_over_bare": 1.1,
    "plan_1e5_s": 60.0,
    "dry_run_1e5_s": 60.0,
    "status_1e4_s": 5.0,
    "open_1e4_s": 2.0,
    "files_per_block": 3.1,
}
"""What each number may be at most."""


def scan(sigma_w: int, sigma_b: int, widths: int, networks: int, block: int) -> dict[str, Any]:
    """An erf perceptron on so many values of each."""
    sweeps = {
        key: np.round(np.linspace(least, most, number), 5).tolist()
        for key, least, most, number in (("sigma_w", 0.5, 2.0, sigma_w), ("sigma_b", 0.1, 1.0, sigma_b))
    }
    return {
        "name": "scale", "seed": 1, "points": {"line": [[-0.5], [0.2], [0.7]]}, "widths": list(range(2, 2 + widths)),
        "architectures": {"erf": {"activation": "erf", "points": "line"} | sweeps},
        "ensemble": {"networks": networks, "block": block, "replicates": 16}, "cumulants": {"orders": [2, 4]},
    }  # fmt: skip


def generation(wanted: Scan, layout: Layout) -> tuple[float, float, int]:
    """Processor seconds of the kernel alone, of generating with it in this process, and the number of scan points."""
    work = all_work(wanted)
    units = [unit for w in work for unit in w.leaf.cells]
    units[0].draw(0, *units[0].reference())
    start = time.process_time()
    for unit in units:
        reference = unit.reference()
        for block in range(work[0].budget.most):
            unit.draw(block, *reference)
    bare = time.process_time() - start
    start = time.process_time()
    generate_all([(w.leaf, w.budget, layout.leaf(w.leaf.name)) for w in work], "inline")
    return bare, time.process_time() - start, len(units)


def opened(layout: Layout, wanted: Scan) -> Counter[str]:
    """Files that asking for the state of every scan point opens, by kind."""
    found: Counter[str] = Counter()
    listening = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if listening and event == "open" and str(layout.root) in str(arguments[0]):
            found["metadata" if str(arguments[0]).endswith(".json") else "chunks"] += 1

    sys.addaudithook(hook)
    cell_status(wanted, layout, thorough=True)
    listening = False
    return found


def command(folder: Path, *arguments: str) -> float:
    """Wall seconds of one nnqft command."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "nnqft", *arguments], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> list[str]:
    """Print, write JSON; what falls short."""
    found: dict[str, float] = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "many.yaml").write_text(yaml.safe_dump(scan(25, 20, 20, 64, 64)))
        many, layout = check(parse_scan(scan(25, 20, 20, 64, 64)), "scan"), Layout(folder / "results" / "scale")
        bare, whole, points = generation(many, layout)
        found["overhead_ms_per_point"] = 1e3 * (whole - bare) / points
        files = [p for p in layout.root.rglob("*") if p.is_file()]
        found["files"], found["files_per_block"] = len(files), len(files) / points
        opens = opened(layout, many)
        found["metadata_reads"], found["chunk_reads"] = opens["metadata"], opens["chunks"]
        found["status_1e4_s"] = command(folder, "status", "many.yaml")
        found["status_quick_1e4_s"] = command(folder, "status", "--quick", "many.yaml")
        start = time.perf_counter()
        assemble(many, layout)
        found["assemble_1e4_s"] = time.perf_counter() - start
        start = time.perf_counter()
        sizes = open_results(layout.root).ensemble["line"].to_dataset().sizes
        found["open_1e4_s"] = time.perf_counter() - start
        if sizes["architecture"] * sizes["width"] != points:
            raise RuntimeError(f"{dict(sizes)} are not {points} scan points")
    with TemporaryDirectory() as name:
        large = check(parse_scan(scan(10, 5, 4, 2_000_000, 500_000)), "scan")  # blocks of some ten milliseconds
        bare, whole, _ = generation(large, Layout(Path(name)))
        found["bare_s"], found["generation_over_bare"] = bare, whole / bare
    with TemporaryDirectory() as name:
        (Path(name) / "huge.yaml").write_text(yaml.safe_dump(scan(50, 100, 20, 64, 64)))
        found["plan_1e5_s"] = command(Path(name), "plan", "huge.yaml")
        found["dry_run_1e5_s"] = command(Path(name), "run", "huge.yaml", "--", "-n")
    for key, value in found.items():
        print(f"{key:24} {value:10.2f}" + (f"   (at most {LIMITS[key]:g})" if key in LIMITS else ""))
    timing.write("scale", found)
    return [f"{key} is {found[key]:.2f}, above {limit:g}" for key, limit in LIMITS.items() if found[key] > limit]


if __name__ == "__main__":
    raise SystemExit("\n".join(main()) or 0)
