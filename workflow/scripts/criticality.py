"""Rule criticality."""

from nnqft.stages.criticality import measure_criticality
from nnqft.stages.job import job

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        measure_criticality(scan, layout)
