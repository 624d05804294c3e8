"""Rules ensemble_0, ensemble_1, ...: the leaves named in the parameters."""

from nnqft.cluster.contexts import cluster_name
from nnqft.sampling.budget import budget
from nnqft.sampling.cells import leaves
from nnqft.stages.ensemble import generate_all
from nnqft.stages.job import job

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        wanted = [leaf for leaf in leaves(scan) if leaf.name in snakemake.params.leaves]  # noqa: F821
        generate_all([(leaf, layout.leaf(leaf.name)) for leaf in wanted], budget(scan), cluster_name())
