"""The workflow as a user runs it: lint, dry run, the whole small scan, every command on its results."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
import yaml

from nnqft.sampling.budget import budget
from nnqft.sampling.cells import leaves
from nnqft.sampling.check import check
from nnqft.spec.load import parse_scan
from nnqft.stages.ensemble import generate
from nnqft.stages.layout import Layout
from nnqft.stages.pipeline import make_products

ROOT = Path(__file__).parents[2]
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
NNQFT = [sys.executable, "-m", "nnqft"]
SCAN = {
    "name": "tiny",
    "seed": 4,
    "points": {"ray": [[0.2], [0.7], [1.1]]},
    "architectures": {
        "relu": {"activation": "relu", "points": "ray"},
        "erf": {"activation": "erf", "depth": [1, 2], "sigma_b": 0.4, "points": "ray"},
    },
    "widths": [3, 9],
    "ensemble": {"networks": 8192, "block": 4096, "estimator": "marginal"},
    "couplings": {"cutoffs": [7, 50], "models": [["lambda_0"], ["lambda_0", "lambda_2"]]},
}


def call(command, folder, **environment):
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"NNQFT_CLUSTER": "inline"} | environment,
    )  # fmt: skip


def write(folder, **changes):
    path = folder / "scan.yaml"
    path.write_text(yaml.safe_dump(SCAN | changes, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The whole small scan, by plain Snakemake."""
    folder = tmp_path_factory.mktemp("finished")
    write(folder)
    result = call([*SNAKEMAKE, "--configfile", "scan.yaml", "--cores", "2"], folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_lint_is_clean():
    result = call([*SNAKEMAKE, "--lint"], ROOT)
    assert result.returncode == 0, result.stderr
    assert "good condition" in result.stderr


def test_every_promised_file_is_there(finished):
    results = finished / "results" / "tiny"
    for name in ("ensemble", "cumulants", "theory", "couplings", "flow", "action"):
        tree = xr.open_datatree(results / f"{name}.zarr", engine="zarr")
        assert list(tree.children) == ["ray"]
        assert tree["ray"]["architecture"].values.tolist() == ["relu", "erf[depth=1]", "erf[depth=2]"]
        assert tree["ray"]["depth"].values.tolist() == [1, 1, 2]
    cumulants = xr.open_datatree(results / "cumulants.zarr", engine="zarr")["ray"]
    for name, dim in (("G2", "pair"), ("G4c", "quad"), ("G6c", "sext"), ("G4", "quad"), ("G6", "sext")):
        assert cumulants[name].dims == ("architecture", "width", dim)
        assert cumulants[f"{name}_stderr"].dims == ("architecture", "width", dim)
        assert cumulants[f"{name}_replicate"].dims == ("architecture", "width", "replicate", dim)
    assert (cumulants["networks"] == 8192).all()
    figures = {p.suffix for p in (results / "figures").iterdir()}
    assert figures == {".pdf", ".png", ".csv"}
    manifest = (results / "manifest.json").read_text()
    assert json.loads(manifest)["configuration"]["name"] == "tiny"
    assert str(finished) not in manifest
    assert str(finished) not in (results / "report.html").read_text()


def test_running_a_finished_scan_does_nothing(finished):
    for command in ([*SNAKEMAKE, "--configfile", "scan.yaml", "--cores", "2"], [*NNQFT, "run", "scan.yaml"]):
        result = call(command, finished)
        assert result.returncode == 0
        assert "Nothing to be done" in result.stderr


def test_snakemake_report_works(finished):
    result = call([*SNAKEMAKE, "--configfile", "scan.yaml", "--report", "workflow-report.html"], finished)
    assert result.returncode == 0, result.stderr
    assert "deviations" in (finished / "workflow-report.html").read_text()


def test_adding_a_width_reruns_no_other_generation(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy", copy_function=shutil.copy2)
    folder = tmp_path / "copy"
    write(folder, widths=[3, 9, 12])
    result = call([*NNQFT, "run", "scan.yaml", "--", "results/tiny/receipts/cumulants.json"], folder)
    assert result.returncode == 0, result.stderr
    assert "6 cells, 12 blocks, 8 committed, 4 to compute" in result.stderr
    assert "3 cells, 6 blocks, 4 committed, 2 to compute" in result.stderr
    widths = xr.open_datatree(folder / "results/tiny/cumulants.zarr", engine="zarr")["ray"]["width"].values
    assert widths.tolist() == [3, 9, 12]


def test_verify_and_status_see_damage(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy", copy_function=shutil.copy2)
    folder = tmp_path / "copy"
    assert "verified" in call([*NNQFT, "verify", "scan.yaml"], folder).stdout
    chunk = next(folder.glob("results/tiny/leaves/mlp-relu-*/blocks.zarr/moments/c/1/0/0/0"))
    chunk.write_bytes(chunk.read_bytes()[:-5])
    verdict = call([*NNQFT, "verify", "scan.yaml"], folder)
    assert verdict.returncode == 1
    assert "FAILED" in verdict.stdout
    assert "blocks [0] missing or damaged" in verdict.stdout
    status = call([*NNQFT, "status", "scan.yaml"], folder).stdout
    row = next(line for line in status.splitlines() if line.startswith("relu") and " 9 " in line)
    assert row.split()[2:] == ["1", "0", "1", "4,096"]
    assert "cumulants: up to date" in status
    again = call([*NNQFT, "run", "scan.yaml", "--", "--until", "ensemble_0"], folder)  # what follows is as it was
    assert again.returncode == 0, again.stderr
    assert "damaged blocks are computed again" in again.stderr
    assert "verified" in call([*NNQFT, "verify", "scan.yaml"], folder).stdout


@pytest.mark.parametrize(
    ("changes", "verdict", "code"),
    [
        ({}, "bit-identical", 0),
        pytest.param({"seed": 5}, "statistically consistent", 0, marks=pytest.mark.slow),
        ({"architectures": SCAN["architectures"] | {"relu": {"activation": "relu", "points": "ray", "sigma_w": 1.3}}},
         "different", 1),
    ],
    ids=["same", "seed", "physics"],
)  # fmt: skip
def test_compare_tells_same_from_consistent_from_different(finished, tmp_path, changes, verdict, code):
    """The other scan runs in this process: the same functions without Snakemake give the same stores."""
    scan = check(parse_scan(SCAN | changes), "test")
    layout = Layout(tmp_path / "other")
    for leaf in leaves(scan):
        generate(leaf, budget(scan), layout.leaf(leaf.name), "inline")
    make_products(scan, layout)
    result = call([*NNQFT, "compare", str(finished / "results" / "tiny"), str(layout.root)], tmp_path)
    assert (result.stdout.strip().splitlines()[-1], result.returncode) == (verdict, code)


def test_bad_input_leaves_with_two_and_writes_nothing(tmp_path):
    write(tmp_path, widths=[0])
    for command in ("run", "plan", "verify"):
        result = call([*NNQFT, command, "scan.yaml"], tmp_path)
        assert result.returncode == 2
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("nnqft: scan.yaml: widths.0: ")
    assert [p.name for p in tmp_path.iterdir()] == ["scan.yaml"]


def test_plan_writes_nothing(tmp_path):
    write(tmp_path)
    result = call([*NNQFT, "plan", "scan.yaml"], tmp_path)
    assert result.returncode == 0
    assert "2 leaves, 6 scan points, 12 blocks" in result.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["scan.yaml"]


def test_a_dry_run_lists_jobs_and_computes_nothing(tmp_path):
    write(tmp_path)
    result = call([*NNQFT, "run", "scan.yaml", "--", "--dry-run"], tmp_path)
    assert result.returncode == 0, result.stderr
    assert "ensemble" in result.stdout + result.stderr
    assert not list(tmp_path.glob("results/tiny/*.zarr"))
