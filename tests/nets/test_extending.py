"""The worked example of docs/extending.md: another package's network and activation, found by entry points."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from nnqft.estimation.agreement import agreement
from nnqft.nets import registry
from nnqft.predictions.outputs import theory
from nnqft.sampling.budget import budget
from nnqft.sampling.cells import leaves
from nnqft.sampling.check import check
from nnqft.spec.grid import architecture
from nnqft.spec.load import parse_scan
from nnqft.stages.assemble import assemble
from nnqft.stages.cumulants import estimate_cumulants
from nnqft.stages.ensemble import generate
from nnqft.stages.layout import Layout
from nnqft.storage.product import read_tree

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture
def installed(monkeypatch):
    """The page's code blocks, as if a package with those entry points were installed."""
    namespace = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, namespace)
    found = {"nnqft.networks": {"gated": "Gated"}, "nnqft.activations": {"swish": "SWISH"}}

    def entry_points(group):
        names = found[group]
        return [SimpleNamespace(name=name, load=lambda key=key: namespace[key]) for name, key in names.items()]

    caches = registry.networks, registry.activations, registry.network
    monkeypatch.setattr(registry, "entry_points", entry_points)
    for cache in caches:
        cache.cache_clear()
    yield namespace
    for cache in caches:
        cache.cache_clear()


def test_the_activation_has_samples_and_predictions(installed):
    a = architecture([[-0.4], [0.9]], "swish", depth=2, sigma_w=1.2, sigma_b=0.3)
    found = theory(a, [32])
    assert found.prediction[4] == "leading-1/N"
    assert np.isfinite(found.values["G4c"]).all()


def test_the_network_runs_through_the_pipeline_and_agrees_with_its_kernel(installed, tmp_path):
    example = installed["Gated"].examples[0]
    data = {
        "name": "t", "seed": 3, "points": {"p": example["x"]}, "widths": [8],
        "architectures": {"g": {"network": "gated", "points": "p"} | {k: v for k, v in example.items() if k != "x"}},
        "ensemble": {"networks": 16_384, "block": 4096},
    }  # fmt: skip
    scan = check(parse_scan(data), "test")
    layout = Layout(tmp_path)
    for leaf in leaves(scan):
        assert leaf.static["kind"] == "neurons"
        generate(leaf, budget(scan), layout.leaf(leaf.name), "inline")
    assemble(scan, layout)
    estimate_cumulants(scan, layout)
    found = read_tree(layout.store("cumulants"))["p"].to_dataset().load()
    kernel = theory(architecture(**example, network="gated"), [8]).values["G2"][0]
    result = agreement(found["G2"].values[0, 0], found["G2_replicate"].values[0, 0], kernel)
    assert result.p_value > 1e-3
    assert result.worst < 4.5
    assert (found["G2_stderr"].values < 0.05 * np.abs(found["G2"].values).max()).all()
