"""What a workflow job that computes asks for, in Snakemake's units; the CPUs of the SLURM job this process is in.

NNQFT_SLURM_CPUS, _MEM and _TIME mean the same whoever submits: nnqft (``cluster: slurm``) or Snakemake's executor.
"""

import math
import os
import re

from nnqft.cluster.settings import cluster_name, local_workers, option, whole
from nnqft.core.errors import InputError

WORKER_MB = 1000
"""Memory asked for each worker process unless NNQFT_SLURM_MEM says how much; `nnqft plan` says what it needs."""
LEAST_MB = 4000
MINUTES = 600

UNITS = {"K": 2**-10, "": 1, "M": 1, "G": 2**10, "T": 2**20}


def computes() -> bool:
    """Whether such a job computes by itself, rather than workers elsewhere."""
    return cluster_name().partition(":")[0] in ("inline", "local", "cuda")


def job_cpus() -> int:
    """Its cores: 1 if it does not compute itself, else NNQFT_SLURM_CPUS, N of `local:N`, or all of this machine."""
    if not computes():
        return 1
    name = cluster_name()
    return whole("slurm_cpus", local_workers(name) if ":" in name else os.cpu_count() or 1)


def job_megabytes() -> int:
    """Its memory: NNQFT_SLURM_MEM as sbatch reads it (MiB, or with K, M, G, T), or WORKER_MB a core.

    Raises:
        InputError: for a text that is no amount of memory.
    """
    if not (text := option("slurm_mem")) or not computes():
        return max(LEAST_MB, WORKER_MB * job_cpus())
    if not (match := re.fullmatch(r"(\d+)([KMGT]?)B?", text.strip().upper())):
        raise InputError(f"NNQFT_SLURM_MEM={text}", "is no amount of memory", "e.g. 16G")
    return math.ceil(int(match[1]) * UNITS[match[2]])


def job_minutes() -> int:
    """Its time limit: NNQFT_SLURM_TIME as sbatch reads it, rounded up to minutes, or MINUTES.

    Raises:
        InputError: for a text that is none of MM, MM:SS, HH:MM:SS, D-HH, D-HH:MM, D-HH:MM:SS.
    """
    if not (text := option("slurm_time")) or not computes():
        return MINUTES
    match = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text.strip())
    if not match:
        raise InputError(f"NNQFT_SLURM_TIME={text}", "is no time", "HH:MM:SS or D-HH:MM, e.g. 02:00:00")
    days, *rest = match.groups()
    parts = [int(part) for part in rest if part is not None]
    if days is None and len(parts) < 3:  # minutes come first
        parts = [0, *parts]
    hours, minutes, seconds = (*parts, 0, 0)[:3]
    return math.ceil(((int(days or 0) * 24 + hours) * 60 + minutes) + seconds / 60)
