"""How cost and memory grow: with networks, width, depth, points; workers; compilations in a sweep."""

import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import jax
import numpy as np
import timing

from nnqft.estimation.reference import centre_and_scale
from nnqft.nets.registry import network
from nnqft.sampling.block import BlockSpec, block_statistics, canonical
from nnqft.sampling.budget import Budget
from nnqft.sampling.cells import leaves
from nnqft.sampling.kinds import kind
from nnqft.spec.grid import Architecture, architecture
from nnqft.spec.load import parse_scan
from nnqft.stages.ensemble import generate
from nnqft.storage.leafstore import LeafStore

LIMIT = 1.05
FEWEST = 2048
"""Networks of a block: with fewer than 1024, tiles of sixteen networks are not full (docs/engine.md)."""
SWEEPS = {
    "networks": [1e5, 1e6, 1e7, 1e8],
    "width": [100, 300, 1000, 3000, 10_000],
    "depth": [1, 2, 4, 8, 16, 32, 64],
    "points": [2, 4, 8, 16, 32, 64],
}


def line(points: int) -> list[list[float]]:
    """Points on [-1, 1]."""
    return np.linspace(-1, 1, points)[:, None].tolist()


def block(a: Architecture, width: int, networks: int, order: int, estimator: str = "marginal"):
    """A function that draws one block, with everything prepared."""
    net = network(a, width, "conditional", "float32")
    spec = BlockSpec(net, kind(net, estimator, order), len(a.coordinates), networks, order)
    centre, scale = centre_and_scale(net, spec.kind, a.sigma_w, a.sigma_b, a.x)
    key = np.array([1, 2], dtype=np.uint32)
    return lambda: block_statistics(canonical(spec), key, a.x, a.sigma_w, a.sigma_b, 0 * centre, scale, net.units)


def one(sweep: str, size: int) -> tuple[float, float]:
    """Processor seconds and peak MiB of one point of a sweep; its other sizes stay fixed."""
    if sweep == "networks":
        work = block(architecture(line(3), "erf", 1, 1.0, 0.3), 2, int(size), 4, "auto")
        return timing.seconds(work, turns=1), timing.peak_mib()
    width, depth, points = 64, 2, 6
    width = int(size) if sweep == "width" else width
    depth = int(size) if sweep == "depth" else depth
    points = int(size) if sweep == "points" else points
    order = 2 if sweep == "points" else 4
    networks = max(FEWEST, 2_000_000 // (width * depth))
    work = block(architecture(line(points), "erf", depth, 1.0, 0.3), width, networks, order)
    return timing.seconds(work) / networks, timing.peak_mib()


def sweeps() -> tuple[dict, list[str]]:
    """Each point in a process of its own, so that its peak memory is its own."""
    found, short = {}, []
    for sweep, sizes in SWEEPS.items():
        costs, peaks = [], []
        for size in sizes:
            command = [sys.executable, __file__, sweep, str(size)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            spent, peak = json.loads(done.stdout.splitlines()[-1])
            costs.append(spent)
            peaks.append(peak)
        first = 1 if sweep == "depth" else 0  # the first layer is cheaper: all networks share its covariance
        slope = timing.exponent(sizes[first:], costs[first:])
        growth = peaks[-1] / peaks[0]
        found[sweep] = {"sizes": sizes, "relative_cost": [c / costs[0] for c in costs], "peak_MiB": peaks,
                        "exponent": slope, "memory_ratio": growth}  # fmt: skip
        print(f"cost against {sweep:8}: exponent {slope:5.2f}   peak memory {peaks[0]:.0f} to {peaks[-1]:.0f} MiB")
        if sweep != "points" and slope > LIMIT:
            short.append(f"cost grows as {sweep}^{slope:.2f}")
        if sweep == "networks" and growth > 1.1:
            short.append(f"memory grows with networks: {growth:.2f}")
    return found, short


def compilations() -> int:
    """Kernels compiled in a sweep of 200 (sigma_w, sigma_b)."""
    counted = []
    name = "/jax/core/compile/backend_compile_duration"
    jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: counted.append(event == name))
    law = [(w, b) for w in np.linspace(0.5, 2, 20) for b in np.linspace(0.1, 1, 10)]
    works = [block(architecture(line(4), "erf", 3, float(w), float(b)), 16, 128, 6, "auto") for w, b in law]
    works[0]()
    counted.clear()
    for work in works:
        work()
    return 1 + sum(counted)


def workers() -> float:
    """Wall time of a leaf with one worker over that with two, clusters already up."""
    from nnqft.cluster.scheduler import scheduler

    data = {
        "name": "w", "seed": 1, "points": {"line": line(6)}, "widths": [256],
        "architectures": {"erf": {"activation": "erf", "depth": 3, "sigma_b": 0.3, "points": "line"}},
        "ensemble": {"networks": 802_816, "block": 4096},
    }  # fmt: skip
    leaf, wall = leaves(parse_scan(data))[0], {}
    for count in (1, 2):
        with scheduler(count) as address, TemporaryDirectory() as folder:
            generate(leaf, Budget(4, 4), LeafStore(Path(folder)), address)
            start = time.perf_counter()
            generate(leaf, Budget(196, 196), LeafStore(Path(folder)), address)
            wall[count] = time.perf_counter() - start
    return wall[1] / wall[2]


def main() -> list[str]:
    """Print, write JSON; what falls short."""
    found, short = sweeps()
    found["compilations"], found["two_workers"] = compilations(), workers()
    print(f"kernels compiled for 200 (sigma_w, sigma_b): {found['compilations']}")
    print(f"two workers over one: {found['two_workers']:.2f}")
    if found["compilations"] > 1:
        short.append(f"{found['compilations']} compilations in a sweep")
    if found["two_workers"] < 1.8:
        short.append(f"two workers are {found['two_workers']:.2f} times as fast as one")
    timing.write("scaling", found)
    return short


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(one(sys.argv[1], int(float(sys.argv[2])))))
    else:
        raise SystemExit("\n".join(main()) or 0)
