"""kill -9 of a worker, of a driver and of Snakemake in the middle of `nnqft run`: the same bits, nothing recomputed."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

SCAN = {
    "name": "crash",
    "seed": 9,
    "points": {"line": [[-1.0], [-0.6], [-0.2], [0.2], [0.6], [1.0]]},
    "architectures": {
        "erf": {"activation": "erf", "sigma_b": 1.0, "points": "line"},
        "relu": {"activation": "relu", "points": "line"},
    },
    "widths": [10, 400],
    "ensemble": {"networks": 160_000, "block": 8192},
}
COMMAND = [sys.executable, "-m", "nnqft", "run", "scan.yaml", "--", "results/crash/receipts/ensemble.json"]
UNTRACKED = {"lock", ".lock", "logs", "benchmarks"}


def start(folder, log):
    with (folder / log).open("w") as stream:
        return subprocess.Popen(COMMAND, cwd=folder, stdout=stream, stderr=subprocess.STDOUT)


def contents(folder):
    """Every data file of a scan's results, by name."""
    files = (p for p in (folder / "results").rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if not UNTRACKED & set(p.parts)}


def kind(process):
    command = process.cmdline()
    line = " ".join(command)
    if "spawn_main" in line:
        return "worker"
    if line.endswith(".ensemble.py") and "bash" not in command[0]:
        return "driver"
    return "snakemake" if "-m snakemake" in line else "other"


def commits(folder):
    """Committed blocks: path of the count chunk -> time of writing."""
    return {p: p.stat().st_mtime_ns for p in folder.glob("results/crash/leaves/*/blocks.zarr/count/c/*/*/0")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "scan.yaml").write_text(yaml.safe_dump(SCAN))
    assert start(folder, "log").wait(200) == 0, (folder / "log").read_text()
    return contents(folder)


@pytest.mark.parametrize(
    "victim",
    [pytest.param(victim, marks=pytest.mark.slow) for victim in ("worker", "driver", "snakemake")],
)
def test_kill_and_run_again(undisturbed, tmp_path, victim):
    (tmp_path / "scan.yaml").write_text(yaml.safe_dump(SCAN))
    run = start(tmp_path, "first.log")
    deadline = time.monotonic() + 120
    while len(commits(tmp_path)) < 12:
        assert run.poll() is None, (tmp_path / "first.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    target = next(p for p in psutil.Process(run.pid).children(recursive=True) if kind(p) == victim)
    before = commits(tmp_path)
    os.kill(target.pid, signal.SIGKILL)
    code = run.wait(200)
    assert code == (0 if victim == "worker" else 1), (tmp_path / "first.log").read_text()
    if victim != "worker":
        assert contents(tmp_path) != undisturbed  # the kill came in the middle
    assert start(tmp_path, "second.log").wait(200) == 0, (tmp_path / "second.log").read_text()
    after = commits(tmp_path)
    assert {p: after[p] for p in before} == before
    assert contents(tmp_path) == undisturbed
    shutil.rmtree(Path(tmp_path) / "results")
