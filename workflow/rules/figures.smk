# Figures (PDF, PNG, and the plotted numbers as CSV): kinds that wait for the same stores in one job; and tables.
for gallery, kinds in SCAN.galleries.items():

    rule:
        name:
            f"figures_{gallery}"
        input:
            sorted(
                {
                    f"{ROOT}/receipts/{store}.json"
                    for kind in kinds.values()
                    for store in kind.stores
                }
            ),
        output:
            *[
                report(
                    [
                        f"{ROOT}/figures/{figure}-{points}.png"
                        for points in kind.points
                    ],
                    category="Figures",
                    caption=f"../report/{figure}.rst",
                    labels={"figure": figure},
                )
                for figure, kind in kinds.items()
            ],
            *[
                f"{ROOT}/figures/{figure}-{points}.{extension}"
                for figure, kind in kinds.items()
                for points in kind.points
                for extension in ("pdf", "csv")
            ],
        log:
            f"{ROOT}/logs/figures-{gallery}.log",
        benchmark:
            f"{ROOT}/benchmarks/figures-{gallery}.tsv"
        conda:
            "../envs/nnqft.yaml"
        resources:
            mem_mb=2000,
            runtime=60,
        params:
            figures=list(kinds),
            specification=SCAN.parameters(
                "widths", "cumulants", "couplings", "criticality", "trainability"
            ),
        message:
            f"figures: {', '.join(kinds)}"
        script:
            "../scripts/figures.py"


rule figures:
    input:
        [
            f"{ROOT}/figures/{figure}-{points}.{extension}"
            for figure, kind in SCAN.figures.items()
            for points in kind.points
            for extension in ("png", "pdf", "csv")
        ],
    localrule: True


rule tables:
    input:
        RECEIPTS,
    output:
        report(
            expand(f"{ROOT}/tables/{{table}}.csv", table=SCAN.tables),
            category="Tables",
            caption="../report/tables.rst",
        ),
        expand(f"{ROOT}/tables/{{table}}.tex", table=SCAN.tables),
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
        specification=SCAN.parameters(
            "widths", "cumulants", "couplings", "criticality", "trainability"
        ),
    message:
        "tables"
    script:
        "../scripts/tables.py"
