"""A SLURM for the tests of this folder, and one scan: alone, without it, to which the disturbed runs are compared."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from onenode import ask, missing, slurm

from chaos.small import commits, contents, differences, rewritten
from nnqft.core.hashing import digest
from nnqft.storage.files import locked

ROOT = Path(__file__).parents[2]
SCAN = {
    "name": "slurm",
    "seed": 3,
    "points": {"line": [[-1.0], [-0.6], [-0.2], [0.2], [0.6], [1.0]]},
    "architectures": {"erf": {"activation": "erf", "depth": 2, "sigma_b": 1.0, "points": "line"}},
    "widths": [50, 400],
    "ensemble": {"networks": 120_000, "block": 2048},
}
RUN = [sys.executable, "-m", "nnqft", "run", "scan.yaml", "--", "results/slurm/receipts/ensemble.json"]
SOME = 12
"""Blocks committed when something is done to a run; there are 118."""


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slurm)


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
    folder = tmp_path_factory.getbasetemp().parent / "alone"
    with locked(folder / "lock", 300):
        if not (folder / "results/slurm/receipts/ensemble.json").exists():
            (folder / "scan.yaml").write_text(yaml.safe_dump(SCAN))
            environment = os.environ | {"NNQFT_CLUSTER": "inline", "PYTHONPATH": str(ROOT)}
            subprocess.run(RUN, cwd=folder, env=environment, check=True, capture_output=True)
    return contents(folder / "results/slurm")


class Scene:
    """A folder with the scan, and runs in it."""

    def __init__(self, folder, environment, alone):
        self.folder, self.root, self.alone = folder, folder / "results/slurm", alone
        self.environment = environment | {"PYTHONPATH": str(ROOT)}
        self.before, self.log, self.runs = {}, folder / "run.log", []
        (folder / "scan.yaml").write_text(yaml.safe_dump(SCAN))

    def start(self, *arguments, **environment):
        with self.log.open("w") as stream:
            run = subprocess.Popen(
                [*RUN, *arguments], cwd=self.folder, stdout=stream, stderr=stream, start_new_session=True,
                env=self.environment | environment,
            )  # fmt: skip
        self.runs.append(run)
        return run

    def ask(self, *command):
        return ask(self.environment, *command)

    def until(self, ready, patience=180):
        deadline = time.monotonic() + patience
        while not (found := ready()):
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)
        return found

    def until_blocks(self, run, count):
        """Wait for so many committed blocks."""
        self.until(lambda: run.poll() is not None or len(commits(self.root)) >= count)
        assert run.poll() is None, self.log.read_text()

    def said(self, pattern):
        return re.search(pattern, self.log.read_text())

    def disturbed(self):
        """Remember what is committed when the run has been disturbed."""
        self.before = commits(self.root)
        assert SOME <= len(self.before) < len(commits_of(self.alone))

    def compare(self, what):
        """Same bytes in every file, and nothing that was committed written again."""
        found = contents(self.root)
        texts = [digest({name: content.hex() for name, content in files.items()})[:16] for files in (self.alone, found)]
        blocks, again = len(commits(self.root)), rewritten(self.root, self.before)
        print(
            f"\n{what}: {len(found)} files, digest {texts[1]} (alone {texts[0]}); {len(self.before)} of {blocks} blocks "
            f"were committed before, {again} of them written again"
        )
        assert differences(self.root, self.alone) == []
        assert again == 0


def commits_of(files):
    """Committed blocks among the files of a results folder."""
    return [name for name in files if re.search(r"blocks\.zarr/count/c/\d+/\d+/0$", name)]


@pytest.fixture
def scene(tmp_path, cluster, alone):
    made = Scene(tmp_path, cluster, alone)
    yield made
    for run in made.runs:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    ask(cluster, "scancel", "--user=root")


def freeze(folder):
    """Stop the worker processes of runs in a folder, as a hung node would; they do not go on."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = " ".join(process.info["cmdline"] or [])
        if "multiprocessing.spawn" in words and process.info["cwd"] == str(folder):
            process.suspend()
            found.append(process)
    return found
