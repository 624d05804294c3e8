# nnqft: ensembles -> cumulants -> theory beside them -> couplings -> flows -> figures and report.
# snakemake --configfile config/hms.yaml --cores all        (nnqft run config/hms.yaml does this on one shared cluster)
from snakemake.utils import min_version

from nnqft.stages.workflow import workflow as read_workflow

min_version("9.5")

if not config:

    configfile: "config/hms.yaml"


SCAN = read_workflow(config, "the configuration")
ROOT = SCAN.root
MANIFESTS = [f"{ROOT}/leaves/{leaf}/manifest.json" for leaf in SCAN.work]
RECEIPTS = [f"{ROOT}/receipts/{stage}.json" for stage in SCAN.stages]


report: "workflow/report/workflow.rst"


include: "workflow/rules/ensemble.smk"
include: "workflow/rules/cumulants.smk"
include: "workflow/rules/theory.smk"
include: "workflow/rules/couplings.smk"
include: "workflow/rules/criticality.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        MANIFESTS,
        RECEIPTS,
        rules.figures.input,
        rules.tables.output,
        rules.report.output,
    localrule: True
