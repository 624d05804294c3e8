# Figures (PDF, PNG, and the plotted numbers as CSV) and tables.
rule figures:
    input:
        cumulants=rules.cumulants.output.receipt,
        theory=rules.theory.output.receipt,
        couplings=rules.couplings.output.receipt,
        flow=rules.flow.output.receipt,
    output:
        [
            report(
                f"{ROOT}/figures/{figure}-{points}.png",
                category="Figures",
                subcategory=points,
                caption=f"../report/{figure}.rst",
                labels={"figure": figure, "points": points},
            )
            for figure in FIGURES
            for points in SCAN.point_sets
        ],
        expand(
            f"{ROOT}/figures/{{figure}}-{{points}}.{{format}}",
            figure=FIGURES,
            points=SCAN.point_sets,
            format=["pdf", "csv"],
        ),
    log:
        f"{ROOT}/logs/figures.log",
    benchmark:
        f"{ROOT}/benchmarks/figures.tsv"
    conda:
        "../envs/nnqft.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        specification=SCAN.parameters("widths", "cumulants", "couplings"),
    message:
        "figures"
    script:
        "../scripts/figures.py"


rule tables:
    input:
        cumulants=rules.cumulants.output.receipt,
        theory=rules.theory.output.receipt,
        couplings=rules.couplings.output.receipt,
        flow=rules.flow.output.receipt,
    output:
        report(
            expand(f"{ROOT}/tables/{{table}}.csv", table=TABLES),
            category="Tables",
            caption="../report/tables.rst",
        ),
        expand(f"{ROOT}/tables/{{table}}.tex", table=TABLES),
    log:
        f"{ROOT}/logs/tables.log",
    benchmark:
        f"{ROOT}/benchmarks/tables.tsv"
    conda:
        "../envs/nnqft.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        specification=SCAN.parameters("widths", "cumulants", "couplings"),
    message:
        "tables"
    script:
        "../scripts/tables.py"
