import json

from nnqft.stages.layout import STAGES
from nnqft.stages.provenance import code_checksum, leaf_checksums, manifest, versions, wall_times


def test_the_manifest_has_all_that_makes_the_results_again(finished):
    scan, layout = finished
    found = json.loads(layout.manifest.read_text())
    assert found["configuration"] == scan.model_dump(mode="json")
    assert found["architectures"] == ["relu", "erf[sigma_w=1.0]", "erf[sigma_w=1.3]", "gauss"]
    assert found["seed"] == scan.seed
    assert set(found["data_sha256"]) == {f"{stage}.zarr" for stage in STAGES["cumulants"]}
    assert set(found["leaves_sha256"]) == {path.name for path in (layout.root / "leaves").iterdir()}
    assert found["versions"] == versions()
    assert {"python", "nnqft", "numpy", "jax", "zarr", "xarray", "snakemake"} <= set(found["versions"])


def test_the_code_checksum_sees_names_and_contents(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "notes.txt").write_text("not code")
    first = code_checksum(tmp_path)
    (tmp_path / "notes.txt").write_text("still not code")
    assert code_checksum(tmp_path) == first
    (tmp_path / "a.py").write_text("x = 2\n")
    second = code_checksum(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({first, second, code_checksum(tmp_path)}) == 3


def test_checksums_change_with_the_data(finished, small_results):
    scan, layout = small_results
    before = leaf_checksums(scan, layout)
    name = next(iter(before))
    receipt = layout.leaf(name).manifest
    text = receipt.read_text()
    try:
        receipt.write_text(text + " ")
        after = leaf_checksums(scan, layout)
    finally:
        receipt.write_text(text)
    assert {key for key in before if before[key] != after[key]} == {name}


def test_without_a_workflow_there_are_no_wall_times(tmp_path, finished):
    assert wall_times(tmp_path / "benchmarks") == {}
    (tmp_path / "empty.tsv").write_text("")
    (tmp_path / "twice.tsv").write_text("s\tx\n1.5\t0\n2.5\t0\n")
    assert wall_times(tmp_path) == {"twice": 2.5}
    assert manifest(*finished)["name"] == "small"
