"""nnqft submits its workers to a real SLURM: they are cancelled, run out of time, wait, are refused."""

import sys

import psutil
import pytest
from onenode import ask, slurm
from scene import PATIENCE, ROOT, SOME, freeze

from nnqft.cluster.contexts import cluster as opened
from nnqft.core.errors import InputError

pytestmark = pytest.mark.slurm
WORKERS = {"NNQFT_CLUSTER": "slurm", "NNQFT_SLURM_HOST": "127.0.0.1", "NNQFT_SLURM_MEM": "1G", "NNQFT_SLURM_TIME": "10"}


def test_one_worker_cancelled_then_all(scene):
    run = scene.start(**WORKERS, NNQFT_SLURM_WORKERS="2")
    scene.until_blocks(run, SOME)
    job = scene.said(r"SLURM job (\d+): 2 jobs asked for")[1]
    scene.ask("scancel", f"{job}_1")
    scene.until_blocks(run, 3 * SOME)
    scene.ask("scancel", job)
    scene.until(lambda: not scene.ask("squeue", "--noheader"))
    scene.disturbed()
    assert run.wait(PATIENCE) == 1
    assert scene.said(rf"SLURM job {job} has no worker left")
    assert scene.said("what was committed is safe: run again to go on")
    assert scene.start(**WORKERS, NNQFT_SLURM_WORKERS="2").wait(PATIENCE) == 0, scene.log.read_text()
    scene.until(lambda: not scene.ask("squeue", "--noheader"))
    scene.compare("workers: one cancelled, then all; run again")


def test_a_worker_runs_out_of_time_and_one_that_waited_goes_on(scene):
    """The limit is shortened when the worker computes (SLURM's least is a minute) and hangs, so that it surely ends."""
    run = scene.start(**WORKERS, NNQFT_SLURM_WORKERS="2", NNQFT_SLURM_EXTRA="--exclusive")
    scene.until_blocks(run, SOME)
    first = freeze(scene.folder)
    assert len(first) == 1
    scene.disturbed()
    job = scene.said(r"SLURM job (\d+): 2 jobs asked for")[1]
    scene.ask("scontrol", "update", f"JobId={job}_1", "TimeLimit=1")
    scene.until(lambda: scene.said(r"1 running, 1 pending \(Resources\)"))
    scene.until(lambda: not first[0].is_running())
    assert "DUE TO TIME LIMIT" in (scene.folder / f".snakemake/slurm/{job}_1.log").read_text()
    assert run.wait(PATIENCE) == 0, scene.log.read_text()
    scene.compare("workers: one ran out of time, another went on")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("PARTITION", "nowhere", "invalid partition specified: nowhere"),
        ("TIME", "10-00:00:00", "Requested time limit is invalid"),
        ("MEM", "900G", "Memory specification can not be satisfied"),
        ("EXTRA", "--qos=none --nonsense", "unrecognized option '--nonsense'"),
    ],
)
def test_what_sbatch_refuses_is_said(cluster, tmp_path, monkeypatch, option, value, message):
    for name, text in (cluster | WORKERS | {f"NNQFT_SLURM_{option}": value}).items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="SLURM refused the workers") as error, opened("slurm"):
        pass
    print(f"\n{error.value}")
    assert message in str(error.value)


def test_nnqft_in_a_job_of_its_own(scene):
    scene.environment.pop("NNQFT_CLUSTER", None)
    command = f"{sys.executable} -m nnqft run scan.yaml -- results/slurm/receipts/ensemble.json"
    options = ["--wait", "--cpus-per-task=2", f"--output={scene.log}", f"--chdir={scene.folder}"]
    scene.before = {}
    assert scene.ask("sbatch", "--parsable", *options, "--wrap", command), scene.log.read_text()
    scene.compare("nnqft run in a job of its own")


@pytest.mark.parametrize("cpus", [1, 2])
def test_local_takes_the_cores_of_the_task(cluster, cpus):
    code = "from nnqft.cluster.settings import local_workers; print(local_workers('local'))"
    counted = ask(cluster | {"PYTHONPATH": str(ROOT)}, "srun", f"--cpus-per-task={cpus}", sys.executable, "-c", code)
    assert counted == str(min(cpus, len(psutil.Process().cpu_affinity())))


def test_it_comes_up_again_beside_another_and_leaves_nothing(cluster, tmp_path):
    for name in ("first", "second"):
        with slurm(tmp_path / name) as environment:
            assert environment["SLURM_CONF"] != cluster["SLURM_CONF"]
        there = [p.info for p in psutil.process_iter(["name", "cmdline", "cwd"])]
        assert [p["name"] for p in there if str(tmp_path) in " ".join([*(p["cmdline"] or []), p["cwd"] or ""])] == []
