"""A clock that is set while a scan runs, or between two runs: libfaketime tells all processes of a run another time.

Monotonic clocks go on, as they do when somebody sets the time; dates of files stay the true ones.
"""

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from chaos import runs
from chaos.small import Contents, commits
from chaos.table import Row

SETTINGS = {"FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}

SLEEP = "time.sleep(delay)\nOSError: [Errno 22]"
"""libfaketime can hand the kernel a deadline that it refuses; a clock that is really set does not."""


def library() -> str:
    """What `faketime` preloads; empty where it is not installed."""
    if shutil.which("faketime") is None:
        return ""
    said = subprocess.run(["faketime", "-f", "+0", "env"], capture_output=True, text=True, check=False).stdout
    return next((line.partition("=")[2] for line in said.splitlines() if line.startswith("LD_PRELOAD=")), "")


def rows(folder: Path, wanted: Contents, seed: int) -> Iterator[Callable[[], Row]]:
    """The clock is set in the middle of a run; a killed run goes on at another time."""
    rng = random.Random(seed)
    for name, offset in (("forty years back", "-14610d"), ("a day back", "-1d"), ("a day ahead", "+1d")):
        after = rng.randint(1, 400)
        yield lambda n=name, o=offset, a=after: set_while_running(folder, wanted, n, o, a)
    yield lambda: resumed(folder, wanted, rng.randint(1, 400))


def set_while_running(folder: Path, wanted: Contents, name: str, offset: str, after: int) -> Row:
    """The run ends as if nothing had been; the next one, at the true time, finds nothing to do."""
    row = Row(f"clock set {name} while it runs")
    if not (environment := _environment(folder, name)):
        row.skipped = "needs faketime (Debian: apt install faketime)"
        return row
    here = folder / name.replace(" ", "-")
    root = runs.prepare(here)
    run = runs.start(here, **environment)
    runs.wait_for(run, root, after)
    _set(environment, offset)
    code, said = runs.end(run), (here / "run.log").read_text(errors="replace")
    runs.finish(here, row, wanted, commits(root))
    if code != 0 and SLEEP in said:
        row.notes.append("stopped by libfaketime in the middle, then resumed")
    elif code != 0:
        row.survived -= 1
        row.notes.append(f"left with {code}")
    shutil.rmtree(here)
    return row


def resumed(folder: Path, wanted: Contents, after: int) -> Row:
    """All processes are killed; the next run has a clock forty years back."""
    row = Row("killed, resumed forty years back")
    if not (environment := _environment(folder, "resumed")):
        row.skipped = "needs faketime (Debian: apt install faketime)"
        return row
    here = folder / "resumed"
    root = runs.prepare(here)
    run = runs.start(here)
    runs.wait_for(run, root, after)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    before = commits(root)
    _set(environment, "-14610d")
    runs.finish(here, row, wanted, before, **environment)
    shutil.rmtree(here)
    return row


def _environment(folder: Path, name: str) -> dict[str, str]:
    if not (preload := library()):
        return {}
    environment = SETTINGS | {"LD_PRELOAD": preload, "FAKETIME_TIMESTAMP_FILE": str(folder / f"{name}.clock")}
    _set(environment, "+0")
    return environment


def _set(environment: dict[str, str], offset: str) -> None:
    Path(environment["FAKETIME_TIMESTAMP_FILE"]).write_text(offset + "\n", encoding="utf-8")
