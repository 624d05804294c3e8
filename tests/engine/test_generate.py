"""Generation: the same bits whatever the order, the workers and the history."""

import json

import numpy as np
import pytest

from nnqft.sampling.budget import budget
from nnqft.sampling.cells import leaves
from nnqft.sampling.check import check
from nnqft.spec.load import parse_scan
from nnqft.stages.assemble import assemble
from nnqft.stages.ensemble import GenerationError, compute_blocks, generate
from nnqft.stages.layout import Layout
from nnqft.stages.status import cell_status
from nnqft.storage.leafstore import LeafStore

BASE = {
    "name": "t",
    "seed": 5,
    "points": {"line": [[-1.0], [0.2], [0.7]]},
    "architectures": {
        "relu": {"activation": "relu", "points": "line"},
        "erf": {"activation": "erf", "depth": [1, 2], "sigma_w": [1.0, 1.5], "sigma_b": 0.3, "points": "line"},
    },
    "widths": [2, 5],
    "ensemble": {"networks": 400, "block": 128, "replicates": 16},
}


def scan(**changes):
    return check(parse_scan(BASE | changes), "test")


def run(s, root, cluster="inline"):
    for leaf in leaves(s):
        generate(leaf, budget(s), LeafStore(root / leaf.name), cluster)
    return Layout(root)


def data(s, root):
    """Digest of every block by (identity, block)."""
    found = {}
    for leaf in leaves(s):
        store = LeafStore(root / leaf.name)
        rows = store.rows()
        for cell in leaf.cells:
            good, digests = store.good(rows[cell.identity].index, budget(s).most)
            assert good.all()
            found |= {(cell.identity, i): d for i, d in enumerate(digests)}
    return found


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    root = tmp_path_factory.mktemp("reference")
    run(scan(), root)
    return data(scan(), root)


def test_order_of_the_configuration_does_not_matter(reference, tmp_path):
    family = BASE["architectures"]["erf"] | {"depth": [2, 1], "sigma_w": [1.5, 1.0]}
    other = scan(architectures={"second": family, "first": BASE["architectures"]["relu"]}, widths=[5, 2])
    run(other, tmp_path)
    assert data(other, tmp_path) == reference


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_number_of_workers_does_not_matter(reference, tmp_path, workers):
    run(scan(), tmp_path, f"local:{workers}")
    assert data(scan(), tmp_path) == reference


def test_growing_a_scan_computes_only_what_is_new(reference, tmp_path, monkeypatch):
    small = scan(widths=[5], ensemble=BASE["ensemble"] | {"networks": 200},
                 architectures={"relu": BASE["architectures"]["relu"]})  # fmt: skip
    run(small, tmp_path)
    computed = []

    def counted(folder, cell, row, numbers):
        computed.extend((cell.identity, n) for n in numbers)
        return compute_blocks(folder, cell, row, numbers)

    monkeypatch.setattr("nnqft.stages.ensemble.compute_blocks", counted)
    before = data(small, tmp_path)
    run(scan(), tmp_path)
    assert data(scan(), tmp_path) == reference
    assert not set(before) & set(computed)
    assert len(computed) == len(reference) - len(before)
    computed.clear()
    run(scan(), tmp_path)
    assert computed == []


def test_a_change_of_physics_destroys_nothing_and_changing_back_finds_it(reference, tmp_path, monkeypatch):
    run(scan(), tmp_path)
    run(scan(seed=6), tmp_path)
    monkeypatch.setattr("nnqft.stages.ensemble.compute_blocks", lambda *a: pytest.fail("recomputed"))
    run(scan(), tmp_path)
    assert data(scan(), tmp_path) == reference


def test_damaged_blocks_are_computed_again_and_nothing_else(reference, tmp_path, monkeypatch):
    run(scan(), tmp_path)
    chunks = sorted(tmp_path.rglob("blocks.zarr/moments/c/*/*/0/0"))
    chunks[3].write_bytes(b"")
    chunks[-1].write_bytes(chunks[0].read_bytes()[:-2])
    computed = []

    def counted(*arguments):
        computed.extend(arguments[3])
        return compute_blocks(*arguments)

    monkeypatch.setattr("nnqft.stages.ensemble.compute_blocks", counted)
    run(scan(), tmp_path)
    assert len(computed) == 2
    assert data(scan(), tmp_path) == reference


def test_statistics_that_are_not_finite_end_in_a_message(tmp_path):
    huge = {"relu": {"activation": "relu", "depth": 40, "sigma_w": 1e100, "points": "line"}}
    with pytest.raises(GenerationError, match="statistics infinite"):
        run(scan(architectures=huge, widths=[2]), tmp_path)


def test_manifests_are_receipts_of_content(tmp_path):
    s = scan()
    texts = []
    for name in ("a", "b"):
        run(s, tmp_path / name)
        texts.append([(tmp_path / name / leaf.name / "manifest.json").read_text() for leaf in leaves(s)])
    assert texts[0] == texts[1]
    cells = json.loads(texts[0][0])["cells"]
    assert {c["networks"] for c in cells} == {512}


def test_the_product_has_jackknife_groups_however_few_the_blocks(tmp_path):
    s = scan(ensemble={"networks": 130, "block": 130, "replicates": 64})
    layout = Layout(tmp_path)
    for leaf in leaves(s):
        generate(leaf, budget(s), layout.leaf(leaf.name), "inline")
    assemble(s, layout)
    import xarray as xr

    ensemble = xr.open_datatree(layout.store("ensemble"), engine="zarr")["line"].to_dataset()
    assert ensemble.sizes["replicate"] == 64
    assert (ensemble["networks"] == 130).all()
    assert (ensemble["count"].sum("replicate") == 130 * ensemble["pooled"]).all()
    assert (ensemble["count"] > 0).all()
    assert list(ensemble["architecture"].values[:2]) == ["relu", "erf[depth=1,sigma_w=1.0]"]
    assert np.isfinite(ensemble["sum_third"]).all()


def test_a_target_tops_up_only_the_noisy_cells_and_status_tells_what_is_there(tmp_path):
    s = scan(
        architectures={"relu": {"activation": "relu", "points": "line"}},
        widths=[2, 50],
        ensemble={"networks": 40_000, "block": 128, "replicates": 64, "target": {"G4c": 0.02}},
    )
    layout = Layout(tmp_path)
    (leaf,) = leaves(s)
    generate(leaf, budget(s), layout.leaf(leaf.name), "inline")
    cells = json.loads((layout.leaf(leaf.name).manifest).read_text())["cells"]
    asked = {c["width"]: c["blocks"] for c in cells}
    assert {c["budget"] for c in cells} == {"met"}
    assert asked[2] > asked[50] == budget(s).pilot
    assert {c.width: (c.done, c.missing) for c in cell_status(s, layout)} == {w: (b, 0) for w, b in asked.items()}
    (layout.leaf(leaf.name).manifest).unlink()  # as if it had been stopped before its end
    for thorough in (False, True):
        found = {c.width: (c.done, c.missing, c.corrupt) for c in cell_status(s, layout, thorough)}
        assert found == {w: (b, 0, 0) for w, b in asked.items()}


def test_a_target_out_of_reach_ends_at_the_ceiling_with_the_blocks_of_a_fixed_budget(tmp_path):
    relu = {"relu": {"activation": "relu", "points": "line"}}
    fixed = scan(architectures=relu, widths=[2])
    aimed = scan(architectures=relu, widths=[2], ensemble=BASE["ensemble"] | {"target": {"G4c": 1e-4}})
    run(fixed, tmp_path / "fixed")
    run(aimed, tmp_path / "aimed")
    assert data(aimed, tmp_path / "aimed") == data(fixed, tmp_path / "fixed")
    outcomes = [
        json.loads((tmp_path / name / leaf.name / "manifest.json").read_text())["cells"][0]["budget"]
        for name, s in (("fixed", fixed), ("aimed", aimed))
        for leaf in leaves(s)
    ]
    assert outcomes == ["fixed", "ceiling"]
