"""Snakemake's slurm executor submits the workflow's jobs: cancelled, out of time, refused; then resumed."""

from importlib.util import find_spec

import pytest
from scene import PATIENCE, SOME, freeze

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(find_spec("snakemake_executor_plugin_slurm") is None, reason="needs nnqft[slurm]"),
]
EXECUTOR = ("--profile", "slurm-executor", "--slurm-init-seconds-before-status-checks", "1")
JOB = {"NNQFT_CLUSTER": "local", "NNQFT_SLURM_CPUS": "2", "NNQFT_SLURM_MEM": "2G", "NNQFT_SLURM_TIME": "10"}
SUBMITTED = r"Job \d+ has been submitted with SLURM jobid (\d+)"


def test_a_job_cancelled_in_the_middle_is_resumed(scene):
    run = scene.start(*EXECUTOR, **JOB)
    scene.until_blocks(run, SOME)
    job = scene.said(SUBMITTED)[1]
    asked = scene.ask("scontrol", "show", "job", job)
    assert "CPUs/Task=2" in asked
    assert "mem=2G" in asked
    assert "TimeLimit=00:10:00" in asked
    scene.ask("scancel", job)
    scene.until(lambda: not scene.ask("squeue", "--noheader"))
    scene.disturbed()
    assert run.wait(PATIENCE) == 1
    assert scene.said(f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'")
    assert scene.start(*EXECUTOR, **JOB).wait(PATIENCE) == 0, scene.log.read_text()
    scene.compare("executor: cancelled, then run again")


def test_a_job_out_of_time_is_resumed(scene):
    run = scene.start(*EXECUTOR, **JOB)
    scene.until_blocks(run, SOME)
    job = scene.said(SUBMITTED)[1]
    scene.ask("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    assert len(freeze(scene.folder)) == 2
    scene.disturbed()
    assert run.wait(PATIENCE) == 1
    assert scene.said(f"SLURM-job '{job}' failed, SLURM status is: 'TIMEOUT'")
    assert scene.said("DUE TO TIME LIMIT")
    assert scene.start(NNQFT_CLUSTER="inline").wait(PATIENCE) == 0, scene.log.read_text()
    scene.compare("executor: out of time, then run again without SLURM")


def test_what_sbatch_refuses_is_said(scene):
    run = scene.start(*EXECUTOR, **JOB | {"NNQFT_SLURM_TIME": "10-00:00:00"})
    assert run.wait(PATIENCE) == 1
    assert scene.said("SLURM sbatch failed.*Requested time limit is invalid")
    assert not scene.ask("squeue", "--noheader")
