"""Processes of this suite: forked from an interpreter that has imported everything, so that one costs no five seconds.

To be started by one thread only: multiprocessing's bookkeeping of children is not made for more.
"""

import logging
import multiprocessing as mp
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess

PRELOAD = ["nnqft.stages.ensemble", "nnqft.stages.mend", "nnqft.stages.pipeline"]
"""What takes long to import. This package itself need not be found by the server: it starts without our sys.path."""


def start(target: Callable[..., None], *arguments: object, silent: bool = False) -> BaseProcess:
    """Call a module-level function in a process of its own; silent: what it and its libraries print is lost."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    process = context.Process(target=_called, args=(target, arguments, silent))
    process.start()
    return process


def end(process: BaseProcess, seconds: float) -> int | None:
    """Its exit code; None when it had to be killed after so many seconds."""
    process.join(seconds)
    if stuck := process.is_alive():
        process.kill()
        process.join()
    return None if stuck else process.exitcode


def _called(target: Callable[..., None], arguments: tuple, silent: bool) -> None:
    logging.getLogger("nnqft").setLevel(logging.ERROR)
    if silent:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    target(*arguments)
