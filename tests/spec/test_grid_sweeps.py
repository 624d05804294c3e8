"""Which architectures are one sweep."""

from nnqft.spec.grid import architectures, sweeps
from nnqft.spec.load import parse_scan
from nnqft.stages.gallery import figures

SCAN = {
    "name": "sweeps",
    "seed": 1,
    "points": {"line": [[0.5], [1.0]], "near": [[0.1]]},
    "architectures": {
        "erf": {"activation": "erf", "sigma_w": [1.0, 1.5], "depth": [4, 1, 2], "points": "line"},
        "one": {"activation": "erf", "depth": [3], "points": "line"},
        "gauss": {"activation": "gauss", "sigma_w": [1.0, 0.5], "points": "near"},
    },
    "widths": [8, 16],
}


def names(group, key):
    return [[group[i].name for i in places] for places in sweeps(group, key)]


def test_a_sweep_changes_one_hyperparameter_and_rises():
    everything = architectures(parse_scan(SCAN))
    assert names(everything, "depth") == [
        [f"erf[sigma_w={sigma},depth={depth}]" for depth in (1, 2, 4)] for sigma in (1.0, 1.5)
    ]
    assert names(everything, "sigma_w")[-1] == ["gauss[sigma_w=0.5]", "gauss[sigma_w=1.0]"]
    assert len(names(everything, "sigma_w")) == 4
    assert names(everything, "sigma_b") == []


def test_every_scan_has_the_figures_that_need_no_sweep():
    kinds = figures(parse_scan(SCAN))
    assert list(kinds)[:4] == ["deviations", "scaling", "couplings", "pulls"]
    assert kinds["scaling"].points == ("line", "near")
    assert kinds["couplings"].stores == ("cumulants", "couplings", "flow")


def changed(**changes):
    return figures(parse_scan(SCAN | changes))


def test_figures_that_would_say_nothing_are_not_drawn():
    assert changed()["sextic"].points == changed()["sixpoints"].points == changed()["action"].points == ("line", "near")
    assert not {"sextic", "sixpoints"} & set(changed(cumulants={"orders": [2, 4]}))
    assert "action" in changed(cumulants={"orders": [2, 4]})
    assert "action" not in changed(cumulants={"orders": [2]})
    deep = {"deep": {"activation": "erf", "depth": 3, "points": "line"}}
    assert "sixpoints" not in changed(architectures=deep)
    cosine = deep | {"cos": {"network": "cosine", "points": "near"}, "tanh": {"activation": "tanh", "points": "line"}}
    assert changed(architectures=cosine)["sextic"].points == ("near",)
    selected = {"orders": [2, 4], "components": {"line": {"patterns": ["aabb"]}}}
    assert changed(cumulants=selected)["action"].points == ("near",)
