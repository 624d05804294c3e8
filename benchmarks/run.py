"""`make bench`: all benchmarks, each in its own process; ratios on the terminal, JSON in results/bench/."""

import subprocess
import sys
from pathlib import Path

NAMES = ("kernel", "efficiency", "scaling", "scale")

if __name__ == "__main__":
    here = Path(__file__).parent
    more = {"kernel": ["--all"]}
    failed = [
        name
        for name in NAMES
        if subprocess.run([sys.executable, here / f"{name}.py", *more.get(name, [])], check=False).returncode
    ]
    if failed:
        raise SystemExit(f"below their targets: {', '.join(failed)}")
