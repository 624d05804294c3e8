"""Faults of a whole `nnqft run`: kills and signals of each of its processes, two at once, no space, no permission."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml

from chaos.small import CONTENT, LARGER, Contents, Times, commits, differences, rewritten
from chaos.table import Row

TARGETS = ("results/chaos/receipts/cumulants.json",)
PATIENCE = 240.0
VICTIMS = ("worker", "driver", "snakemake", "run", "group")
NNQFT = [sys.executable, "-m", "nnqft", "run", "scan.yaml", "--", *TARGETS]


def prepare(folder: Path) -> Path:
    """A folder with the scan file; its results folder."""
    folder.mkdir(parents=True)
    (folder / "scan.yaml").write_text(yaml.safe_dump(CONTENT | LARGER), encoding="utf-8")
    return folder / "results" / "chaos"


def start(folder: Path, command: list[str] = NNQFT, **environment: str) -> subprocess.Popen:
    """A run in a session of its own; its output in run.log."""
    here = os.environ | {"NNQFT_CLUSTER": "local:2"} | environment
    with (folder / "run.log").open("w") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=here, start_new_session=True)


def end(run: subprocess.Popen, seconds: float = PATIENCE) -> int | None:
    """Its exit code; None when it had to be killed after so many seconds."""
    try:
        return run.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
        return None


def wait_for(run: subprocess.Popen, root: Path, blocks: int) -> None:
    """Until so many blocks are committed, or the run has ended."""
    deadline = time.monotonic() + PATIENCE
    while len(commits(root)) < blocks and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)


def finish(
    folder: Path, row: Row, wanted: Contents, before: Times, command: list[str] = NNQFT, **environment: str
) -> None:
    """Run again and compare."""
    row.tried += 1
    root = folder / "results" / "chaos"
    code = end(start(folder, command, **environment))
    changed = differences(root, wanted)
    row.survived += code == 0
    row.changed += len(changed)
    row.recomputed += rewritten(root, before)
    row.notes += changed[:3] if code == 0 else [tail(folder)]


def tail(folder: Path) -> str:
    """Last line of a run's log."""
    return (folder / "run.log").read_text(errors="replace").strip().splitlines()[-1:].__str__()


def kind(process: psutil.Process) -> str:
    """Which part of a run a process is."""
    try:
        command = process.cmdline()
    except psutil.Error:
        return ""
    line = " ".join(command)
    if "spawn_main" in line:
        return "worker"
    if line.endswith("ensemble.py") and "bash" not in command[0] and Path(command[0]).name != "sh":
        return "driver"
    return "snakemake" if "-m snakemake" in line else ""


def strike(folder: Path, victim: str, number: int, after: int) -> tuple[Times, str]:
    """Start a run, hit it after some commits, wait for its end: what was committed then, and what was wrong."""
    root = folder / "results" / "chaos"
    run = start(folder)
    wait_for(run, root, after)
    family = [psutil.Process(run.pid), *psutil.Process(run.pid).children(recursive=True)] if run.poll() is None else []
    before = commits(root)
    if not family:
        return before, "" if victim == "worker" else "ended before it was hit"
    if victim == "group":
        os.killpg(run.pid, number)
    else:
        chosen = [p for p in family if (p.pid == run.pid if victim == "run" else kind(p) == victim)]
        if not chosen:
            end(run)
            return before, f"no {victim} found"
        os.kill(chosen[0].pid, number)
    code = end(run)
    if (code == 0) != (victim == "worker"):
        return before, f"left with {code}: {tail(folder)}"
    _, left = psutil.wait_procs(family, timeout=60)
    names = [kind(p) for p in left if p.is_running()]
    return before, f"outlived the run: {names}" if names else ""


def kills(folder: Path, wanted: Contents, seed: int, turns: int) -> Iterator[Callable[[], Row]]:
    """Each process of a run by SIGKILL, the run itself also by SIGTERM and SIGINT, after a random number of commits."""
    strikes = [(victim, signal.SIGKILL) for victim in VICTIMS] + [("run", signal.SIGTERM), ("run", signal.SIGINT)]
    for position, (victim, number) in enumerate(strikes):
        rng = random.Random(seed * 100 + position)
        yield lambda v=victim, n=number, r=rng: struck(folder, wanted, v, n, [r.randint(1, 400) for _ in range(turns)])


def struck(folder: Path, wanted: Contents, victim: str, number: signal.Signals, moments: list[int]) -> Row:
    """One kind of strike some times, each after so many commits."""
    row = Row(f"{number.name} of {victim}, whole nnqft run")
    for turn, after in enumerate(moments):
        here = folder / f"{victim}-{number.name}-{turn}"
        prepare(here)
        before, wrong = strike(here, victim, number, after)
        finish(here, row, wanted, before)
        if wrong:
            row.survived -= 1
            row.notes.append(wrong)
        shutil.rmtree(here)
    return row


def two_at_once(folder: Path, wanted: Contents) -> Row:
    """Two runs on one scan: the second waits, and finds everything done."""
    row = Row("two runs at once", tried=1)
    root = prepare(folder)
    runs = [start(folder), start(folder)]
    codes = [end(run) for run in runs]
    changed = differences(root, wanted)
    row.survived, row.changed, row.notes = int(codes == [0, 0]), len(changed), [str(codes), *changed]
    return row


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[bool]:
    """Mount something on a folder for a while; whether that was allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    source = str(folder) if "--bind" in options else "tmpfs"
    done = not subprocess.run(["mount", *options, source, str(folder)], capture_output=True, check=False).returncode
    try:
        yield done
    finally:
        if done:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def full_disk(folder: Path, wanted: Contents) -> Row:
    """No space after some blocks; then space."""
    row = Row("full disk")
    root = prepare(folder)
    with mounted(root, "-t", "tmpfs", "-o", "size=3m") as done:
        if not done:
            row.skipped = "a small file system can be mounted by root only"
            return row
        code = end(start(folder))
        log = (folder / "run.log").read_text(errors="replace")
        said = "No space left" in log
        before = commits(root)
        subprocess.run(["mount", "-o", "remount,size=200m", str(root)], check=True)
        finish(folder, row, wanted, before)
        if code == 0 or not said or not before:
            row.survived -= 1
            row.notes.append(f"left with {code}, {len(before)} blocks: {log[-300:]}")
    return row


def read_only(folder: Path, wanted: Contents) -> Row:
    """A results folder that cannot be written: a message, no traceback; then it can."""
    row = Row("read-only results")
    root = prepare(folder)
    with mounted(root, "--bind") as done:
        if not done:
            row.skipped = "a read-only mount can be made by root only"
            return row
        subprocess.run(["mount", "-o", "remount,ro,bind", str(root)], check=True)
        code = end(start(folder))
        log = (folder / "run.log").read_text(errors="replace")
        subprocess.run(["mount", "-o", "remount,rw,bind", str(root)], check=True)
        finish(folder, row, wanted, {})
        if code != 1 or "Traceback" in log or "Read-only" not in log:
            row.survived -= 1
            row.notes.append(f"left with {code}: {log[-300:]}")
    return row


def others(folder: Path, wanted: Contents) -> Iterator[Callable[[], Row]]:
    """Faults that are no kills."""
    for name, fault in {"two": two_at_once, "disk": full_disk, "read-only": read_only}.items():
        yield lambda f=fault, n=name: f(folder / n, wanted)
