"""Sweeps, identities, leaves, budgets."""

import pickle

import cloudpickle

from nnqft.core.hashing import digest
from nnqft.sampling.block import canonical
from nnqft.sampling.budget import budget
from nnqft.sampling.cells import cells, leaves
from nnqft.spec.grid import architectures
from nnqft.spec.load import parse_scan

BASE = {
    "name": "a",
    "seed": 1,
    "points": {"line": [[-1.0], [0.5]], "near": [[0.01], [0.014]]},
    "architectures": {
        "erf-deep": {"activation": "erf", "sigma_w": [1.0, 1.3], "depth": [1, 2], "sigma_b": 0.3, "points": "line"},
    },
    "widths": [2, 3],
    "ensemble": {"networks": 1000, "block": 256},
}


def scan(**changes):
    return parse_scan(BASE | changes)


def identities(s):
    return {(c.architecture.name, c.width): c.identity for c in cells(s)}


def test_sweeps_are_named_by_their_swept_keys_in_the_order_written():
    names = [a.name for a in architectures(scan())]
    assert names == [f"erf-deep[sigma_w={w},depth={d}]" for w in (1.0, 1.3) for d in (1, 2)]
    single = scan(architectures={"erf": {"activation": "erf", "depth": [3], "points": "line"}})
    assert [a.name for a in architectures(single)] == ["erf[depth=3]"]
    activations = scan(architectures={"e": {"activation": ["erf", "tanh"], "points": "line"}})
    assert [a.name for a in architectures(activations)] == ["e[activation='erf']", "e[activation='tanh']"]


def test_names_and_order_do_not_change_identities():
    family = BASE["architectures"]["erf-deep"]
    reversed_sweep = family | {"sigma_w": [1.3, 1.0], "depth": [2, 1]}
    a, b = identities(scan()), identities(scan(architectures={"x": reversed_sweep}, widths=[3, 2], name="other"))
    assert set(a.values()) == set(b.values())
    assert a["erf-deep[sigma_w=1.3,depth=2]", 3] == b["x[sigma_w=1.3,depth=2]", 3]


def test_physics_changes_identities():
    base = set(identities(scan()).values())
    for change in (
        {"seed": 2},
        {"points": BASE["points"] | {"line": [[-1.0], [0.6]]}},
        {"ensemble": BASE["ensemble"] | {"estimator": "product"}},
        {"ensemble": BASE["ensemble"] | {"sampler": "weights"}},
        {"ensemble": BASE["ensemble"] | {"block": 128}},
        {"ensemble": BASE["ensemble"] | {"precision": "float64"}},
        {"cumulants": {"orders": [2, 4]}},
    ):
        assert not base & set(identities(scan(**change)).values())


def test_more_networks_or_replicates_keep_identities():
    more = scan(ensemble=BASE["ensemble"] | {"networks": 10_000, "replicates": 200})
    assert identities(scan()) == identities(more)
    assert (budget(scan()).most, budget(more).most) == (4, 40)


def test_draws_depend_on_seed_architecture_and_width_only():
    plain = {c.identity: digest(c.draws()) for c in cells(scan())}
    product = [digest(c.draws()) for c in cells(scan(ensemble=BASE["ensemble"] | {"estimator": "product"}))]
    assert sorted(plain.values()) == sorted(product)
    assert len(set(plain.values())) == len(plain)


def test_the_same_law_under_two_names_is_generated_once():
    family = BASE["architectures"]["erf-deep"]
    found = leaves(scan(architectures={"a": family, "b": family}))
    assert sorted(leaf.static["kind"] for leaf in found) == ["marginal", "neurons"]  # depth 2 is too narrow for total
    assert sum(len(leaf.cells) for leaf in found) == 4 * 2


def test_close_points_are_computed_in_double_precision():
    near = {"g": {"activation": "erf", "points": "near", "sigma_b": 1.0}}
    assert {c.precision for c in cells(scan())} == {"float32"}
    assert {c.precision for c in cells(scan(architectures=near))} == {"float64"}


def test_a_cell_that_travelled_to_a_worker_has_the_same_compiled_kernel():
    """Whatever it had cached before: an activation that is pickled by value would compile anew for every task."""
    for cell in cells(scan()):
        assert cell.spec
        there = pickle.loads(cloudpickle.dumps(cell))
        assert there == cell
        assert canonical(there.spec) == canonical(cell.spec)
        assert there.identity == cell.identity
