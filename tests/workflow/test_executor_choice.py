"""Which executor a run has, and what is refused of it: nothing is submitted here (tests/slurm does that)."""

from pathlib import Path

import pytest
import yaml

from nnqft.cli import executor as choice
from nnqft.cli.executor import executor, submits
from nnqft.core.errors import InputError

PROFILES = Path(__file__).parents[2] / "workflow/profiles"


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("CLUSTER", *(f"SLURM_{n}" for n in ("PARTITION", "ACCOUNT", "CPUS", "MEM", "TIME", "EXTRA"))):
        monkeypatch.delenv(f"NNQFT_{name}", raising=False)
    monkeypatch.setattr(choice, "find_spec", lambda _: object())


@pytest.mark.parametrize(
    ("arguments", "profile", "name"),
    [
        ([], "local", ""),
        ([], "slurm", ""),
        ([], "slurm-executor", "slurm"),
        (["--executor", "local"], "slurm-executor", "local"),
        (["-n", "-e", "slurm"], "local", "slurm"),
        (["--executor=drmaa"], "nowhere", "drmaa"),
    ],
)
def test_arguments_win_over_the_profile(arguments, profile, name):
    assert executor(arguments, PROFILES / profile) == name


def test_only_executors_that_submit_leave_the_cluster_to_the_jobs(monkeypatch, capsys):
    assert [name for name in ("", "local", "dryrun", "touch", "slurm", "drmaa") if submits(name)] == ["slurm", "drmaa"]
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("NNQFT_SLURM_PARTITION", "long")
    assert submits("slurm")
    assert "not used with an executor: NNQFT_SLURM_PARTITION" in capsys.readouterr().err


def test_two_layers_never_submit(monkeypatch):
    monkeypatch.setenv("NNQFT_CLUSTER", "slurm")
    with pytest.raises(InputError, match="submits jobs, and so would nnqft"):
        submits("slurm")


def test_sizes_of_jobs_are_checked_first(monkeypatch):
    monkeypatch.setenv("NNQFT_SLURM_TIME", "soon")
    with pytest.raises(InputError, match="NNQFT_SLURM_TIME=soon"):
        submits("slurm")


def test_without_the_package_one_message(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r'pip install "nnqft\[slurm\]"'):
        submits("slurm")


def test_the_profile_asks_slurm_itself():
    """sacct would be asked for ever where there is no accounting database."""
    profile = yaml.safe_load((PROFILES / "slurm-executor/config.yaml").read_text())
    assert profile["slurm-status-command"] == "squeue"
    assert yaml.safe_load((PROFILES / "slurm-executor/cluster.yaml").read_text())["cluster"] == "local"
