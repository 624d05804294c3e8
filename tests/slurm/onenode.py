"""A real SLURM of one node on this machine, private: its own munge key, ports, folders; gone when the context ends.

For tests, and by hand: `python tests/slurm/onenode.py` starts one with a shell in it, `... COMMAND` runs a command in
it. It is found by SLURM_CONF alone. It wants root, as slurmd does, and Debian's slurm-wlm and munge; no systemd.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
CPUS = 4
"""Of the node, whatever the machine has: jobs share its cores."""
PATIENCE = 60

CONF = """\
ClusterName=nnqft
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={slurmctld}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
OverTimeLimit=0
KillWait=2
MinJobAge=300
EnforcePartLimits=ALL
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 Port={slurmd} CPUs={cpus} RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes=node Default=YES MaxTime=1-00:00:00 State=UP
"""


def missing() -> str:
    """Why there can be no SLURM here; empty when there can."""
    if lacking := [name for name in NEEDED if shutil.which(name, path=PATH) is None]:
        return f"needs Debian's slurm-wlm and munge (there is no {lacking[0]})"
    return "needs root" if os.geteuid() else ""


@contextmanager
def slurm(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which this SLURM is found; `folder`, on a short path, gets its state and logs.

    Raises:
        RuntimeError: when it does not come up, with the end of the logs.
    """
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    folder.chmod(0o755)
    slurmctld, slurmd = free_ports(2)
    host = socket.gethostname().partition(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, host=host, slurmctld=slurmctld, slurmd=slurmd, cpus=CPUS))
    (folder / "srun").write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {shutil.which("srun", path=PATH)} "$@"\n')
    (folder / "srun").chmod(0o755)  # Snakemake's job step calls srun without SLURM_CONF
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o400)
    environment = os.environ | {"SLURM_CONF": str(conf), "PATH": f"{folder}{os.pathsep}{PATH}"}
    munge = [f"--{what}={folder}/munge.{what}" for what in ("socket", "pid-file", "log-file", "seed-file")]
    munge.append(f"--key-file={folder}/munge.key")
    with ExitStack() as stack:
        stack.enter_context(daemon(folder, environment, "munged", "--foreground", "--force", *munge))
        await_(folder, lambda: (folder / "munge.socket").exists())
        stack.enter_context(daemon(folder, environment, "slurmctld", "-D"))
        stack.enter_context(daemon(folder, environment, "slurmd", "-D", "-N", "node"))
        await_(folder, lambda: ask(environment, "sinfo", "--noheader", "--format=%T") == "idle")
        try:
            yield environment
        finally:
            ask(environment, "scancel", "--user=root")
            deadline = time.monotonic() + 20
            while ask(environment, "squeue", "--noheader") and time.monotonic() < deadline:
                time.sleep(0.2)


@contextmanager
def daemon(folder: Path, environment: dict[str, str], name: str, *arguments: str) -> Iterator[None]:
    """A process in the foreground, with its log in the folder, until the context ends."""
    program = [shutil.which(name, path=PATH) or name]
    if guard := shutil.which("setpriv", path=PATH):  # it ends with us, however we end
        program = [guard, "--pdeathsig", "TERM", *program]
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen([*program, *arguments], stdout=log, stderr=log, env=environment, cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ask(environment: dict[str, str], *command: str) -> str:
    """What a command of SLURM prints; empty when it fails."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE * 15)
    return done.stdout.strip() if done.returncode == 0 else ""


def free_ports(count: int) -> list[int]:
    """Ports of loopback on which nobody listens now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def await_(folder: Path, ready) -> None:
    """Poll; RuntimeError with the logs after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        if time.monotonic() > deadline:
            logs = [f"{p.name}:\n{p.read_text()[-2000:]}" for p in sorted(folder.glob("*.log"))]
            raise RuntimeError(f"SLURM did not come up in {PATIENCE} s\n" + "\n".join(logs))
        time.sleep(0.2)


if __name__ == "__main__":
    if reason := missing():
        sys.exit(f"SLURM {reason}")
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, slurm(Path(name)) as found:
        sys.exit(
            subprocess.run(sys.argv[1:] or [os.environ.get("SHELL", "/bin/sh")], env=found, check=False).returncode
        )
