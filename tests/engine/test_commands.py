"""What `plan`, `status`, `verify` and `compare` say with --json: the documented keys, the same exit codes."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from nnqft.cli.main import main
from nnqft.sampling.budget import budget
from nnqft.sampling.cells import leaves
from nnqft.spec.load import parse_scan
from nnqft.stages.ensemble import generate
from nnqft.stages.layout import Layout
from nnqft.stages.pipeline import make_products
from nnqft.storage.leafstore import LeafStore

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
SCAN = {
    "name": "t", "seed": 5, "points": {"line": [[-1.0], [0.2]]}, "widths": [2, 4],
    "architectures": {"relu": {"activation": "relu", "points": "line"}},
    "ensemble": {"networks": 512, "block": 256, "replicates": 16}, "cumulants": {"orders": [2, 4]},
    "couplings": {"cutoffs": [10.0], "models": [["lambda_0"]]},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("commands")
    (root / "scan.yaml").write_text(yaml.safe_dump(SCAN))
    scan, layout = parse_scan(SCAN), Layout(root / "results" / "t")
    for leaf in leaves(scan):
        generate(leaf, budget(scan), layout.leaf(leaf.name), "inline")
    make_products(scan, layout)
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
    found, code = call(command, *(["results/t"] * 2 if command == "compare" else ["scan.yaml"]))
    keys, of_cells = documented(command)
    assert code in (0, 1)
    assert found["command"] == command
    assert set(found) == keys
    for cell in found.get("cells", ()):
        assert set(cell) == of_cells


def test_plan_counts(call):
    found, code = call("plan", "scan.yaml")
    assert (code, found["leaves"], found["scan_points"], found["blocks"]) == (0, 1, 2, {"least": 4, "most": 4})
    assert [c["networks"]["most"] for c in found["cells"]] == [512, 512]
    assert found["core_seconds"] == pytest.approx(sum(c["core_seconds"] for c in found["cells"]))


def test_verify_and_compare_tell_their_verdict(call):
    found, code = call("verify", "scan.yaml")
    assert (found["verified"], found["failures"], code) == (True, [], 0)
    found, code = call("compare", "results/t", "results/t")
    assert (found["verdict"], found["different"], found["notes"], code) == ("bit-identical", False, [], 0)


@pytest.mark.parametrize(
    ("damage", "quick", "thorough"),
    [(None, (4, 0, 0), (4, 0, 0)), ("moments", (4, 0, 0), (3, 0, 1)), ("tail empty", (3, 0, 1), (3, 0, 1)),
     ("count", (3, 0, 1), (3, 0, 1)), ("count gone", (3, 1, 0), (3, 1, 0))],
)  # fmt: skip
def test_status_sees_damage(call, folder, damage, quick, thorough):
    (leaf,) = leaves(parse_scan(SCAN))
    array, _, how = (damage or "moments").partition(" ")
    base = LeafStore(folder / "results" / "t" / "leaves" / leaf.name).folder / "blocks.zarr" / array / "c" / "1" / "0"
    path = next(p for p in base.rglob("0*") if p.is_file())
    before = path.read_bytes()
    try:
        if damage:
            path.write_bytes(b"" if how == "empty" else before[:-1] + bytes([before[-1] ^ 1]))
        if how == "gone":
            path.unlink()
        for options, wanted in ((["--quick"], quick), ([], thorough)):
            found, code = call("status", "scan.yaml", *options)
            assert tuple(found["totals"][key] for key in ("done", "missing", "corrupt")) == wanted
            assert (found["read_all"], code) == (not options, 0)
    finally:
        path.write_bytes(before)
    assert found["totals"]["networks"] == 256 * thorough[0]
    assert found["stages"]["cumulants"] == "up to date"
