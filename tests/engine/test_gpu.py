"""GPU workers, on CPUs that pose as devices: which are found, what their processes see, where tasks go."""

import logging
import os
from pathlib import Path

import pytest

from nnqft.cluster import gpu
from nnqft.cluster.contexts import cluster, runner
from nnqft.cluster.scheduler import scheduler
from nnqft.cluster.submission import connected


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Workers are processes of their own: they import the tasks from this file."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)


def variables(number):
    names = ("CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_PYTHON_CLIENT_MEM_FRACTION", "NPROC")
    return os.getpid(), tuple(os.environ.get(n) for n in names)


def listing(tmp_path, monkeypatch, lines):
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\nprintf '{lines}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


@pytest.mark.parametrize(
    ("visible", "found"),
    [(None, ["0", "1"]), ("1", ["1"]), ("1,0", ["1", "0"]), ("", []), ("-1", []), ("0,-1,1", ["0"])],
)
def test_devices_are_what_the_driver_lists_and_the_environment_allows(tmp_path, monkeypatch, visible, found):
    listing(tmp_path, monkeypatch, "GPU 0: NVIDIA H100 (UUID: GPU-a)\\nGPU 1: NVIDIA H100 (UUID: GPU-b)\\n")
    monkeypatch.delenv("NNQFT_GPU_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu.devices() == found


def test_without_nvidia_smi_the_driver_in_proc_is_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpu, "PROC", tmp_path / "gpus")
    assert gpu.devices() == []
    for bus in ("0000:01:00.0", "0000:02:00.0", "0000:03:00.0"):
        (tmp_path / "gpus" / bus).mkdir(parents=True)
    assert gpu.devices() == ["0", "1", "2"]


def test_each_device_has_a_process_with_its_own_environment_and_gets_tasks(monkeypatch):
    monkeypatch.setenv("NNQFT_GPU_DEVICES", "3,GPU-b")
    monkeypatch.setenv("NNQFT_GPU_PLATFORM", "cpu")
    monkeypatch.setenv("NNQFT_GPU_MEMORY", "0.4")
    with cluster("cuda") as address, connected(address) as workers:
        workers._client.wait_for_workers(2, timeout=60)
        assert workers.resources() == {"GPU": 1}
        seen = [found for _, found in workers.run(variables, [(n,) for n in range(16)])]
    assert {environment[0] for _, environment in seen} == {"3", "GPU-b"}
    assert {environment[1:] for _, environment in seen} == {("true", "0.4", "1")}
    assert len({process for process, _ in seen}) == 2
    assert gpu.device_kind() == "cpu"


@pytest.mark.slow
def test_beside_cpu_workers_only_those_with_a_gpu_get_tasks(monkeypatch):
    monkeypatch.setenv("NNQFT_GPU_PLATFORM", "cpu")
    with scheduler(1) as address, gpu.device_workers(address, ["7"]):
        with connected(address) as workers:
            workers._client.wait_for_workers(2, timeout=60)
        with runner(address) as run:
            seen = [found for _, found in run(variables, [(n,) for n in range(12)])]
    assert {environment[0] for _, environment in seen} == {"7"}


def test_without_a_device_the_cpu_computes_and_the_log_says_so(monkeypatch, caplog):
    monkeypatch.setattr(gpu, "devices", list)
    monkeypatch.setattr(gpu, "local_workers", lambda name: 1)
    with caplog.at_level(logging.WARNING, "nnqft"), cluster("cuda") as address, connected(address) as workers:
        assert workers.resources() == {}
    assert [r.message for r in caplog.records] == ["no GPU was found: the CPU computes, one worker a core"]
    assert gpu.main("tcp://127.0.0.1:9") == 2


def test_memory_is_taken_as_needed_unless_a_fraction_is_named(monkeypatch):
    monkeypatch.delenv("NNQFT_GPU_MEMORY", raising=False)
    monkeypatch.delenv("NNQFT_GPU_PLATFORM", raising=False)
    environment = gpu.device_environment("1")
    assert environment["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert environment["JAX_PLATFORMS"] == "cuda"
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in environment
