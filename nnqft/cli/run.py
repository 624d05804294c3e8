"""`nnqft run`: one lock, one cluster, one Snakemake."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nnqft
from nnqft.cluster.contexts import cluster_name, local_cluster, local_workers
from nnqft.core.errors import InputError
from nnqft.spec.model import Scan
from nnqft.stages.check import load_config
from nnqft.stages.layout import Layout
from nnqft.stages.mend import withdraw_damaged
from nnqft.stages.status import generated
from nnqft.storage.files import locked

LOCK_PATIENCE = 120


def run_workflow(config: Path, targets: Sequence[str], extra: Sequence[str]) -> int:
    """Run Snakemake on a scan file and return its exit status.

    A second run on the same scan waits for the first; a local cluster is started once and serves every job. Raises
    InputError for bad input, before anything is written, and TimeoutError when another run does not end.
    """
    snakefile = find_snakefile()
    scan = load_config(config)
    layout = Layout(Path("results") / scan.name)
    dry = any(flag in extra for flag in ("-n", "--dry-run", "--dryrun", "--lint", "--report", "--unlock"))
    if dry:
        return _snakemake(snakefile, config, targets, extra, "inline", ())
    with locked(layout.root / "lock", LOCK_PATIENCE) as lock:
        for line in withdraw_damaged(scan, layout):
            print(f"nnqft: {line}", file=sys.stderr)
        with _cluster(scan, layout) as address:
            return _snakemake(snakefile, config, targets, extra, address, (lock,))


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


@contextmanager
def _cluster(scan: Scan, layout: Layout) -> Iterator[str]:
    name = cluster_name()
    if generated(scan, layout):
        yield "inline"
    elif name.partition(":")[0] == "local":
        with local_cluster(local_workers(name)) as address:
            yield address
    else:
        yield name


def _snakemake(
    snakefile: Path, config: Path, targets: Sequence[str], extra: Sequence[str], cluster: str, keep: tuple[int, ...]
) -> int:
    profile = [] if "--profile" in extra else ["--profile", str(snakefile.parent / "workflow" / "profiles" / "local")]
    command = [sys.executable, "-m", "snakemake", *targets, *extra, "--snakefile", str(snakefile), *profile, "--nolock"]
    command += ["--configfile", str(config)]
    environment = os.environ | {"NNQFT_CLUSTER": cluster, "PYTHONWARNINGS": os.environ.get("PYTHONWARNINGS", "ignore")}
    process = subprocess.Popen(command, env=environment, pass_fds=keep)

    def forward(number: int, frame: object) -> None:
        process.send_signal(number)

    previous = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return 0 if process.wait() == 0 else 1
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
