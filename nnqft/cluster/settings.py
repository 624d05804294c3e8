"""What a cluster is told from outside the scan: the environment, and the file beside a Snakemake profile.

NNQFT_CLUSTER names the cluster; NNQFT_SLURM_* ask for workers; NNQFT_DASHBOARD=1 turns the dashboard on. A profile's
``cluster.yaml`` holds the same names in small letters without NNQFT_ (``cluster: slurm``, ``slurm_partition: long``);
what the environment says wins.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import yaml

from nnqft.core.errors import InputError

KINDS = "inline, local, local:N, cuda, slurm, tcp://host:port, tls://host:port or file:SCHEDULER.json"

OPTIONS = {"cluster", "store", "dashboard", "gpu_devices", "gpu_memory", "gpu_platform"} | {
    f"slurm_{name}"
    for name in ("partition", "account", "time", "workers", "cpus", "mem", "gpus", "host", "extra", "logs")
}


def option(name: str, default: str = "") -> str:
    """The value of NNQFT_<NAME>, or the default where it is unset or empty."""
    return os.environ.get(f"NNQFT_{name.upper()}", "") or default


def whole(name: str, default: int) -> int:
    """:func:`option` as a positive whole number; InputError for anything else."""
    text = option(name, str(default))
    if not (text.isdigit() and int(text) > 0):
        raise InputError(f"NNQFT_{name.upper()}={text}", "is no positive whole number", f"e.g. {default}")
    return int(text)


def cluster_name() -> str:
    """The cluster of this process: NNQFT_CLUSTER, or `local`."""
    return option("cluster", "local")


def local_workers(name: str) -> int:
    """Workers of `local:N`, or of `local`: one a core this process may use; InputError for another N.

    In a SLURM job those are at most the cores of its task, which SLURM need not bind it to (`task/none`).
    """
    _, _, count = name.partition(":")
    if count and not (count.isdigit() and int(count) > 0):
        raise InputError(f"NNQFT_CLUSTER={name}", f"{count!r} is no number of workers", "use local or, e.g., local:4")
    if count:
        return int(count)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    task = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE") or ""
    return min(cores, int(task)) if task.isdigit() and int(task) and "SLURM_JOB_ID" in os.environ else cores


def scheduler_address(name: str) -> str:
    """The address in `tcp://...`, `tls://...` or `file:SCHEDULER.json` (what `dask scheduler --scheduler-file` writes).

    Raises:
        InputError: for a name that is no address, or a file that is not there or holds none.
    """
    import json

    if name.startswith(("tcp://", "tls://")):
        return name
    path = Path(name.removeprefix("file:"))
    if not (name.startswith("file:") or path.suffix == ".json"):
        raise InputError(f"NNQFT_CLUSTER={name}", "is no cluster", f"use {KINDS}")
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["address"])
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"NNQFT_CLUSTER={name}",
            f"{path} is no scheduler file",
            f"start the scheduler with: dask scheduler --scheduler-file {path}",
        ) from None


def profile_settings(profile: Path) -> Mapping[str, str]:
    """The environment that a profile's `cluster.yaml` asks for; what is set already is left out.

    Raises:
        InputError: for a file that is no mapping, or a key that is none of OPTIONS.
    """
    path = profile / "cluster.yaml"
    if not path.is_file():
        return {}
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(content, dict):
        raise InputError(str(path), "is no mapping", "e.g. cluster: slurm")
    if unknown := sorted(set(map(str, content)) - OPTIONS):
        raise InputError(str(path), f"{unknown[0]} is not a key", f"use {', '.join(sorted(OPTIONS))}")
    found = {f"NNQFT_{key.upper()}": str(value) for key, value in content.items() if value is not None}
    return {key: value for key, value in found.items() if not os.environ.get(key)}
