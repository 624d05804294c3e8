"""Where tasks run: every kind of cluster runs them all, tells errors, and listens to nobody else."""

import os

import psutil
import pytest

from nnqft.cluster.contexts import runner
from nnqft.cluster.scheduler import scheduler
from nnqft.cluster.settings import cluster_name, local_workers
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


@pytest.mark.parametrize("name", ["lokal", "local:0", "local:x", "udp://a:1"])
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
