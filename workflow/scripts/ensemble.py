"""Rules ensemble_0, ensemble_1, ...: the leaves named in the parameters."""

import os

from nnqft.cluster.settings import cluster_name

if cluster_name() != "inline":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before jax is imported: devices belong to the workers

from nnqft.stages.ensemble import generate_all
from nnqft.stages.job import job
from nnqft.stages.work import all_work

if __name__ == "__main__":
    with job(snakemake) as (scan, layout):  # noqa: F821 - Snakemake defines it
        wanted = [work for work in all_work(scan) if work.leaf.name in snakemake.params.leaves]  # noqa: F821
        generate_all([(w.leaf, w.budget, layout.leaf(w.leaf.name)) for w in wanted], cluster_name())
