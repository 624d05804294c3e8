"""The stages after generation in the order of the workflow, for use without Snakemake: in this process, one by one."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from nnqft.spec.model import Scan
from nnqft.stages.action import measure_action
from nnqft.stages.assemble import assemble
from nnqft.stages.couplings import fit_all_couplings
from nnqft.stages.criticality import measure_criticality
from nnqft.stages.cumulants import estimate_cumulants
from nnqft.stages.flow import measure_flow
from nnqft.stages.layout import Layout, stages
from nnqft.stages.sixpoints import predict_six_points
from nnqft.stages.theory import predict_theory
from nnqft.stages.trainability import measure_trainability

PRODUCTS: Mapping[str, Callable[[Scan, Layout], None]] = MappingProxyType(
    {
        "ensemble": assemble,
        "cumulants": estimate_cumulants,
        "theory": predict_theory,
        "couplings": fit_all_couplings,
        "flow": measure_flow,
        "sixpoints": predict_six_points,
        "action": measure_action,
        "criticality": measure_criticality,
        "trainability": measure_trainability,
    }
)
"""What makes each store; each needs those before it."""


def make_products(scan: Scan, layout: Layout) -> None:
    """All stores of a scan whose leaves are there (:func:`nnqft.stages.ensemble.generate_all`)."""
    for stage in stages(scan):
        PRODUCTS[stage](scan, layout)
