"""Paired timings: what is compared runs in turns on the same cores, and only ratios are reported."""

import json
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

OUTPUT = Path("results/bench")


def seconds(work: Callable[[], Any], turns: int = 3) -> float:
    """Median processor time of a call, after one that compiles."""
    work()
    found = []
    for _ in range(turns):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return statistics.median(found)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Slope of log cost against log size by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def peak_mib() -> float:
    """Most memory that this process ever had, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def write(name: str, found: Any) -> None:
    """results/bench/NAME.json, with what it was measured with."""
    OUTPUT.mkdir(parents=True, exist_ok=True)
    device = jax.devices()[0]
    context = {"jax": jax.__version__, "numpy": np.__version__, "device": device.device_kind}
    (OUTPUT / f"{name}.json").write_text(json.dumps({"context": context, "found": found}, indent=1) + "\n")
