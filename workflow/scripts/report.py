"""Rule report."""

from nnqft.stages.report import write_report
from nnqft.stages.job import job

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        write_report(scan, layout)
