"""Rule cumulants."""

from nnqft.stages.cumulants import estimate_cumulants
from nnqft.stages.job import job

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        estimate_cumulants(scan, layout)
