# Generation: one job a leaf (its blocks run on the Dask cluster), then one dense store for all of them.
rule ensemble:
    output:
        manifest=f"{ROOT}/leaves/{{leaf}}/manifest.json",
    log:
        f"{ROOT}/logs/ensemble-{{leaf}}.log",
    benchmark:
        f"{ROOT}/benchmarks/ensemble-{{leaf}}.tsv"
    conda:
        "../envs/nnqft.yaml"
    threads: 1 if "://" in os.environ.get("NNQFT_CLUSTER", "") else os.cpu_count()
    resources:
        mem_mb=4000,
        runtime=600,
    params:
        specification=lambda wildcards: SCAN.leaf_parameters(wildcards.leaf),
    message:
        "networks of {wildcards.leaf}"
    script:
        "../scripts/ensemble.py"


rule assemble:
    input:
        expand(rules.ensemble.output.manifest, leaf=list(SCAN.leaves)),
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
