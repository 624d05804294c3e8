# One self-contained page, and the provenance of the whole scan.
rule report:
    input:
        RECEIPTS,
        rules.figures.input,
        rules.tables.output,
    output:
        page=f"{ROOT}/report.html",
        manifest=f"{ROOT}/manifest.json",
    log:
        f"{ROOT}/logs/report.log",
    benchmark:
        f"{ROOT}/benchmarks/report.tsv"
    conda:
        "../envs/nnqft.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        specification=SCAN.parameters(*SCAN.sections),
    message:
        "report"
    script:
        "../scripts/report.py"
