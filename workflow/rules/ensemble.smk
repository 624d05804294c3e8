# Generation: one job for as many leaves as keep it busy for minutes (their blocks run on the Dask cluster), then one
# dense store for all of them.
from nnqft.cluster.allocation import job_cpus, job_megabytes, job_minutes

for number, names in enumerate(SCAN.batches):

    rule:
        name:
            f"ensemble_{number}"
        output:
            [f"{ROOT}/leaves/{leaf}/manifest.json" for leaf in names],
        log:
            f"{ROOT}/logs/ensemble-{number}.log",
        benchmark:
            f"{ROOT}/benchmarks/ensemble-{number}.tsv"
        conda:
            "../envs/nnqft.yaml"
        threads: job_cpus()
        resources:
            mem_mb=job_megabytes(),
            runtime=job_minutes(),
        params:
            leaves=names,
            specification=[SCAN.leaf_parameters(leaf) for leaf in names],
        message:
            f"networks of {len(names)} leaves: {', '.join(names)}"
        script:
            "../scripts/ensemble.py"


rule assemble:
    input:
        [f"{ROOT}/leaves/{leaf}/manifest.json" for leaf in SCAN.leaves("cumulants")],
    output:
        receipt=f"{ROOT}/receipts/ensemble.json",
    log:
        f"{ROOT}/logs/assemble.log",
    benchmark:
        f"{ROOT}/benchmarks/assemble.tsv"
    conda:
        "../envs/nnqft.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        specification=SCAN.parameters("points", "widths", "ensemble"),
    message:
        "all networks in one store"
    script:
        "../scripts/assemble.py"
