"""A Dask scheduler in this process, and how its workers are started."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nnqft.cluster.settings import option
from nnqft.cluster.submission import ALLOWED_FAILURES
from nnqft.core.errors import InputError

LOOPBACK = "127.0.0.1"

WORKER_ENVIRONMENT = {
    "NPROC": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}
"""One thread a worker: XLA, OpenMP, BLAS."""

CPU_ENVIRONMENT = WORKER_ENVIRONMENT | {"JAX_PLATFORMS": "cpu"}

SETTINGS = {
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.scheduler.allowed-failures": ALLOWED_FAILURES,
    "distributed.worker.memory.terminate": False,
}


@contextmanager
def scheduler(workers: int = 0, host: str = LOOPBACK) -> Iterator[str]:
    """A scheduler that listens on `host` only, with so many single-threaded CPU workers; yields its address at once.

    The workers come up in the background, and leave when this process dies, however it dies. The dashboard is off
    unless NNQFT_DASHBOARD is set: to `1` for 127.0.0.1:8787, else to the host:port it shall listen on.

    Raises:
        InputError: when a dashboard is asked for and its package, bokeh, is not installed.
    """
    from dask import config

    quiet()
    from distributed import LocalCluster

    dashboard = _dashboard()
    with (
        config.set(SETTINGS | {"distributed.nanny.pre-spawn-environ": CPU_ENVIRONMENT}),
        LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            processes=True,
            host=host,
            dashboard_address=dashboard or f"{LOOPBACK}:0",
            worker_dashboard_address=f"{LOOPBACK}:0",
            scheduler_kwargs={"dashboard": bool(dashboard)},
            memory_limit=0,
            silence_logs=40,
        ) as cluster,
    ):
        started: Any = cluster
        started.scale(workers)
        yield started.scheduler_address


def quiet() -> None:
    """Errors only from distributed; call it before that is imported, which sets up its loggers."""
    from dask import config

    config.set({"logging.distributed": "error"})


def this_host() -> str:
    """The address of this machine on its default route."""
    quiet()
    from distributed.utils import get_ip

    return str(get_ip())


def worker_command(address: str, *options: str) -> list[str]:
    """`dask worker` as nnqft starts it: one thread a process, no dashboard, gone when the scheduler is."""
    return [
        sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--memory-limit", "0",
        "--no-dashboard", "--death-timeout", "120", *options,
    ]  # fmt: skip


def _dashboard() -> str:
    wanted = option("dashboard", "0")
    if wanted in ("0", "off", "no"):
        return ""
    try:
        import bokeh  # noqa: F401 # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(f"NNQFT_DASHBOARD={wanted}", "needs bokeh", "pip install bokeh") from None
    return f"{LOOPBACK}:8787" if wanted in ("1", "on", "yes") else wanted
