"""kill -9 of a whole `nnqft run` that writes to an S3-compatible server, again and again: the same bits in the end."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from buckets import PYTHON, s3_server

from nnqft.storage import objects as module
from nnqft.storage.objects import objects

SCAN = {
    "name": "crash",
    "seed": 9,
    "points": {"line": [[-1.0], [-0.2], [1.0]]},
    "architectures": {"erf": {"activation": "erf", "sigma_b": 1.0, "points": "line"}},
    "widths": [10, 400],
    "ensemble": {"networks": 80_000, "block": 4096},
}
KILLS = 5
LOCKS = {"lock", ".lock"}


def start(folder, log, environment):
    command = [sys.executable, "-m", "nnqft", "run", "scan.yaml", "--", "results/crash/receipts/ensemble.json"]
    with (folder / log).open("w") as stream:
        return subprocess.Popen(
            command, cwd=folder, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True,
            env=os.environ | {"NNQFT_CLUSTER": "local:2"} | environment,
        )  # fmt: skip


def local(folder: Path, below: str) -> dict[str, bytes]:
    root = folder / "results/crash" / below
    return {
        p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name not in LOCKS
    }


def marks(place):
    """Commit marks: what was written, and when."""
    return {name: place.state(name) for name in place.names("leaves") if "/count/c/" in name}


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON.exists(), reason="there is no S3 server; make .venv/.s3 installs one")
def test_killed_again_and_again_on_an_object_store(tmp_path, monkeypatch):
    plain, killed = tmp_path / "plain", tmp_path / "killed"
    for folder in (plain, killed):
        folder.mkdir()
        (folder / "scan.yaml").write_text(yaml.safe_dump(SCAN))
    assert start(plain, "log", {}).wait(300) == 0, (plain / "log").read_text()
    rng = random.Random(1)
    module._bucket.cache_clear()
    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        place = objects("s3://bucket/lab") / "crash"
        store, redone = {"NNQFT_STORE": "s3://bucket/lab"}, 0
        before: dict = {}
        for number in range(KILLS):
            run = start(killed, f"{number}.log", store)
            wanted = len(before) + rng.randint(1, 6)
            while run.poll() is None and len(now := marks(place)) < wanted:
                time.sleep(0.05)
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            now = marks(place)
            redone += sum(now.get(name) != state for name, state in before.items())
            before = now
        assert 5 <= len(before) < 40
        assert start(killed, "last.log", {}).wait(300) == 0, (killed / "last.log").read_text()  # it knows its store
        after = marks(place)
        redone += sum(after.get(name) != state for name, state in before.items())
        assert redone == 0
        data = {name: place.get(name) for name in place.names() if name != "owner.json"}
    receipts = {f"receipts/{name}": text for name, text in local(plain, "receipts").items()}
    wanted = {n: text for n, text in local(plain, "").items() if n.endswith("manifest.json")} | receipts
    found = local(killed, "")
    assert {name: found[name] for name in wanted} == wanted
    parts = local(plain, "")
    for name, content in data.items():
        assert content == parts[name], name
    assert {n for n in parts if n.startswith("ensemble.zarr/") or "/c/" in n} <= set(data)
    print(f"{KILLS} kills, {len(after)} blocks, {len(data)} objects identical, {redone} recomputed")
