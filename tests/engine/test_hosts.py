"""Several hosts, as network namespaces with addresses of their own: one is cut off in the middle, the bits stay.

The scheduler and `nnqft run` are on the first, with a bridge to which the others, a worker each, are wired.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

ADDRESSES = ("10.77.0.1", "10.77.0.2", "10.77.0.3")
SCAN = {
    "name": "hosts",
    "seed": 3,
    "points": {"line": [[-1.0], [-0.6], [-0.2], [0.2], [0.6], [1.0]]},
    "architectures": {"erf": {"activation": "erf", "depth": 2, "sigma_b": 1.0, "points": "line"}},
    "widths": [50, 400],
    "ensemble": {"networks": 120_000, "block": 2048},
}
ENVIRONMENT = {
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "20",
    "OMP_NUM_THREADS": "1",
    "JAX_PLATFORMS": "cpu",
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]),
}
RUN = [sys.executable, "-m", "nnqft", "run", "scan.yaml", "--", "results/hosts/receipts/ensemble.json"]


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def left_behind():
    """Namespaces of a run of this test that was killed."""
    listed = subprocess.run(["ip", "netns", "list"], check=False, capture_output=True, text=True).stdout.split()
    named = [(name, re.fullmatch(r"nnqft(\d+)-\d", name)) for name in listed]
    return [name for name, match in named if match and not psutil.pid_exists(int(match[1]))]


@pytest.fixture
def hosts():
    """Names of three namespaces: the first has the bridge, the others an interface eth0 on it."""
    names = [f"nnqft{os.getpid()}-{i}" for i in range(3)]
    if shutil.which("ip") is None:
        pytest.skip("there is no ip command")
    for name in left_behind():
        ip("netns", "delete", name)
    try:
        try:
            for name in names:
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
            ip("-n", names[0], "link", "add", "br0", "type", "bridge")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
        ip("-n", names[0], "address", "add", f"{ADDRESSES[0]}/24", "dev", "br0")
        ip("-n", names[0], "link", "set", "br0", "up")
        for i in (1, 2):
            ip("-n", names[0], "link", "add", f"v{i}", "type", "veth", "peer", "name", "eth0", "netns", names[i])
            ip("-n", names[0], "link", "set", f"v{i}", "master", "br0", "up")
            ip("-n", names[i], "address", "add", f"{ADDRESSES[i]}/24", "dev", "eth0")
            ip("-n", names[i], "link", "set", "eth0", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


def start(host, folder, log, *command, **environment):
    with (folder / log).open("w") as stream:
        return subprocess.Popen(
            ["ip", "netns", "exec", host, *command], cwd=folder, stdout=stream, stderr=subprocess.STDOUT,
            env=os.environ | ENVIRONMENT | environment,
        )  # fmt: skip


def digests(folder):
    """SHA-256 of each file of the leaves: blocks, indices, receipts."""
    files = (p for p in folder.glob("results/hosts/leaves/**/*") if p.is_file() and p.name != "lock")
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)}


def commits(folder):
    return len(list(folder.glob("results/hosts/leaves/*/blocks.zarr/count/c/*/*/0")))


@pytest.mark.slow
def test_a_host_cut_off_in_the_middle_changes_no_bit(hosts, tmp_path):
    folders = [tmp_path / name for name in ("alone", "hosts", "elsewhere")]
    for folder in folders:
        folder.mkdir()
        (folder / "scan.yaml").write_text(yaml.safe_dump(SCAN))
    alone, shared, elsewhere = folders
    done = subprocess.run(RUN, cwd=alone, env=os.environ | ENVIRONMENT | {"NNQFT_CLUSTER": "inline"}, check=False)
    assert done.returncode == 0
    address = f"tcp://{ADDRESSES[0]}:8786"
    dask = [sys.executable, "-m", "dask"]
    options = ["--nthreads", "1", "--nworkers", "1", "--memory-limit", "0", "--no-dashboard", "--death-timeout", "60"]
    processes = []
    try:
        processes.append(
            start(hosts[0], elsewhere, "scheduler.log", *dask, "scheduler", "--host", ADDRESSES[0], "--no-dashboard")
        )
        for i in (1, 2):
            command = [*dask, "worker", address, "--host", ADDRESSES[i], *options]
            processes.append(start(hosts[i], elsewhere, f"worker-{i}.log", *command))
        run = start(hosts[0], shared, "run.log", *RUN, NNQFT_CLUSTER=address)
        processes.append(run)
        deadline = time.monotonic() + 120
        while commits(shared) < 12:
            assert run.poll() is None, (shared / "run.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        ip("-n", hosts[2], "link", "set", "eth0", "down")
        before = commits(shared)
        assert run.wait(300) == 0, (shared / "run.log").read_text()
        assert before < commits(shared)
        assert digests(shared) == digests(alone)
        said = (elsewhere / "scheduler.log").read_text()
        assert f"Remove worker addr: tcp://{ADDRESSES[2]}" in said
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
