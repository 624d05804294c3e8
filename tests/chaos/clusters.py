"""Faults of a Dask cluster that the user started: its scheduler or workers are killed, workers are short of memory."""

import json
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chaos import children, runs
from chaos.small import LARGER, Contents, Times, commits, differences, generate, rewritten
from chaos.table import Row
from nnqft.cluster import submission
from nnqft.cluster.scheduler import CPU_ENVIRONMENT, worker_command

LOOPBACK = "127.0.0.1"
PATIENCE = 120.0
BOUND = 60.0
"""Seconds that a run may take to say that its cluster is gone."""
DESERTED = 8.0
"""Seconds without workers that end a run of this suite."""
GONE = "ClusterLostError: the cluster is gone; what was committed is safe: run again to go on"
BLOCKS = 576
MIB = 2**20


@dataclass
class Cluster:
    """A scheduler and workers, each a process of its own."""

    address: str
    scheduler: subprocess.Popen
    workers: list[subprocess.Popen]
    log: Path

    def wait_for_workers(self) -> None:
        """Until all have registered."""
        deadline = time.monotonic() + PATIENCE
        while self.log.read_text().count("Registered to:") < len(self.workers) and time.monotonic() < deadline:
            time.sleep(0.05)


@contextmanager
def cluster(folder: Path, workers: int, **environment: str) -> Iterator[Cluster]:
    """`dask scheduler` and so many `dask worker` without nannies, on loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "scheduler.json"
    file.unlink(missing_ok=True)
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", LOOPBACK, "--port", "0"]
    command += ["--dashboard-address", f"{LOOPBACK}:0", "--no-dashboard", "--scheduler-file", str(file)]
    with (folder / "dask.log").open("w") as log:
        here = os.environ | environment
        processes = [subprocess.Popen(command, stdout=log, stderr=log, env=here)]
        try:
            deadline = time.monotonic() + PATIENCE
            while not file.exists() or not file.read_text().strip():
                if processes[0].poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("no scheduler came up")
                time.sleep(0.05)
            address = json.loads(file.read_text())["address"]
            for _ in range(workers):
                command = worker_command(address, "--no-nanny", "--host", LOOPBACK)
                processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=here | CPU_ENVIRONMENT))
            yield Cluster(address, processes[0], processes[1:], folder / "dask.log")
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()


def _drive(root: str, address: str, said: str, patience: float) -> None:
    submission.REFRESH, submission.DESERTED = 0.5, patience  # seconds in place of minutes
    try:
        generate(root, address, **LARGER)
    except Exception as error:
        Path(said).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        raise SystemExit(1) from None


class Driver:
    """A driver in a process of its own, which uses a cluster."""

    def __init__(self, folder: Path, root: Path, address: str):
        self._said, self._root = folder / "said", root
        self._said.unlink(missing_ok=True)
        self._process = children.start(_drive, str(root), address, str(self._said), DESERTED, silent=True)

    def wait_for(self, blocks: int) -> None:
        """Until so many blocks are committed, or it has ended."""
        deadline = time.monotonic() + PATIENCE
        while len(commits(self._root)) < blocks and self._process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)

    def end(self, seconds: float = PATIENCE) -> tuple[int | None, str]:
        """Exit code (None: it had to be killed after so many seconds) and last words."""
        code = children.end(self._process, seconds)
        said = self._said.read_text(encoding="utf-8") if self._said.exists() else ""
        return code, said


def note(row: Row, fine: bool, what: object) -> None:
    """Count one fault."""
    row.tried += 1
    row.survived += fine
    if not fine:
        row.notes.append(str(what))


def compare(row: Row, root: Path, leaves: Contents, before: Times) -> None:
    """Count what differs from the undisturbed leaves, and what was computed twice."""
    changed = differences(root, leaves)
    row.changed += len(changed)
    row.recomputed += rewritten(root, before)
    row.notes += changed[:3]


def killed(folder: Path, leaves: Contents, seed: int, turns: int) -> list[Row]:
    """The scheduler dies, and the run says so in time; on the next cluster a worker dies, and the run goes on."""
    rng = random.Random(seed)
    rows = [Row("kill -9 of the scheduler, own Dask cluster"), Row("kill -9 of a worker, own Dask cluster")]
    for turn in range(turns):
        here, root = folder / f"killed-{turn}", folder / f"killed-{turn}" / "results"
        with cluster(here, 2) as dask:
            driver = Driver(here, root, dask.address)
            driver.wait_for(rng.randint(1, 300))
            dask.scheduler.kill()
            ended = driver.end(BOUND)
            note(rows[0], ended == (1, GONE), ended)
            before = commits(root)
            left = [worker for worker in dask.workers if not _ends(worker)]
            rows[0].survived -= bool(left)
        with cluster(here, 2) as dask:
            driver = Driver(here, root, dask.address)
            driver.wait_for(len(before) + rng.randint(1, max(1, BLOCKS - 100 - len(before))))
            rows[0].recomputed += rewritten(root, before)
            before = commits(root)
            dask.workers[rng.randrange(2)].kill()
            ended = driver.end()
            note(rows[1], ended == (0, ""), ended)
            compare(rows[1], root, leaves, before)
        shutil.rmtree(here)
    return rows


def whole_run(folder: Path, wanted: Contents, after: int) -> Row:
    """The scheduler of a whole `nnqft run` dies: status 1 and the same words; the next run needs no such cluster."""
    row = Row("kill -9 of the scheduler, whole nnqft run")
    root = runs.prepare(folder)
    with cluster(folder / "dask", 2) as dask:
        run = runs.start(folder, NNQFT_CLUSTER=dask.address)
        runs.wait_for(run, root, after)
        dask.scheduler.kill()
        code = runs.end(run, BOUND)
    said = (folder / "run.log").read_text(errors="replace")
    runs.finish(folder, row, wanted, commits(root))
    if code != 1 or GONE not in said:
        row.survived -= 1
        row.notes.append(f"left with {code}, {'told' if GONE in said else 'not told'}: {said[-300:]}")
    shutil.rmtree(folder)
    return row


def _ends(worker: subprocess.Popen) -> bool:
    try:
        worker.wait(BOUND)
    except subprocess.TimeoutExpired:
        return False
    return True


def starved(folder: Path, leaves: Contents, seed: int, turns: int) -> list[Row]:
    """Both workers are short of memory, and the run says so; then one of two, and it goes on or says so; then none."""
    rng = random.Random(seed)
    rows = [Row("a worker short of memory"), Row("all workers short of memory")]
    for row in rows if not hasattr(resource, "prlimit") else ():
        row.skipped = "address space is limited by prlimit"
    for turn in range(turns if hasattr(resource, "prlimit") else 0):
        here, root = folder / f"starved-{turn}", folder / f"starved-{turn}" / "results"
        for row, hungry in ((rows[1], 2), (rows[0], 1)):
            before = commits(root)
            with cluster(here, 2) as dask:
                dask.wait_for_workers()
                for worker in dask.workers[:hungry]:
                    limit(worker.pid, rng.choice((8, 32, 128)) * MIB)
                ended = Driver(here, root, dask.address).end()
            row.recomputed += rewritten(root, before)
            went_on, said_so = ended == (0, ""), ended[0] == 1 and bool(ended[1])
            note(row, said_so or (went_on and hungry == 1), ended)
        before = commits(root)
        mended = children.start(_drive, str(root), "inline", str(here / "said"), DESERTED, silent=True)
        rows[0].survived -= children.end(mended, PATIENCE) != 0
        compare(rows[0], root, leaves, before)
        shutil.rmtree(here)
    return rows


def limit(process: int, spare: int) -> None:
    """Let a process have so many bytes of address space more than it has."""
    used = int(Path(f"/proc/{process}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(process, resource.RLIMIT_AS, (used + spare, used + spare))
