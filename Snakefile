# nnqft: ensembles -> cumulants -> theory beside them -> couplings -> flows -> figures and report.
# snakemake --configfile config/hms.yaml --cores all        (nnqft run config/hms.yaml does this on one shared cluster)
import os

from snakemake.utils import min_version

from nnqft.stages.layout import TABLES
from nnqft.stages.workflow import workflow as read_workflow

min_version("9.5")

if not config:

    configfile: "config/hms.yaml"


SCAN = read_workflow(config, "the configuration")
ROOT = SCAN.root


wildcard_constraints:
    points="|".join(SCAN.point_sets),


report: "workflow/report/workflow.rst"


include: "workflow/rules/ensemble.smk"
include: "workflow/rules/cumulants.smk"
include: "workflow/rules/theory.smk"
include: "workflow/rules/couplings.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        MANIFESTS,
        rules.assemble.output.receipt,
        rules.cumulants.output.receipt,
        rules.theory.output.receipt,
        rules.couplings.output.receipt,
        rules.flow.output.receipt,
        rules.sixpoints.output.receipt,
        rules.action.output.receipt,
        rules.figures.input,
        rules.tables.output,
        rules.report.output,
    localrule: True
