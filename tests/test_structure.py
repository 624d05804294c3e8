"""The architecture of the code itself: direction of imports, sizes, formatting."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
MODULES = sorted((ROOT / "nnqft").rglob("*.py"))
LIMITS = {
    "nnqft/**/*.py": 350,
    "workflow/rules/*.smk": 120,
    "workflow/scripts/*.py": 30,
    "tests/**/*.py": 250,
}
HOMES = {
    "zarr": "storage",
    "dask": "cluster",
    "distributed": "cluster",
    "matplotlib": "figures",
    "diffrax": "couplings",
    "iminuit": "couplings",
    "gvar": "couplings",
}


def tool(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_point_one_way():
    result = tool(str(BIN / "lint-imports"))
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("pattern", "limit"), LIMITS.items())
def test_files_are_small(pattern, limit):
    sizes = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in ROOT.glob(pattern)}
    assert sizes
    assert {name: size for name, size in sizes.items() if size > limit} == {}


@pytest.mark.parametrize(("library", "home"), HOMES.items())
def test_a_library_is_used_in_one_place(library, home):
    users = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == library for name in names):
                users.add(path.relative_to(ROOT / "nnqft").parts[0])
    assert users == {home}


def test_no_drawer_for_odds_and_ends():
    assert not [p for p in MODULES if p.stem in {"utils", "helpers", "misc", "common"}]


@pytest.mark.parametrize("command", [("check",), ("format", "--check")])
def test_ruff_is_clean(command):
    result = tool(str(BIN / "ruff"), *command, ".")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_workflow_is_formatted():
    result = tool(str(BIN / "snakefmt"), "--check", "Snakefile", "workflow/rules")
    assert result.returncode == 0, result.stdout + result.stderr


def test_nothing_names_a_machine():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return
    found = tool("git", "grep", "-nE", "/(home|root|tmp)/[A-Za-z]", "--", ":!*.lock", ":!tests/test_structure.py")
    assert found.stdout == ""
