"""GPUs: which there are, and one single-threaded Dask worker process for each.

CUDA_VISIBLE_DEVICES and XLA's memory settings stand in a worker's environment before its Python starts, so jax can
never have been imported without them. ``python -m nnqft.cluster.gpu ADDRESS`` starts the workers of one host for a
scheduler elsewhere.
"""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nnqft.cluster.scheduler import WORKER_ENVIRONMENT, scheduler, worker_command
from nnqft.cluster.settings import local_workers, option

log = logging.getLogger("nnqft")

PROC = Path("/proc/driver/nvidia/gpus")


def devices() -> list[str]:
    """The GPUs this process may use, as CUDA_VISIBLE_DEVICES names them; empty where there is none.

    NNQFT_GPU_DEVICES, a comma-separated list, replaces the search. CUDA_VISIBLE_DEVICES is taken as it is where there
    are GPUs at all (empty or -1: none). Else every GPU that `nvidia-smi -L` lists, or the driver in /proc.
    """
    if named := option("gpu_devices"):
        return _names(named)
    there = [str(i) for i in range(_installed())]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return there if visible is None or not there else _names(visible)


def device_environment(device: str) -> dict[str, str]:
    """Environment of the worker of one device.

    JAX takes the device's memory as it needs it, unless NNQFT_GPU_MEMORY says which fraction to take at once. Its
    platform is CUDA, and a jaxlib without it fails rather than compute on the CPU; NNQFT_GPU_PLATFORM names another.
    """
    fraction = option("gpu_memory")
    memory = {"XLA_PYTHON_CLIENT_MEM_FRACTION": fraction} if fraction else {}
    return WORKER_ENVIRONMENT | {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": device,
        "JAX_PLATFORMS": option("gpu_platform", "cuda"),
        "XLA_PYTHON_CLIENT_PREALLOCATE": "true" if fraction else "false",
        **memory,
    }


def device_kind() -> str:
    """What computes in this process: `cpu`, or JAX's name of the GPU, e.g. `NVIDIA H100 80GB HBM3`."""
    import jax

    return "cpu" if jax.default_backend() == "cpu" else str(jax.devices()[0].device_kind)


@contextmanager
def device_workers(address: str, found: Sequence[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """One worker process a device, with the Dask resource GPU=1, until the context ends."""
    processes = []
    try:
        for device in found:
            command = worker_command(address, "--nworkers", "1", "--resources", "GPU=1")
            processes.append(subprocess.Popen(command, env=os.environ | device_environment(device)))
        yield processes
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def cuda_cluster() -> Iterator[str]:
    """A scheduler on loopback with a worker for each GPU of this machine; CPU workers, and a warning, without one."""
    if not (found := devices()):
        log.warning("no GPU was found: the CPU computes, one worker a core")
        with scheduler(local_workers("local")) as address:
            yield address
        return
    log.info("one worker for each of %d GPUs: %s", len(found), ", ".join(found))
    with scheduler() as address, device_workers(address, found):
        yield address


def _names(text: str) -> list[str]:
    """CUDA's rule: what follows a -1 is invisible."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    return names[: names.index("-1")] if "-1" in names else names


def _installed() -> int:
    try:
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=True).stdout
        return sum(line.startswith("GPU ") for line in answer.splitlines())
    except (OSError, subprocess.SubprocessError):
        return len(list(PROC.iterdir())) if PROC.is_dir() else 0


def main(address: str) -> int:
    """Start a worker for each device of this host and wait for them; 2 where there is no device."""
    if not (found := devices()):
        print("nnqft: no GPU was found on this host", file=sys.stderr)
        return 2
    with device_workers(address, found) as processes:
        return max(process.wait() for process in processes)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
