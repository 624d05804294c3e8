"""Tasks on a Dask cluster: a window of them in flight that grows with the workers, results as they finish."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Lock, Thread
from typing import Any
from urllib.request import urlopen

from nnqft.core.errors import InputError

log = logging.getLogger("nnqft")

PATIENCE = "30s"
"""How long to look for a scheduler."""
WINDOW = 64
"""Fewest tasks in flight at once, if there are so many: enough to keep some workers busy."""
PER_THREAD = 2
"""Tasks in flight for each thread of the cluster, beyond WINDOW: one at work, one waiting beside it."""
REFRESH = 5.0
"""Seconds between looks at how many workers there are."""
DESERTED = 300.0
"""Seconds without any worker, after there have been some, that end a run."""

ALLOWED_FAILURES = 20
"""Workers that a task may lose before it is given up."""

FAREWELL = ["nnqft", "given_up"]
"""Where the scheduler keeps why there will be no further workers."""

Results = Iterator[tuple[int, Any]]


class ClusterLostError(RuntimeError):
    """The scheduler or all workers are gone. What was committed is safe; the remedy is to run again."""

    def __init__(self, why: str):
        super().__init__(f"{why}; what was committed is safe: run again to go on")


class WorkersKilledError(RuntimeError):
    """A task whose workers die each time it is tried: out of memory, as a rule."""


class Workers:
    """A client of one scheduler: runs tasks, knows the size of the cluster. Several threads may use it at once."""

    def __init__(self, client: Any):
        self._client = client
        self._lock = Lock()
        self._live: set[Any] = set()
        self._lost = "the cluster is gone"
        self._threads = sum(client.nthreads().values())
        self._resources: dict[str, float] | None = None
        self.dashboard = self._dashboard()
        """The address of the scheduler's dashboard; empty when it is off."""

    @property
    def window(self) -> int:
        """Tasks that may be in flight now."""
        return max(WINDOW, PER_THREAD * self._threads)

    def watch(self, stop: Event) -> None:
        """Count the workers now and then; end what runs when they have all been away for long. A thread of its own."""
        seen, there = time.monotonic(), False
        while not stop.wait(REFRESH):
            try:
                self._threads = sum(self._client.nthreads().values())
                given_up = not self._threads and self._given_up()
            except Exception:  # the scheduler is away: the client finds out by itself
                continue
            now, there = time.monotonic(), there or self._threads > 0
            if self._threads:
                seen = now
            elif given_up:
                self._client.cancel(list(self._live))
            elif not there:
                seen = now
            elif now - seen > DESERTED and self._live:
                self._lost = f"no worker for {DESERTED:.0f} s (their logs say why: time limit, no nnqft there, ...)"
                self._client.cancel(list(self._live))
            elif now - seen <= 30 < now - seen + REFRESH:
                log.warning("all workers have left %s; waiting for others", self._client.scheduler.address)

    def resources(self) -> dict[str, float]:
        """What a task needs of its worker: a GPU if any worker there is has one. Waits for the first worker."""
        with self._lock:
            if self._resources is None:
                try:
                    self._wait()
                    there = self._client.scheduler_info()["workers"].values()
                except OSError:  # nobody answers any more
                    raise self._gone() from None
                self._resources = {"GPU": 1} if any(w.get("resources", {}).get("GPU") for w in there) else {}
            return self._resources

    def run(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Results:
        """Each tuple of arguments as one task with a key of its own; (position, result) as they finish."""
        from distributed import KilledWorker, as_completed
        from distributed.client import ClosedClientError

        pending = iter(enumerate(arguments))
        positions: dict[str, int] = {}
        resources = self.resources() if arguments else {}

        def submit(most: int) -> list[Any]:
            futures = []
            while len(futures) < most and (task := next(pending, None)) is not None:
                try:
                    futures.append(self._client.submit(function, *task[1], pure=False, resources=resources or None))
                except ClosedClientError:
                    raise self._gone() from None
                positions[futures[-1].key] = task[0]
            self._live.update(futures)
            return futures

        if not (first := submit(self.window)):
            return
        completed = as_completed(first, loop=self._client.loop, raise_errors=False)
        while positions:
            if (future := next(completed, None)) is None or future.status in ("cancelled", "lost"):
                raise self._gone()
            self._live.discard(future)
            try:
                result = future.result()
            except KilledWorker as error:
                raise WorkersKilledError(
                    f"{error.allowed_failures + 1} workers died one after another at the same task; if they ran out of "
                    "memory: fewer workers, or a smaller ensemble.block (nnqft plan says what a worker needs)"
                ) from None
            except Exception:
                if future.status == "error":  # the task's own
                    raise
                raise self._gone() from None  # it ended, but its result could not be had
            yield positions.pop(future.key), result
            for following in submit(self.window - len(positions)):
                completed.add(following)

    def _gone(self) -> ClusterLostError:
        return ClusterLostError(self._lost)

    def _dashboard(self) -> str:
        """A scheduler names a link even where its dashboard is off: only one that answers here counts."""
        try:
            link = str(self._client.dashboard_link or "")
            with urlopen(link, timeout=2):
                return link
        except (KeyError, OSError, ValueError):  # no such service; nobody answers; no link
            return ""

    def _given_up(self) -> bool:
        """Whether whoever started the workers has said that no others will come."""
        if why := self._client.get_metadata(FAREWELL, ""):
            self._lost = str(why)
        return bool(why)

    def _wait(self) -> None:
        waited, tries = time.monotonic(), 0
        told = 30.0
        while not self._client.nthreads():
            time.sleep(0.1)
            if (tries := tries + 1) % 10 == 0 and self._given_up():
                raise ClusterLostError(self._lost)
            if time.monotonic() - waited > told:
                log.warning("no worker has come to %s in %.0f s; waiting", self._client.scheduler.address, told)
                told *= 2


def give_up(address: str, why: str) -> None:
    """Tell those who compute on a scheduler that no further workers will come: without any, they end with `why`."""
    from distributed import Client

    with Client(address, timeout=PATIENCE, set_as_default=False) as client:
        client.set_metadata(FAREWELL, why)


@contextmanager
def connected(address: str) -> Iterator[Workers]:
    """The workers of the scheduler at an address; InputError when none answers in PATIENCE."""
    from dask import config

    config.set({"logging.distributed": "error"})
    from distributed import Client

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # a lost scheduler is told once, by us
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, TypeError) as error:  # TypeError: tls:// without certificates
        raise InputError(
            f"NNQFT_CLUSTER={address}", f"no scheduler answers ({error})", "start it, or use another cluster"
        ) from None
    stop, workers = Event(), Workers(client)
    Thread(target=workers.watch, args=(stop,), daemon=True).start()
    try:
        yield workers
    finally:
        stop.set()
        client.close(timeout=5)
