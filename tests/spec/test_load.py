"""Every mistake in a scan file: one message with file, key path and remedy."""

import copy

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nnqft.core.errors import InputError
from nnqft.sampling.check import check
from nnqft.spec.load import parse_scan, read_scan

GOOD = {
    "name": "a",
    "seed": 1,
    "points": {"ray": [[0.2], [0.4]]},
    "architectures": {"relu": {"activation": "relu", "points": "ray"}},
    "widths": [2, 3],
    "ensemble": {"networks": 64, "block": 64},
}


def selection(points="ray", **lists):
    return {"orders": [2, 4], "components": {points: lists}}


MISTAKES = [
    (("widths",), [2, 2], "widths", "twice"),
    (("widths",), [0], "widths.0", "greater than or equal to 1"),
    (("widths",), [], "widths", "at least one"),
    (("widths",), "a", "widths", "list"),
    (("wdths",), 1, "wdths", "did you mean widths"),
    (("seed",), None, "seed", "integer"),
    (("seed",), -1, "seed", "greater than or equal to 0"),
    (("name",), "../x", "name", "letters, digits"),
    (("points", "ray"), [[0.2], [0.4, 0.5]], "points.ray", "different numbers of coordinates"),
    (("points", "ray"), [[float("nan")]], "points.ray.0.0", "finite"),
    (("points", "ray"), [0.2], "points.ray.0", "list"),
    (("architectures", "relu"), 3, "architectures.relu", "mapping"),
    (("architectures", "relu", "dept"), 3, "architectures.relu.dept", "did you mean depth"),
    (("architectures", "relu", "depth"), 0, "architectures.relu.depth", "greater than or equal to 1"),
    (("architectures", "relu", "depth"), [1, 0], "architectures.relu.depth", "greater than or equal to 1"),
    (("architectures", "relu", "sigma_w"), -1, "architectures.relu.sigma_w", "greater than 0"),
    (("architectures", "relu", "sigma_w"), True, "architectures.relu.sigma_w", "not true or false"),
    (("architectures", "relu", "sigma_b"), [1.0, "x"], "architectures.relu.sigma_b", "number"),
    (("architectures", "relu", "points"), "r", "architectures.relu.points", "defined are: ray"),
    (("architectures", "relu", "activation"), "rellu", "architectures.relu.activation", "use one of linear, relu"),
    (("architectures", "relu", "network"), "mpl", "architectures.relu.network", "use one of "),
    (("ensemble", "networks"), "1e6x", "ensemble.networks", "integer"),
    (("ensemble", "networks"), 1.5, "ensemble.networks", "integer"),
    (("ensemble", "sampler"), "foo", "ensemble.sampler", "'conditional', 'weights' or 'tilted'"),
    (("ensemble", "target"), {"G8c": 0.1}, "ensemble.target.G8c", "add 8 to cumulants.orders"),
    (("ensemble", "target"), {"G4c": 0}, "ensemble.target.G4c", "greater than 0"),
    (("ensemble", "target"), {"G5c": 0.1}, "ensemble.target.G5c: input should be", "use one of these"),
    (("architectures", "relu", "options"), {"filtre": 3}, "architectures.relu.options.filtre", "options of mlp"),
    (("architectures", "relu", "activation"), None, "architectures.relu.activation", "use one of linear, relu"),
    (("ensemble", "replicates"), 128, "ensemble.replicates", "give replicates: 64"),
    (("cumulants",), {"orders": [2, 6]}, "cumulants", "an order needs those below it"),
    (("cumulants",), selection("line"), "cumulants.components.line", "defined are: ray"),
    (("cumulants",), selection(patern=["aaaa"]), "cumulants.components.ray.patern", "did you mean patterns"),
    (("cumulants",), selection(patterns=["aa"]), "cumulants.components.ray.patterns.0", "match pattern"),
    (("cumulants",), selection(patterns=["aabbcc"]), "cumulants.components.ray", "patterns of 6 legs"),
    (("cumulants",), selection(patterns=["abcd"]), "cumulants.components.ray", "more letters than the 2 points"),
    (("cumulants",), selection(tuples=[[0, 0, 1, 1, 1]]), "cumulants.components.ray", "tuples of 5 legs"),
    (("cumulants",), selection(tuples=[[0, 0, 1, 2]]), "cumulants.components.ray", "counted from 0"),
    (
        ("cumulants",),
        selection(subsets=[[0, -1]]),
        "cumulants.components.ray.subsets.0.1",
        "greater than or equal to 0",
    ),
    (("cumulants",), selection(), "cumulants.components.ray", "select at least one"),
    (("couplings",), {"models": [["lambda_1"]]}, "couplings.models.0.0", "lambda_0"),
    (("couplings",), {"cutoffs": [0]}, "couplings.cutoffs.0", "greater than 0"),
]


def changed(path, value):
    data = copy.deepcopy(GOOD)
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


@pytest.mark.parametrize(("path", "value", "key", "part"), MISTAKES, ids=[f"{m[2]}={m[1]!r}"[:50] for m in MISTAKES])
def test_a_mistake_is_named_with_file_key_and_remedy(path, value, key, part):
    with pytest.raises(InputError) as error:
        check(parse_scan(changed(path, value), "scan.yaml"), "scan.yaml")
    message = str(error.value)
    assert message.startswith(f"scan.yaml: {key}")
    assert part in message
    assert "; " in message
    assert "\n" not in message


def test_a_missing_key_is_named():
    data = {k: v for k, v in GOOD.items() if k != "seed"}
    with pytest.raises(InputError, match=r"scan\.yaml: seed: is missing; add it"):
        parse_scan(data, "scan.yaml")


def test_the_gauss_net_is_refused_beyond_one_hidden_layer():
    data = changed(("architectures", "relu"), {"activation": "gauss", "depth": [1, 2], "points": "ray"})
    with pytest.raises(InputError, match="infinite variance"):
        check(parse_scan(data), "scan.yaml")


@pytest.mark.parametrize(
    ("text", "part"),
    [("a: 1\na: 2\n", "stands twice"), ("a: [1\n", "line"), ("- 1\n", "holds no mapping"), ("", "holds no mapping"),
     ("1: 2\n", "not text"), ("!!python/object:os.system {}\n", "not valid YAML")],
)  # fmt: skip
def test_files_that_are_no_scan_are_refused(tmp_path, text, part):
    path = tmp_path / "scan.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=part):
        read_scan(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_scan(tmp_path / "none.yaml")


def test_numbers_as_yaml_writes_them(tmp_path):
    path = tmp_path / "scan.yaml"
    path.write_text(yaml.safe_dump(GOOD).replace("networks: 64", "networks: 1e6"))
    assert read_scan(path).ensemble.networks == 1_000_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
PATHS = [tuple(path.split(".")) for path in (
    "seed", "points", "points.ray", "architectures", "architectures.relu", "architectures.relu.depth", "widths",
    "ensemble", "ensemble.block", "couplings", "name",
)]  # fmt: skip


@settings(max_examples=300, deadline=None, derandomize=True)
@given(path=st.sampled_from(PATHS), value=JSON)
def test_no_value_whatever_raises_anything_but_an_input_error(path, value):
    message = "scan.yaml: accepted"
    try:
        check(parse_scan(changed(path, value), "scan.yaml"), "scan.yaml")
    except InputError as error:
        message = str(error)
    assert message.startswith("scan.yaml")
    assert "\n" not in message
