# Predictions: independent of the samples, so this runs beside their generation.
rule theory:
    output:
        receipt=f"{ROOT}/receipts/theory.json",
    log:
        f"{ROOT}/logs/theory.log",
    benchmark:
        f"{ROOT}/benchmarks/theory.tsv"
    conda:
        "../envs/nnqft.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        specification=SCAN.parameters("points", "architectures", "widths", "cumulants"),
    message:
        "predictions"
    script:
        "../scripts/theory.py"
