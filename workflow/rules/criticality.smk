# Measurements beside the correlators: each one store from leaves of its own, with theory beside every number.
rule criticality:
    input:
        [f"{ROOT}/leaves/{leaf}/manifest.json" for leaf in SCAN.leaves("criticality")],
    output:
        receipt=f"{ROOT}/receipts/criticality.json",
    log:
        f"{ROOT}/logs/criticality.log",
    benchmark:
        f"{ROOT}/benchmarks/criticality.tsv"
    conda:
        "../envs/nnqft.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        specification=SCAN.parameters("criticality", "ensemble"),
    message:
        "depth scales, exponents, fluctuations layer by layer"
    script:
        "../scripts/criticality.py"


rule trainability:
    input:
        [f"{ROOT}/leaves/{leaf}/manifest.json" for leaf in SCAN.leaves("trainability")],
    output:
        receipt=f"{ROOT}/receipts/trainability.json",
    log:
        f"{ROOT}/logs/trainability.log",
    benchmark:
        f"{ROOT}/benchmarks/trainability.tsv"
    conda:
        "../envs/nnqft.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        specification=SCAN.parameters("trainability"),
    message:
        "accuracy after training"
    script:
        "../scripts/trainability.py"
