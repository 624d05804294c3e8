"""Cost to 1% on G4c: the default route against the textbook one (every weight drawn, products of outputs).

cost(1%) = processor time * (relative error / 1%)^2; both routes in one run, on the same points. Relative error: size of
the standard errors over the size of G4c, root mean squares over components.
"""

import numpy as np
import timing

from nnqft.predictions.outputs import theory
from nnqft.sampling.groups import measure
from nnqft.spec.grid import Architecture, architecture

RAY = [[0.2], [0.4], [0.6], [0.8], [1.0], [1.2]]
LINE = [[-1.0], [-0.6], [-0.2], [0.2], [0.6], [1.0]]
CASES = (
    ("relu L=1 N=20", architecture(RAY, "relu"), 20, 65_536, 65_536),
    ("relu L=1 N=1000", architecture(RAY, "relu"), 1000, 2048, 4096),
    ("erf L=3 N=64", architecture(LINE, "erf", 3, 1.0, 1.0), 64, 16_384, 8192),
    ("erf L=3 N=512", architecture(LINE, "erf", 3, 1.0, 1.0), 512, 4096, 512),
)
WANTED = {"relu L=1 N=20": 1e3, "relu L=1 N=1000": 1e6, "erf L=3 N=64": 0.0, "erf L=3 N=512": 1e7}


def cost(a: Architecture, width: int, networks: int, **how) -> tuple[float, str]:
    """Processor seconds to 1%, and the estimator."""

    def work():
        return measure(a, width, networks, max_order=4, **how)

    spent, found = timing.seconds(work, turns=3), work()
    size = np.linalg.norm(theory(a, [width], (2, 4)).values["G4c"][0])
    return spent * (np.linalg.norm(found.stderr["G4c"]) / size / 0.01) ** 2, how.get("estimator", "auto")


def main() -> list[str]:
    """Print ratios, write JSON; what falls short."""
    found, short = {}, []
    for label, a, width, networks, plain in CASES:
        default, _ = cost(a, width, networks)
        marginal, _ = cost(a, width, networks, estimator="marginal")
        textbook, _ = cost(a, width, plain, sampler="weights", estimator="product")
        found[label] = {"plain/default": textbook / default, "marginal/default": marginal / default}
        print(f"{label:18} plain / default {textbook / default:9.3g}   marginal / default {marginal / default:7.3g}")
        if textbook / default < WANTED[label]:
            short.append(f"{label}: {textbook / default:.3g} < {WANTED[label]:g}")
    timing.write("efficiency", found)
    return short


if __name__ == "__main__":
    raise SystemExit("\n".join(main()) or 0)
