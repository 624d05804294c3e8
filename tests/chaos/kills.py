"""kill -9 of a driver that generates in its own process: at random moments, and at random operations on files."""

import os
import random
import shutil
import signal
import sys
import threading
from pathlib import Path

from chaos.children import end, start
from chaos.small import Contents, commits, differences, generate, rewritten
from chaos.table import Row

PATIENCE = 120.0
STUCK = 255
WRITES = {"os.rename", "os.link", "os.mkdir", "os.remove"}


def _victim(root: str, operation: int, seconds: float) -> None:
    """Generate, and die by SIGKILL at the n-th operation that changes a file under root, or after some seconds."""
    left = [operation]
    me = os.getpid()
    if seconds:
        timer = threading.Timer(seconds, os.kill, (me, signal.SIGKILL))
        timer.daemon = True
        timer.start()

    def count(event: str, arguments: tuple) -> None:
        if event == "open":
            writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
            if not writes or not str(arguments[0]).startswith(root):
                return
        elif event not in WRITES or not str(arguments[0]).startswith(root):
            return
        left[0] -= 1
        if not left[0]:
            os.kill(me, signal.SIGKILL)

    if operation:
        sys.addaudithook(count)
    generate(root)


def run_driver(root: Path, operation: int = 0, seconds: float = 0.0) -> int:
    """Generate in a process of its own, killed or not; its exit code, STUCK for one that does not end."""
    code = end(start(_victim, str(root), operation, seconds), PATIENCE)
    return STUCK if code is None else code


def random_kills(folder: Path, leaves: Contents, kills: int, seed: int) -> list[Row]:
    """At least so many kills; after every few of them the scan is let finish, compared and begun again.

    leaves: the undisturbed leaves by name.
    """
    rng = random.Random(seed)
    rows = [Row("kill -9 of the driver, any moment"), Row("kill -9 of the driver, any file operation")]
    total = 0
    while total < kills:
        root = folder / f"kills-{total}"
        mine = []
        before = {}
        for _ in range(rng.randint(3, 8)):
            by_time = rng.random() < 0.5
            code = (
                run_driver(root, seconds=rng.uniform(0.02, 2.6)) if by_time else run_driver(root, rng.randint(1, 500))
            )
            redone = rewritten(root, before)
            if code == 0:
                break
            row = rows[0 if by_time else 1]
            row.tried += 1
            row.survived += code == -signal.SIGKILL
            row.recomputed += redone
            mine.append(row)
            total += 1
            before = commits(root)
        finished = run_driver(root) == 0
        changed, redone = differences(root, leaves), rewritten(root, before)
        for row in mine[-1:]:
            row.survived -= not finished
            row.changed += len(changed)
            row.recomputed += redone
            row.notes += changed[:3]
        shutil.rmtree(root, ignore_errors=True)
    return rows
