"""Rule action."""

from nnqft.stages.action import measure_action
from nnqft.stages.job import job

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        measure_action(scan, layout)
