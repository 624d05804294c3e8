"""Rule sixpoints."""

from nnqft.stages.job import job
from nnqft.stages.sixpoints import predict_six_points

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        predict_six_points(scan, layout)
