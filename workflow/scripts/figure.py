"""Rules figure_deviations, figure_scaling, ..."""

from nnqft.stages.figures import draw_figure
from nnqft.stages.job import job

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        draw_figure(scan, layout, snakemake.params.figure)  # noqa: F821
