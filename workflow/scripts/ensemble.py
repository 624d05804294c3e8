"""Rule ensemble."""

import nnqft.stages.ensemble as stage
from nnqft.cluster.contexts import cluster_name
from nnqft.sampling.budget import budget
from nnqft.sampling.cells import leaves
from nnqft.stages.job import job

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        leaf = {leaf.name: leaf for leaf in leaves(scan)}[snakemake.wildcards.leaf]  # noqa: F821
        stage.generate(leaf, budget(scan), layout.leaf(leaf.name), cluster_name())
