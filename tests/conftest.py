import pytest

from nnqft.sampling.budget import budget
from nnqft.sampling.cells import leaves
from nnqft.spec.load import parse_scan
from nnqft.stages.ensemble import generate
from nnqft.stages.figures import draw_figure
from nnqft.stages.gallery import figures
from nnqft.stages.layout import Layout
from nnqft.stages.pipeline import make_products
from nnqft.stages.report import write_report
from nnqft.stages.tables import write_tables

SMALL = {
    "name": "small",
    "seed": 5,
    "points": {"ray": [[0.2], [0.4], [1.2]], "near": [[-0.01], [0.002], [0.01]]},
    "architectures": {
        "relu": {"activation": "relu", "sigma_b": 0.0, "points": "ray"},
        "erf": {"activation": "erf", "sigma_w": [1.0, 1.3], "sigma_b": 1.0, "points": "ray"},
        "gauss": {"activation": "gauss", "sigma_b": 1.0, "points": "near"},
    },
    "widths": [4, 16],
    "ensemble": {"networks": 2048, "block": 256, "replicates": 16},
    "cumulants": {"orders": [2, 4, 6]},
    "couplings": {"cutoffs": [5.0, 20.0, 80.0], "models": [["lambda_0", "lambda_2"], ["lambda_0"]]},
}


LONG = ("workflow/test_workflow", "engine/test_crash", "engine/test_generate", "report/", "figures/", "oracle/")
"""Files that take longest, which start first, so that two processes end together."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: next((i for i, name in enumerate(LONG) if name in item.nodeid), len(LONG)))


@pytest.fixture(scope="session")
def small_results(tmp_path_factory):
    """A finished scan of few networks, made by the real stages: (scan, layout)."""
    scan, layout = parse_scan(SMALL), Layout(tmp_path_factory.mktemp("results") / "small")
    for leaf in leaves(scan):
        generate(leaf, budget(scan), layout.leaf(leaf.name), "inline")
    make_products(scan, layout)
    return scan, layout


@pytest.fixture(scope="session")
def finished(small_results):
    """The same scan with its figures, tables, report and manifest: (scan, layout)."""
    scan, layout = small_results
    for figure in figures(scan):
        draw_figure(scan, layout, figure)
    write_tables(scan, layout)
    write_report(scan, layout)
    return scan, layout
