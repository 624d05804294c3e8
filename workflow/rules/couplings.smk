# Effective couplings at every cutoff, their flow, what they predict; the action on the points themselves.
rule couplings:
    input:
        cumulants=rules.cumulants.output.receipt,
        theory=rules.theory.output.receipt,
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


rule sixpoints:
    input:
        couplings=rules.couplings.output.receipt,
        cumulants=rules.cumulants.output.receipt,
        theory=rules.theory.output.receipt,
    output:
        receipt=f"{ROOT}/receipts/sixpoints.json",
    log:
        f"{ROOT}/logs/sixpoints.log",
    benchmark:
        f"{ROOT}/benchmarks/sixpoints.tsv"
    conda:
        "../envs/nnqft.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        specification=SCAN.parameters("couplings", "cumulants"),
    message:
        "six-point functions from the couplings"
    script:
        "../scripts/sixpoints.py"


rule action:
    input:
        couplings=rules.couplings.output.receipt,
        cumulants=rules.cumulants.output.receipt,
    output:
        receipt=f"{ROOT}/receipts/action.json",
    log:
        f"{ROOT}/logs/action.log",
    benchmark:
        f"{ROOT}/benchmarks/action.tsv"
    conda:
        "../envs/nnqft.yaml"
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        specification=SCAN.parameters("couplings", "cumulants"),
    message:
        "action on the points"
    script:
        "../scripts/action.py"
