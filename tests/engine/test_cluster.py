"""Where tasks run: every kind of cluster runs them all, tells errors, and listens to nobody else."""

import os
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from chaos.clusters import cluster as started
from nnqft.cluster.contexts import runner
from nnqft.cluster.scheduler import scheduler, worker_command
from nnqft.cluster.settings import cluster_name, local_workers, profile_settings, scheduler_address
from nnqft.cluster.submission import ClusterLostError, Workers, connected
from nnqft.core.errors import InputError


def square(number):
    if number == 13:
        raise ValueError("thirteen")
    return number**2


@pytest.fixture(scope="module")
def address():
    with scheduler(1) as found:
        yield found


def test_inline_and_distributed_give_every_result(address):
    numbers = [(n,) for n in range(100) if n != 13]
    for name in ("inline", address):
        with runner(name) as run:
            found = dict(run(square, numbers))
        assert [found[i] for i in range(99)] == [n**2 for (n,) in numbers]


@pytest.mark.parametrize("where", ["inline", "address"])
def test_an_error_of_a_task_reaches_the_caller(address, where):
    with runner(address if where == "address" else where) as run, pytest.raises(ValueError, match="thirteen"):
        dict(run(square, [(12,), (13,)]))


def test_the_cluster_listens_on_loopback_only(address):
    mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
    listening = [c.laddr.ip for p in mine for c in p.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert listening
    assert set(listening) == {"127.0.0.1"}


@pytest.mark.parametrize("name", ["lokal", "local:0", "local:x", "udp://a:1", "file:nowhere.json"])
def test_names_that_are_no_cluster_are_refused(name):
    with pytest.raises(InputError, match="NNQFT_CLUSTER"), runner(name):
        pass


def test_an_address_where_nobody_answers_is_refused(monkeypatch):
    monkeypatch.setattr("nnqft.cluster.submission.PATIENCE", "1s")
    with runner("tcp://127.0.0.1:9") as run, pytest.raises(InputError, match="no scheduler answers"):
        run(square, [(2,)])


def test_the_name_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("NNQFT_CLUSTER", "local:3")
    assert local_workers(cluster_name()) == 3
    monkeypatch.delenv("NNQFT_CLUSTER")
    assert local_workers(cluster_name()) == len(os.sched_getaffinity(0))


def test_a_scheduler_file_names_the_address(tmp_path, address):
    path = tmp_path / "scheduler.json"
    path.write_text(f'{{"address": "{address}"}}')
    assert scheduler_address(f"file:{path}") == scheduler_address(str(path)) == address
    with runner(f"file:{path}") as run:
        assert dict(run(square, [(3,)])) == {0: 9}


def test_the_window_grows_with_the_workers():
    class Client:
        dashboard_link = None

        def nthreads(self):
            return {f"w{i}": 2 for i in range(self.workers)}

    client = Client()
    for client.workers, window in ((1, 64), (32, 128), (200, 800)):
        assert Workers(client).window == window


def test_when_every_worker_has_gone_the_run_ends(monkeypatch):
    monkeypatch.setattr("nnqft.cluster.submission.REFRESH", 0.2)
    monkeypatch.setattr("nnqft.cluster.submission.DESERTED", 0.5)
    with scheduler() as here, connected(here) as workers:
        worker = subprocess.Popen(worker_command(here, "--no-nanny"), stderr=subprocess.DEVNULL)
        tasks = workers.run(time.sleep, [(0.1,), (60,)])
        next(tasks)
        worker.kill()
        with pytest.raises(ClusterLostError, match="no worker for"):
            next(tasks)
        worker.wait()


@pytest.mark.slow
def test_a_scheduler_that_was_killed_is_told_as_such(tmp_path, monkeypatch):
    """Also where a task had ended and only its result was to be fetched, and for whoever comes later."""
    monkeypatch.setattr("nnqft.cluster.submission.PATIENCE", "2s")
    with started(tmp_path, 1) as dask, connected(dask.address) as workers:
        tasks = workers.run(time.sleep, [(0.0,), (0.0,), (60,)])
        next(tasks)
        time.sleep(0.2)
        dask.scheduler.kill()
        dask.scheduler.wait()
        for lost in (tasks, workers.run(time.sleep, [(0.0,)])):
            with pytest.raises(
                ClusterLostError, match=r"^the cluster is gone; what was committed is safe: run again to go on$"
            ):
                next(lost)


def test_a_profile_says_which_cluster_unless_the_environment_does(tmp_path, monkeypatch):
    for name in ("NNQFT_CLUSTER", "NNQFT_SLURM_CPUS"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "cluster.yaml").write_text("cluster: slurm\nslurm_cpus: 8\n")
    assert profile_settings(tmp_path) == {"NNQFT_CLUSTER": "slurm", "NNQFT_SLURM_CPUS": "8"}
    monkeypatch.setenv("NNQFT_CLUSTER", "local:2")
    assert profile_settings(tmp_path) == {"NNQFT_SLURM_CPUS": "8"}
    (tmp_path / "cluster.yaml").write_text("slurm_cpu: 8\n")
    with pytest.raises(InputError, match="slurm_cpu is not a key"):
        profile_settings(tmp_path)


def test_the_profiles_of_the_workflow_are_read():
    found = {path.name: profile_settings(path) for path in (Path(__file__).parents[2] / "workflow/profiles").iterdir()}
    assert {"local", "slurm", "slurm-executor", "gpu"} <= set(found)
