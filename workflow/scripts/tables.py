"""Rule tables."""

from nnqft.stages.job import job
from nnqft.stages.tables import write_tables

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        write_tables(scan, layout)
