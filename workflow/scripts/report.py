"""Rule report."""

from nnqft.stages.job import job
from nnqft.stages.report import write_report

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        write_report(scan, layout)
