"""What `plan`, `status`, `verify` and `compare` say with --json: the documented keys, the same exit codes."""

import json
import re
import sys
from pathlib import Path

import pytest

from nnqft.cli.main import main
from nnqft.stages.report import configuration

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
BLOCKS = 64


@pytest.fixture(scope="module")
def folder(small_results, tmp_path_factory):
    """A working directory with the scan file and its results."""
    scan, layout = small_results
    root = tmp_path_factory.mktemp("commands")
    (root / "scan.yaml").write_text(configuration(scan))
    (root / "results").symlink_to(layout.root.parent)
    return root


@pytest.fixture
def call(folder, monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["nnqft", *arguments, "--json"])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capsys.readouterr()
        assert err == ""
        assert out.count("\n") == 1
        return json.loads(out, parse_constant=pytest.fail), stopped.value.code

    return run


def documented(command):
    """Keys of the tables of one command, and of those of scan points."""
    section = PAGE.split(f"## `nnqft {command} ")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| (.*) \| (.*) \|$", section, re.MULTILINE)
    keys = {key for row in rows for key in re.findall(r"`(\w+)(?:\[\])?`", row[0])}
    shared = re.findall(r"^\| `(\w+)` \|", PAGE.split("## ")[0], re.MULTILINE)
    own = next((re.findall(r"`(\w+)`", row[2]) for row in rows if row[0].startswith("`cells")), [])
    return keys | {"command"}, set(shared) | set(own)


@pytest.mark.parametrize("command", ["plan", "status", "verify", "compare"])
def test_the_keys_are_those_that_are_documented(call, command):
    found, code = call(command, *(["results/small"] * 2 if command == "compare" else ["scan.yaml"]))
    keys, of_cells = documented(command)
    assert code in (0, 1)
    assert found["command"] == command
    assert set(found) == keys
    for cell in found.get("cells", ()):
        assert set(cell) == of_cells


def test_plan_counts(call):
    found, code = call("plan", "scan.yaml")
    blocks = {"least": BLOCKS, "most": BLOCKS}
    assert (code, found["leaves"], found["scan_points"], found["blocks"]) == (0, 3, 8, blocks)
    assert {c["networks"]["most"] for c in found["cells"]} == {2048}
    assert found["core_seconds"] == pytest.approx(sum(c["core_seconds"] for c in found["cells"]))


def test_verify_and_compare_tell_their_verdict(call):
    found, code = call("verify", "scan.yaml")
    assert (found["verified"], found["failures"], code) == (True, [], 0)
    found, code = call("compare", "results/small", "results/small")
    assert (found["verdict"], found["different"], found["notes"], code) == ("bit-identical", False, [], 0)


@pytest.mark.parametrize(
    ("damage", "quick", "thorough"),
    [(None, (0, 0), (0, 0)), ("moments", (0, 0), (0, 1)), ("tail empty", (0, 1), (0, 1)),
     ("count", (0, 1), (0, 1)), ("count gone", (1, 0), (1, 0))],
)  # fmt: skip
def test_status_sees_damage(call, folder, damage, quick, thorough):
    array, _, how = (damage or "moments").partition(" ")
    base = next((folder / "results" / "small" / "leaves").glob("mlp-relu-*")) / "blocks.zarr" / array / "c" / "1" / "0"
    path = next(p for p in base.rglob("0") if p.is_file())
    before = path.read_bytes()
    try:
        if damage:
            path.write_bytes(b"" if how == "empty" else before[:-1] + bytes([before[-1] ^ 1]))
        if how == "gone":
            path.unlink()
        for options, wanted in ((["--quick"], quick), ([], thorough)):
            found, code = call("status", "scan.yaml", *options)
            totals = found["totals"]
            assert (totals["missing"], totals["corrupt"]) == wanted
            assert totals["done"] == BLOCKS - sum(wanted) == totals["networks"] / 256
            assert (found["read_all"], code) == (not options, 0)
    finally:
        path.write_bytes(before)
    assert found["stages"]["cumulants"] == "up to date"
