# Correlators with jackknife errors and tail verdicts.
rule cumulants:
    input:
        ensemble=rules.assemble.output.receipt,
    output:
        receipt=f"{ROOT}/receipts/cumulants.json",
    log:
        f"{ROOT}/logs/cumulants.log",
    benchmark:
        f"{ROOT}/benchmarks/cumulants.tsv"
    conda:
        "../envs/nnqft.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        specification=SCAN.parameters("cumulants"),
    message:
        "correlators and their errors"
    script:
        "../scripts/cumulants.py"
