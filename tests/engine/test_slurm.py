"""SLURM, acted by an sbatch and an scancel that run the script here."""

import os
from pathlib import Path

import psutil
import pytest

from nnqft.cluster.contexts import cluster, runner
from nnqft.cluster.slurm import job_script, queued
from nnqft.cluster.submission import ClusterLostError
from nnqft.core.errors import InputError

SBATCH = """#!/bin/sh
# as `sbatch --parsable`: the script on standard input, one process for each element of the array
cat > "$STATE/script"
last=$(sed -n 's/^#SBATCH --array=1-//p' "$STATE/script")
for i in $(seq "$last"); do
  setsid sh "$STATE/script" > "$STATE/worker-$i.log" 2>&1 < /dev/null &
  echo $! >> "$STATE/pids"
done
echo "RUNNING None" > "$STATE/queue"
echo "4711;here"
"""
SQUEUE = """#!/bin/sh
# what the file says; status 1 and squeue's complaint when the job is forgotten
[ -e "$STATE/queue" ] && cat "$STATE/queue" && exit 0
echo "slurm_load_jobs error: ${COMPLAINT:-Invalid job id specified}" >&2
exit 1
"""
SCANCEL = """#!/bin/sh
echo "$1" > "$STATE/cancelled"
for pid in $(cat "$STATE/pids"); do kill -TERM "-$pid"; done
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Workers are processes of their own: they import the tasks from this file."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


def square(number):
    return number**2, os.environ["JAX_PLATFORMS"], os.environ["OMP_NUM_THREADS"], os.getpid()


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL), ("squeue", SQUEUE)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.setenv("STATE", str(tmp_path))
    monkeypatch.setenv("NNQFT_SLURM_HOST", "127.0.0.1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("workers", ["1", pytest.param("3", marks=pytest.mark.slow)])
def test_workers_are_submitted_compute_and_are_cancelled(slurm, monkeypatch, workers):
    monkeypatch.setenv("NNQFT_SLURM_WORKERS", workers)
    with runner("slurm") as run:
        found = dict(run(square, [(n,) for n in range(20)]))
    assert [found[n][0] for n in range(20)] == [n**2 for n in range(20)]
    assert {(platform, threads) for _, platform, threads, _ in found.values()} == {("cpu", "1")}
    assert (slurm / "cancelled").read_text() == "4711\n"
    left = [psutil.Process(int(p)) for p in (slurm / "pids").read_text().split() if psutil.pid_exists(int(p))]
    assert not psutil.wait_procs(left, timeout=20)[1]


def test_the_queue_is_put_in_words(slurm, monkeypatch):
    (slurm / "queue").write_text("RUNNING None\nPENDING Resources\nPENDING Resources\nPENDING Priority\n")
    assert queued("4711") == "1 running, 2 pending (Resources), 1 pending (Priority)"
    (slurm / "queue").write_text("")
    assert queued("4711") == ""
    (slurm / "queue").unlink()
    assert queued("4711") == ""
    monkeypatch.setenv("COMPLAINT", "Unable to contact slurm controller")
    assert queued("4711") is None
    (slurm / "bin" / "squeue").unlink()
    monkeypatch.setenv("PATH", str(slurm / "bin"))
    assert queued("4711") is None


def test_when_no_worker_is_left_the_run_ends(slurm, monkeypatch, caplog):
    """As when none could start: the environment is not on the nodes, say."""
    (slurm / "bin" / "sbatch").write_text("#!/bin/sh\ntouch $STATE/pids\necho 4711\n")
    monkeypatch.setattr("nnqft.cluster.slurm.SOON", 0.2)
    with runner("slurm") as run, pytest.raises(ClusterLostError, match=r"SLURM job 4711 has no worker left.*run again"):
        list(run(square, [(1,)]))
    assert "no worker left" in caplog.text


def test_workers_are_cancelled_when_the_run_fails(slurm, monkeypatch):
    monkeypatch.setenv("NNQFT_SLURM_WORKERS", "1")
    with pytest.raises(ZeroDivisionError), cluster("slurm"):
        raise ZeroDivisionError
    assert (slurm / "cancelled").exists()


def test_the_script_asks_for_what_the_environment_says(monkeypatch):
    asked = {"PARTITION": "long", "TIME": "00:10:00", "WORKERS": "9", "CPUS": "3", "MEM": "7G", "EXTRA": "-C avx --x=1"}
    for name, value in asked.items():
        monkeypatch.setenv(f"NNQFT_SLURM_{name}", value)
    script = job_script("tcp://10.0.0.1:8786").splitlines()
    for line in ("partition=long", "time=00:10:00", "array=1-9", "cpus-per-task=3", "mem=7G"):
        assert f"#SBATCH --{line}" in script
    assert not [line for line in script if "account" in line or "gres" in line]
    assert "tcp://10.0.0.1:8786" in script[-1]
    assert "--nworkers 3" in script[-1]
    monkeypatch.setenv("NNQFT_SLURM_GPUS", "2")
    script = job_script("tcp://10.0.0.1:8786").splitlines()
    assert "#SBATCH --gres=gpu:2" in script
    assert script[-1].endswith("-m nnqft.cluster.gpu tcp://10.0.0.1:8786")
    monkeypatch.setenv("NNQFT_SLURM_CPUS", "many")
    with pytest.raises(InputError, match="NNQFT_SLURM_CPUS=many"):
        job_script("tcp://10.0.0.1:8786")


def test_without_sbatch_one_message(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="there is no sbatch on this machine"), cluster("slurm"):
        pass


def test_a_refused_job_is_reported(slurm):
    (slurm / "bin" / "sbatch").write_text("#!/bin/sh\necho 'invalid partition specified: x' >&2\nexit 1\n")
    with pytest.raises(InputError, match="invalid partition"), cluster("slurm"):
        pass
