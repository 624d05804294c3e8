"""Workers from SLURM: a scheduler in this process, one job array of `dask worker`s, cancelled at the end.

Plain `sbatch` and `scancel`, one each. (dask-jobqueue does this too; its last release is of August 2024, and what is
used of it would be the script below.) SLURM starts elements of the array as they fit; work begins with the first.
"""

import logging
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnqft.cluster.scheduler import CPU_ENVIRONMENT, scheduler, worker_command
from nnqft.cluster.settings import option, whole
from nnqft.core.errors import InputError

log = logging.getLogger("nnqft")


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
        "output": str(Path(option("slurm_logs", ".snakemake/slurm")).absolute() / "%A_%a.log"),
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
    from distributed.utils import get_ip

    with scheduler(host=option("slurm_host") or str(get_ip())) as address:
        script = job_script(address)
        Path(option("slurm_logs", ".snakemake/slurm")).mkdir(parents=True, exist_ok=True)
        job = _call(["sbatch", "--parsable"], script).strip().partition(";")[0]
        log.warning("SLURM job %s: %d jobs asked for, scheduler at %s", job, whole("slurm_workers", 4), address)
        try:
            yield address
        finally:
            subprocess.run(["scancel", job], check=False, capture_output=True)


def _call(command: list[str], script: str) -> str:
    answer = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise InputError(
            "NNQFT_CLUSTER=slurm",
            f"sbatch refused the workers: {answer.stderr.strip()}",
            "see NNQFT_SLURM_PARTITION, _ACCOUNT, _TIME, _MEM, _EXTRA",
        )
    return answer.stdout
