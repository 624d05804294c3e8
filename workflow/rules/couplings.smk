# Effective couplings at every cutoff, and their flow.
rule couplings:
    input:
        cumulants=rules.cumulants.output.receipt,
    output:
        receipt=f"{ROOT}/receipts/couplings.json",
    log:
        f"{ROOT}/logs/couplings.log",
    benchmark:
        f"{ROOT}/benchmarks/couplings.tsv"
    priority: 10  # figures wait for both
    conda:
        "../envs/nnqft.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        specification=SCAN.parameters("couplings", "points", "architectures"),
    message:
        "effective couplings"
    script:
        "../scripts/couplings.py"


rule flow:
    input:
        couplings=rules.couplings.output.receipt,
        cumulants=rules.cumulants.output.receipt,
        theory=rules.theory.output.receipt,
    output:
        receipt=f"{ROOT}/receipts/flow.json",
    log:
        f"{ROOT}/logs/flow.log",
    benchmark:
        f"{ROOT}/benchmarks/flow.tsv"
    priority: 10  # figures wait for both
    conda:
        "../envs/nnqft.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        specification=SCAN.parameters("couplings"),
    message:
        "flow of the couplings"
    script:
        "../scripts/flow.py"
