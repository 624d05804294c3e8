"""Rule assemble."""

from nnqft.stages.assemble import assemble
from nnqft.stages.job import job

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        assemble(scan, layout)
