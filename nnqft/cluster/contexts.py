"""Where tasks run: in this process, or on the workers of a dask.distributed cluster. The physics does not know which.

A cluster is named by a string: ``inline``; ``local`` or ``local:4`` (spawned worker processes of this machine);
``cuda`` (one worker for each of its GPUs); ``slurm`` (workers that nnqft submits); or a running scheduler,
``tcp://host:port``, ``tls://host:port`` or ``file:SCHEDULER.json``. It is chosen by the environment variable
NNQFT_CLUSTER or the profile, never by the scan.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any

from nnqft.cluster.gpu import cuda_cluster
from nnqft.cluster.scheduler import scheduler
from nnqft.cluster.settings import local_workers, scheduler_address
from nnqft.cluster.slurm import slurm_cluster
from nnqft.cluster.submission import Results, Workers, connected


class Runner:
    """Runs a module-level function on each tuple of arguments, here; yields (position, result) as they finish."""

    @property
    def dashboard(self) -> str:
        """The address of the cluster's dashboard; empty when there is none."""
        return ""

    def __call__(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Results:
        """One after another."""
        for position, argument in enumerate(arguments):
            yield position, function(*argument)


class ClusterRunner(Runner):
    """The same on a cluster, which is opened when it is first used. Several threads may use it at once."""

    def __init__(self, name: str, stack: ExitStack):
        self._name, self._stack, self._opening = name, stack, Lock()
        self._workers: Workers | None = None

    @property
    def dashboard(self) -> str:
        """The address of the cluster's dashboard; empty when there is none."""
        return self._workers.dashboard if self._workers else ""

    def __call__(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Results:
        """A window of them at a time."""
        with self._opening:
            if self._workers is None:
                address = self._stack.enter_context(cluster(self._name))
                self._workers = self._stack.enter_context(connected(address))
        return self._workers.run(function, arguments)


@contextmanager
def runner(name: str) -> Iterator[Runner]:
    """Open a cluster for the duration of the context.

    Raises:
        InputError: for a name that is no cluster; when used, for a cluster that cannot be had.
    """
    if name == "inline":
        yield Runner()
        return
    if not started_here(name):
        name = scheduler_address(name)
    with ExitStack() as stack:
        yield ClusterRunner(name, stack)


@contextmanager
def cluster(name: str) -> Iterator[str]:
    """The address of the scheduler of any cluster; what is started here, scheduler or workers, ends with the context.

    `inline` has no scheduler and gives itself. Raises InputError for a name that is no cluster or cannot be had.
    """
    if name == "inline":
        yield name
    elif not started_here(name):
        yield scheduler_address(name)
    else:
        kinds = {"cuda": cuda_cluster, "slurm": slurm_cluster}
        with kinds[name]() if name in kinds else scheduler(local_workers(name)) as address:
            yield address


def started_here(name: str) -> bool:
    """Whether a cluster starts its scheduler in this process; InputError for `local:0` and its like."""
    if name.partition(":")[0] == "local":
        return local_workers(name) > 0
    return name in ("cuda", "slurm")
