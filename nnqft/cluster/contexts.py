"""Where tasks run: in this process, or on the workers of a dask.distributed cluster. The physics does not know which.

A cluster is named by a string: ``inline``; ``local`` or ``local:4`` (spawned worker processes of this machine); or the
address of a running scheduler, ``tcp://host:port``. It is chosen by the profile or the environment variable
NNQFT_CLUSTER, never by the scan.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

from nnqft.core.errors import InputError

PATIENCE = "30s"
"""How long to look for a scheduler."""

WINDOW = 64
"""Most tasks in flight at once: enough to keep workers busy, few enough to keep the scheduler's memory flat."""

ALLOWED_FAILURES = 20
"""Workers that a task may lose before it is given up."""

_WORKER_ENVIRONMENT = {
    "NPROC": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}

Results = Iterator[tuple[int, Any]]
Runner = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]]], Results]
"""Runs a module-level function on each tuple of arguments; yields (position, result) as they finish."""


class ClusterLostError(RuntimeError):
    """The scheduler is gone. What was committed is safe; the remedy is to run again."""


class WorkersKilledError(RuntimeError):
    """A task whose workers die each time it is tried: out of memory, as a rule."""


def cluster_name() -> str:
    """The cluster of this process: NNQFT_CLUSTER, or `local`."""
    return os.environ.get("NNQFT_CLUSTER", "local")


@contextmanager
def runner(name: str) -> Iterator[Runner]:
    """Open a cluster for the duration of the context, when it is first used. Several threads may use it at once.

    Raises:
        InputError: for a name that is no cluster; when used, for an address where no scheduler answers.
    """
    if name == "inline":
        yield _inline
        return
    local = name.partition(":")[0] == "local"
    if not local and not name.startswith(("tcp://", "tls://")):
        raise InputError(f"NNQFT_CLUSTER={name}", "is no cluster", "use inline, local, local:N or tcp://host:port")
    workers, opening, clients = local_workers(name) if local else 0, Lock(), []
    with ExitStack() as stack:

        def run(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Results:
            with opening:
                if not clients:
                    address = stack.enter_context(local_cluster(workers)) if local else name
                    clients.append(stack.enter_context(_client(address)))
            return _distributed(clients[0], function, arguments)

        yield run


@contextmanager
def local_cluster(workers: int) -> Iterator[str]:
    """A scheduler on loopback with spawned single-threaded worker processes; yields its address at once.

    The workers come up in the background, and leave when this process dies, however it dies.
    """
    from dask import config

    config.set({"logging.distributed": "error"})  # before distributed is imported, which sets up its loggers
    from distributed import LocalCluster

    settings = {
        "distributed.worker.multiprocessing-method": "spawn",
        "distributed.nanny.pre-spawn-environ": _WORKER_ENVIRONMENT,
        "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
        "distributed.worker.memory.terminate": False,
    }
    with (
        config.set(settings),
        LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            memory_limit=0,
            silence_logs=40,
        ) as cluster,
    ):
        started: Any = cluster
        started.scale(workers)
        yield started.scheduler_address


def local_workers(name: str) -> int:
    """Workers of `local` (one a core this process may use) or `local:N`; InputError for another N."""
    _, _, count = name.partition(":")
    if count and not (count.isdigit() and int(count) > 0):
        raise InputError(f"NNQFT_CLUSTER={name}", f"{count!r} is no number of workers", "use local or, e.g., local:4")
    if count:
        return int(count)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _client(address: str) -> Iterator[Any]:
    from dask import config

    config.set({"logging.distributed": "error"})
    from distributed import Client

    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise InputError(
            f"NNQFT_CLUSTER={address}", f"no scheduler answers ({error})", "start it, or use another cluster"
        ) from None
    try:
        yield client
    finally:
        client.close(timeout=5)


def _inline(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Results:
    for position, argument in enumerate(arguments):
        yield position, function(*argument)


def _distributed(client: Any, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Results:
    """A sliding window of tasks with unique keys; results as they finish."""
    from distributed import KilledWorker, as_completed

    pending = iter(enumerate(arguments))
    positions: dict[str, int] = {}

    def submit() -> Any:
        for position, argument in pending:
            future = client.submit(function, *argument, pure=False)
            positions[future.key] = position
            return future
        return None

    first = [f for f in (submit() for _ in range(min(WINDOW, len(arguments)))) if f is not None]
    if not first:
        return
    completed = as_completed(first, loop=client.loop, raise_errors=False)
    done = 0
    while done < len(arguments):
        try:
            future = next(completed)
        except StopIteration:
            raise ClusterLostError("the cluster is gone; what was committed is safe: run again to go on") from None
        if future.status in ("cancelled", "lost"):
            raise ClusterLostError("the cluster is gone; what was committed is safe: run again to go on")
        try:
            result = future.result()
        except KilledWorker:
            raise WorkersKilledError(
                f"{ALLOWED_FAILURES} workers died one after another at the same task; if they ran out of memory: fewer "
                "workers, or a smaller ensemble.block (nnqft plan says what a worker needs)"
            ) from None
        yield positions.pop(future.key), result
        done += 1
        if (following := submit()) is not None:
            completed.add(following)
