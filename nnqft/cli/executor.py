"""Snakemake's executor: whether the jobs of the workflow run where Snakemake does, or are submitted."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from nnqft.cluster.allocation import job_cpus, job_megabytes, job_minutes
from nnqft.cluster.settings import cluster_name
from nnqft.core.errors import InputError

HERE = ("", "local", "dryrun", "touch")
"""Executors that submit nothing."""
UNUSED = ("partition", "account", "workers", "gpus", "extra", "host", "logs")
"""NNQFT_SLURM_ names that only nnqft's own submission reads."""


def executor(arguments: Sequence[str], profile: Path) -> str:
    """The executor that Snakemake's arguments name (-e, --executor), else that of the profile; empty for none."""
    for i, argument in enumerate(arguments):
        if argument in ("-e", "--executor"):
            return "".join(arguments[i + 1 : i + 2])
        if argument.startswith("--executor="):
            return argument.removeprefix("--executor=")
    found = [_read(path) for path in sorted(profile.glob("config*.yaml"))]
    return next((str(content["executor"]) for content in found if content.get("executor")), "")


def submits(name: str) -> bool:
    """Whether an executor submits the jobs, so that each has a cluster of its own.

    Raises:
        InputError: for SLURM's executor where its package is not installed, where nnqft would submit workers too, and
            for sizes of jobs that are none.
    """
    if name in HERE:
        return False
    if name == "slurm" and find_spec("snakemake_executor_plugin_slurm") is None:
        raise InputError("--executor slurm", "needs snakemake-executor-plugin-slurm", 'pip install "nnqft[slurm]"')
    if cluster_name() == "slurm":
        raise InputError(
            "NNQFT_CLUSTER=slurm",
            f"Snakemake's executor {name} submits jobs, and so would nnqft",
            "either local with the executor (profile slurm-executor), or slurm without it (profile slurm)",
        )
    for asked in (job_cpus, job_megabytes, job_minutes):
        asked()
    if unused := [f"NNQFT_SLURM_{n.upper()}" for n in UNUSED if os.environ.get(f"NNQFT_SLURM_{n.upper()}")]:
        print(f"nnqft: not used with an executor: {', '.join(unused)} (see default-resources)", file=sys.stderr)
    return True


def _read(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
