"""One small scan, disturbed: run, watched, compared with the files of the undisturbed inline run."""

import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import yaml
from onenode import ask

from chaos.small import commits, contents, differences, rewritten
from nnqft.core.hashing import digest

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
PATIENCE = 400
SOME = 12
"""Blocks committed when something is done to a run; there are 118."""


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

    def until(self, ready, patience=PATIENCE):
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
            f"\n{what}: {len(found)} files, digest {texts[1]} (alone: {texts[0]}); "
            f"{len(self.before)} of {blocks} blocks were committed before, {again} of them written again"
        )
        assert differences(self.root, self.alone) == []
        assert again == 0


def commits_of(files):
    """Committed blocks among the files of a results folder."""
    return [name for name in files if re.search(r"blocks\.zarr/count/c/\d+/\d+/0$", name)]


def freeze(folder):
    """Stop the worker processes of runs in a folder, as a hung node would; they do not go on."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = " ".join(process.info["cmdline"] or [])
        if "multiprocessing.spawn" in words and process.info["cwd"] == str(folder):
            process.suspend()
            found.append(process)
    return found
