"""Rule couplings."""

from nnqft.stages.couplings import fit_all_couplings
from nnqft.stages.job import job

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        fit_all_couplings(scan, layout)
