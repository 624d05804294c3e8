"""A SLURM for the tests of this folder, and what the scan gives without it."""

import contextlib
import os
import signal
import subprocess

import pytest
import yaml
from onenode import ask, missing, slurm
from scene import PATIENCE, ROOT, RUN, SCAN, Scene

from chaos.small import contents
from nnqft.storage.files import locked


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """The environment of a SLURM of our own."""
    if reason := missing():
        if os.environ.get("NNQFT_TEST_SLURM"):  # `make test-slurm`
            pytest.fail(reason)
        pytest.skip(reason)
    with slurm(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """Files of the undisturbed inline run, made once for all processes that test."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "alone"
    with locked(folder / "lock", PATIENCE):
        if not (folder / "results/slurm/receipts/ensemble.json").exists():
            (folder / "scan.yaml").write_text(yaml.safe_dump(SCAN))
            environment = os.environ | {"NNQFT_CLUSTER": "inline", "PYTHONPATH": str(ROOT)}
            subprocess.run(RUN, cwd=folder, env=environment, check=True, capture_output=True)
    return contents(folder / "results/slurm")


@pytest.fixture
def scene(tmp_path, cluster, alone):
    made = Scene(tmp_path, cluster, alone)
    yield made
    for run in made.runs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    ask(cluster, "scancel", "--user=root")
