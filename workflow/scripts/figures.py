"""Rules figures_correlators, figures_couplings, figures_predictions."""

from nnqft.stages.figures import draw_figure
from nnqft.stages.job import job

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        for figure in snakemake.params.figures:  # noqa: F821
            draw_figure(scan, layout, figure)
