"""Workers from SLURM: a scheduler in this process, one job array of `dask worker`s, cancelled at the end.

Plain `sbatch` and `scancel`, one each. (dask-jobqueue does this too; its last release is of August 2024, and what is
used of it would be the script below.) SLURM starts elements of the array as they fit; work begins with the first. What
becomes of them is watched with `squeue`, and told: that they wait and why, and that none is left.
"""

import logging
import shlex
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from nnqft.cluster.scheduler import CPU_ENVIRONMENT, scheduler, this_host, worker_command
from nnqft.cluster.settings import option, whole
from nnqft.cluster.submission import give_up
from nnqft.core.errors import InputError

log = logging.getLogger("nnqft")

SOON, LATER = 5.0, 30.0
"""Seconds to the first look at the queue, and between looks."""


def job_script(address: str) -> str:
    """The batch script of the workers, from NNQFT_SLURM_*.

    PARTITION, ACCOUNT, TIME (01:00:00), MEM (4G a job), WORKERS (4 jobs), CPUS (1 worker process a job each), GPUS (0;
    with some, a job has a worker for each GPU instead), EXTRA (further sbatch options), LOGS (.snakemake/slurm).

    Raises:
        InputError: for a number that is none.
    """
    import sys

    cpus, gpus = whole("slurm_cpus", 1), option("slurm_gpus", "0")
    asked = {
        "job-name": "nnqft-worker",
        "array": f"1-{whole('slurm_workers', 4)}",
        "partition": option("slurm_partition"),
        "account": option("slurm_account"),
        "time": option("slurm_time", "01:00:00"),
        "ntasks": "1",
        "cpus-per-task": str(cpus),
        "mem": option("slurm_mem", "4G"),
        "gres": f"gpu:{whole('slurm_gpus', 1)}" if gpus != "0" else "",
        "chdir": str(Path.cwd()),
        "output": str(_logs() / "%A_%a.log"),
    }
    lines = [f"#SBATCH --{name}={value}" for name, value in asked.items() if value]
    lines += [f"#SBATCH {extra}" for extra in shlex.split(option("slurm_extra"))]
    if gpus != "0":
        command, environment = [sys.executable, "-m", "nnqft.cluster.gpu", address], {}
    else:
        command, environment = worker_command(address, "--nworkers", str(cpus)), CPU_ENVIRONMENT
    exports = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    return "\n".join(["#!/bin/sh", *lines, *exports, f"exec {shlex.join(command)}", ""])


@contextmanager
def slurm_cluster() -> Iterator[str]:
    """A scheduler on this host's address (or NNQFT_SLURM_HOST), which compute nodes reach, and workers submitted to it.

    Raises:
        InputError: where there is no sbatch, or when SLURM refuses the job.
    """
    for tool in ("sbatch", "scancel"):
        if shutil.which(tool) is None:
            raise InputError(
                "NNQFT_CLUSTER=slurm", f"there is no {tool} on this machine", "run on a login node, or use local"
            )
    with scheduler(host=option("slurm_host") or this_host()) as address:
        script = job_script(address)
        _logs().mkdir(parents=True, exist_ok=True)
        job = _call(["sbatch", "--parsable"], script).strip().partition(";")[0]
        log.warning("SLURM job %s: %d jobs asked for, scheduler at %s", job, whole("slurm_workers", 4), address)
        stop = Event()
        Thread(target=watch, args=(job, address, stop), daemon=True).start()
        try:
            yield address
        finally:
            stop.set()
            subprocess.run(["scancel", job], check=False, capture_output=True)


def watch(job: str, address: str, stop: Event) -> None:
    """Tell of the job array when its state changes; end what runs when none of it is left. A thread of its own."""
    said, wait = "", SOON
    while not stop.wait(wait):
        wait = LATER
        if (state := queued(job)) == "":
            text = f"SLURM job {job} has no worker left (time limit, memory, cancelled, ...): see {_logs()}/{job}_*.log"
            log.error("%s", text)
            give_up(address, text)
            return
        if state is not None and state != said:
            log.warning("SLURM job %s: %s", job, state)
            said = state


def queued(job: str) -> str | None:
    """The elements of a job array that have not ended, `1 running, 3 pending (Resources)`; None if nobody can say."""
    command = ["squeue", "--noheader", "--array", f"--jobs={job}", "--format=%T %r"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LATER)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if answer.returncode:
        return "" if "Invalid job id" in answer.stderr else None
    states = Counter(
        f"{state.lower()} ({reason})" if state == "PENDING" else state.lower()
        for state, _, reason in (line.strip().partition(" ") for line in answer.stdout.splitlines())
    )
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items(), reverse=True))


def _joined(text: str) -> str:
    """What sbatch complains of, in one line."""
    return ", ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in text.strip().splitlines())


def _logs() -> Path:
    return Path(option("slurm_logs", ".snakemake/slurm")).absolute()


def _call(command: list[str], script: str) -> str:
    answer = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise InputError(
            "NNQFT_CLUSTER=slurm",
            f"SLURM refused the workers: {_joined(answer.stderr)}",
            "see NNQFT_SLURM_PARTITION, _ACCOUNT, _TIME, _MEM, _EXTRA",
        )
    return answer.stdout
