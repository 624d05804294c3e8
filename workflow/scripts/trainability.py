"""Rule trainability."""

from nnqft.stages.job import job
from nnqft.stages.trainability import measure_trainability

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        measure_trainability(scan, layout)
