"""Rule flow."""

from nnqft.stages.flow import measure_flow
from nnqft.stages.job import job

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        measure_flow(scan, layout)
