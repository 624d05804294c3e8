"""What a workflow job asks for, and what it takes of a SLURM allocation."""

import os

import pytest

from nnqft.cluster.allocation import job_cpus, job_megabytes, job_minutes
from nnqft.cluster.settings import local_workers
from nnqft.core.errors import InputError

NAMES = [f"NNQFT_{name}" for name in ("CLUSTER", "SLURM_CPUS", "SLURM_MEM", "SLURM_TIME")]
TASK = ("SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in (*NAMES, *TASK):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "workers"),
    [
        ({}, 64),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "3", "SLURM_CPUS_ON_NODE": "12"}, 3),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_ON_NODE": "12"}, 12),
        ({"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "100"}, 64),
        ({"SLURM_JOB_ID": "7"}, 64),
        ({"SLURM_CPUS_PER_TASK": "3"}, 64),
    ],
)
def test_local_takes_no_more_than_the_allocation(monkeypatch, environment, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert local_workers("local") == workers
    assert local_workers("local:5") == 5


def test_a_job_that_only_waits_for_workers_is_small(monkeypatch):
    for name, value in zip(NAMES, ("tcp://10.0.0.1:8786", "16", "64G", "UNLIMITED"), strict=True):
        monkeypatch.setenv(name, value)
    assert (job_cpus(), job_megabytes(), job_minutes()) == (1, 4000, 600)


@pytest.mark.parametrize(
    ("cluster", "cpus", "asked"), [("local", "8", 8), ("local:3", "", 3), ("local:3", "6", 6), ("local", "", 128)]
)
def test_cores_and_memory_of_a_job_that_computes(monkeypatch, cluster, cpus, asked):
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setenv("NNQFT_CLUSTER", cluster)
    monkeypatch.setenv("NNQFT_SLURM_CPUS", cpus)
    assert job_cpus() == asked
    assert job_megabytes() == max(4000, 1000 * asked)


@pytest.mark.parametrize(
    ("text", "megabytes"), [("16G", 16384), ("900", 900), ("900M", 900), ("1T", 2**20), ("1K", 1), ("2gb", 2048)]
)
def test_memory_is_read_as_sbatch_does(monkeypatch, text, megabytes):
    monkeypatch.setenv("NNQFT_SLURM_MEM", text)
    assert job_megabytes() == megabytes


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("90", 90), ("90:00", 90), ("90:01", 91), ("02:00:00", 120), ("00:00:30", 1), ("1-0", 1440), ("1-02", 1560),
        ("1-02:30", 1590), ("1-02:30:01", 1591),
    ],
)  # fmt: skip
def test_times_are_read_as_sbatch_does(monkeypatch, text, minutes):
    monkeypatch.setenv("NNQFT_SLURM_TIME", text)
    assert job_minutes() == minutes


@pytest.mark.parametrize(("name", "read"), [("MEM", job_megabytes), ("TIME", job_minutes), ("CPUS", job_cpus)])
def test_other_texts_are_refused(monkeypatch, name, read):
    monkeypatch.setenv(f"NNQFT_SLURM_{name}", "much")
    with pytest.raises(InputError, match=f"NNQFT_SLURM_{name}=much"):
        read()
