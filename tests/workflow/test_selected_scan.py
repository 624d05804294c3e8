"""A scan of selected components from end to end, beside the same scan of all of them."""

import numpy as np
import pytest
import xarray as xr

from nnqft.core.packing import multisets, rank
from nnqft.sampling.budget import budget
from nnqft.sampling.cells import leaves
from nnqft.spec.load import parse_scan
from nnqft.stages.compare import compare
from nnqft.stages.ensemble import generate
from nnqft.stages.figures import draw_figure
from nnqft.stages.gallery import figures
from nnqft.stages.layout import Layout
from nnqft.stages.pipeline import make_products
from nnqft.stages.report import write_report
from nnqft.stages.tables import write_tables
from nnqft.stages.verify import verify

CHOSEN = {"patterns": ["aabb", "aaaabb"]}


@pytest.fixture(scope="module")
def selected(small_results, tmp_path_factory):
    data = small_results[0].model_dump()
    data["cumulants"]["components"] = {"ray": CHOSEN}
    scan, layout = parse_scan(data), Layout(tmp_path_factory.mktemp("selected") / "small")
    for leaf in leaves(scan):
        generate(leaf, budget(scan), layout.leaf(leaf.name), "inline")
    make_products(scan, layout)
    for figure in figures(scan):
        draw_figure(scan, layout, figure)
    for stage in (write_tables, write_report):
        stage(scan, layout)
    return scan, layout


def group(layout, stage, points="ray"):
    return xr.open_datatree(layout.store(stage), engine="zarr")[points].to_dataset().load()


@pytest.mark.parametrize("stage", ["cumulants", "theory"])
def test_selected_components_are_those_of_the_whole_scan(selected, small_results, stage):
    (scan, layout), (_, whole) = selected, small_results
    some, everything, basis = group(layout, stage), group(whole, stage), scan.basis("ray")
    assert {k: some.sizes[d] for k, d in ((4, "quad"), (6, "sext"))} == {4: 12, 6: 6}  # aaaa and aaab come with aaaabb
    for order, dimension in ((2, "pair"), (4, "quad"), (6, "sext")):
        np.testing.assert_array_equal(some[f"{dimension}_points"], multisets(basis, order))
        where = rank(multisets(basis, order), 3)
        for name in [str(n) for n in some.data_vars if dimension in some[n].dims]:
            wanted = everything[name].isel({dimension: where}).values
            np.testing.assert_allclose(some[name], wanted, rtol=1e-4, atol=1e-5 * np.nanmax(np.abs(wanted)))


def test_other_point_sets_keep_every_bit(selected, small_results):
    for stage in ("ensemble", "cumulants", "couplings"):
        xr.testing.assert_identical(group(selected[1], stage, "near"), group(small_results[1], stage, "near"))


def test_stores_hold_no_more_than_what_the_selection_needs(selected):
    ensemble, cumulants = group(selected[1], "ensemble"), group(selected[1], "cumulants")
    assert ensemble.sizes["pair_product"] == cumulants.sizes["pair_product"] < 21
    legs = cumulants["pair_product_points"].values
    assert {tuple(sorted(row)) for row in legs.tolist()} == set(map(tuple, cumulants["quad_points"].values.tolist()))


def test_couplings_are_fitted_to_what_is_there(selected):
    couplings, flow = (group(selected[1], stage).sel(architecture="relu") for stage in ("couplings", "flow"))
    assert np.isfinite(couplings["lambda_0"].sel(model="lambda_0")).all()
    assert np.isfinite(couplings["lambda_mean"]).all()
    np.testing.assert_allclose(flow["slope_lambda"].sel(model="lambda_0"), -5, atol=1e-6)


def test_there_is_no_action_of_some_components(selected, small_results):
    action = group(selected[1], "action")
    assert action.sizes["quad"] == 12
    assert np.isnan(action["g4"]).all()
    assert all("only some were measured" in reason for reason in action["status"].values.flat)
    xr.testing.assert_identical(group(selected[1], "action", "near"), group(small_results[1], "action", "near"))


def test_tables_figures_and_report_show_components_that_exist(selected):
    _, layout = selected
    text = (layout.tables / "cumulants.csv").read_text()
    assert "0011" in text or "0022" in text
    scaling = "".join(path.read_text() for path in layout.figures.glob("scaling*.csv"))
    assert "0022" in scaling
    assert layout.report.exists()
    found = verify(*selected)
    assert not found.failures


def test_two_selections_are_not_the_same_results(selected, small_results):
    word, notes = compare(selected[1].root, small_results[1].root)
    assert word == "different"
    assert any("quad" in note or "pair_product" in note for note in notes)
