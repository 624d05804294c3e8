"""`nnqft run`: one lock, one cluster, one Snakemake."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nnqft
from nnqft.cli.executor import executor, submits
from nnqft.cluster.contexts import cluster
from nnqft.cluster.settings import cluster_name, option, profile_settings
from nnqft.core.errors import InputError
from nnqft.spec.model import Scan
from nnqft.stages.check import load_config
from nnqft.stages.layout import Layout, layout
from nnqft.stages.mend import withdraw_damaged
from nnqft.stages.status import generated
from nnqft.storage.files import locked
from nnqft.storage.location import claim

LOCK_PATIENCE = 120


def run_workflow(config: Path, targets: Sequence[str], extra: Sequence[str]) -> int:
    """Run Snakemake on a scan file and return its exit status.

    A second run on the same scan waits for the first. One cluster serves every job, unless an executor submits the
    jobs: then each opens its own, in its allocation. Raises InputError for bad input,
    before anything is written, and TimeoutError when another run does not end.
    """
    snakefile = find_snakefile()
    profile, extra = chosen_profile(extra, snakefile.parent / "workflow" / "profiles")
    os.environ.update(profile_settings(profile))
    scan = load_config(config)
    where = layout(scan.name)
    where.data  # noqa: B018 - raises for an object store that cannot be this scan's
    dry = any(flag in extra for flag in ("-n", "--dry-run", "--dryrun", "--lint", "--report", "--unlock"))
    if dry:
        return _snakemake(snakefile, config, targets, extra, profile, "inline")
    submitted = submits(executor(extra, profile))
    with locked(where.root / "lock", LOCK_PATIENCE) as lock:
        claim(where.root, where.url, bool(option("store_take")))
        for line in withdraw_damaged(scan, where):
            print(f"nnqft: {line}", file=sys.stderr)
        if submitted:
            return _snakemake(snakefile, config, targets, extra, profile, cluster_name(), (lock,))
        with _cluster(scan, where) as address:
            return _snakemake(snakefile, config, targets, extra, profile, address, (lock,))


def find_snakefile() -> Path:
    """The workflow: of the working directory or a parent of it, else of the source tree this package runs from.

    Raises:
        InputError: when there is neither.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(nnqft.__file__).parents[1]):
        if (folder / "Snakefile").is_file() and (folder / "workflow" / "rules" / "ensemble.smk").is_file():
            return folder / "Snakefile"
    raise InputError("Snakefile", f"none of nnqft's in {here} or above", "run inside a clone of the repository")


def chosen_profile(extra: Sequence[str], shipped: Path) -> tuple[Path, list[str]]:
    """The folder of the profile that Snakemake's arguments name (`local` if none does), and the other arguments.

    The name of a folder in `shipped` stands for that folder; anything else is left to Snakemake.
    """
    rest, name = [], "local"
    arguments = iter(extra)
    for argument in arguments:
        if argument == "--profile":
            name = next(arguments, "")
        elif argument.startswith("--profile="):
            name = argument.removeprefix("--profile=")
        else:
            rest.append(argument)
    return (shipped / name if name and (shipped / name).is_dir() else Path(name)), rest


@contextmanager
def _cluster(scan: Scan, where: Layout) -> Iterator[str]:
    """The address that every job of the workflow uses; no cluster is started when there is nothing to generate."""
    with cluster("inline" if generated(scan, where) else cluster_name()) as address:
        yield address


def _snakemake(
    snakefile: Path,
    config: Path,
    targets: Sequence[str],
    extra: Sequence[str],
    profile: Path,
    cluster: str,
    keep: tuple[int, ...] = (),
) -> int:
    command = [sys.executable, "-m", "snakemake", *targets, *extra, "--snakefile", str(snakefile), "--nolock"]
    command += ["--profile", str(profile), "--configfile", str(config)]
    environment = os.environ | {"NNQFT_CLUSTER": cluster, "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore")}
    if cluster_name() != "inline":
        environment.setdefault("JAX_PLATFORMS", "cpu")  # blocks are computed by workers; the rest is small
    process = subprocess.Popen(command, env=environment, pass_fds=keep)

    def forward(number: int, frame: object) -> None:
        process.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return 0 if process.wait() == 0 else 1
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
