"""Rule figures."""

from nnqft.stages.figures import draw_figures
from nnqft.stages.job import job

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        draw_figures(scan, layout)
