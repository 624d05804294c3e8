"""Rule theory."""

from nnqft.stages.job import job
from nnqft.stages.theory import predict_theory

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        predict_theory(scan, layout)
