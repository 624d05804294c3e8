"""Selected components are those of the full estimate, at a cost that does not know of the others."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from nnqft.core.errors import InputError
from nnqft.core.hashing import digest
from nnqft.core.packing import multisets, number, rank
from nnqft.core.selection import select
from nnqft.nets.registry import network
from nnqft.predictions.outputs import theory
from nnqft.sampling.block import BlockSpec, _compiled, canonical, tile_lanes
from nnqft.sampling.cells import cells, leaves
from nnqft.sampling.check import check
from nnqft.sampling.groups import measure
from nnqft.sampling.kinds import MEMORY_LIMIT, memory
from nnqft.spec.grid import architecture
from nnqft.spec.load import parse_scan

PLANE = np.random.default_rng(1).normal(size=(4, 2))
GRID = np.array([[0.5 * i + 0.25, 0.5 * j + 0.25] for i in range(-4, 4) for j in range(-4, 4)])
PAIRS = select(64, (2, 4), ("aaaa", "aabb"))

SCAN = {
    "name": "many",
    "seed": 3,
    "points": {"grid": GRID.tolist(), "few": PLANE.tolist()},
    "architectures": {"erf": {"activation": "erf", "sigma_b": 0.3, "points": "grid"}},
    "widths": [10],
    "ensemble": {"networks": 4096, "block": 1024},
    "cumulants": {"orders": [2, 4], "components": {"grid": {"patterns": ["aaaa", "aabb"]}}},
}


def scan(**changes):
    return parse_scan(SCAN | changes)


CASES = {
    "neurons": ({"activation": "erf"}, 8, {}),
    "tilted": ({"activation": "gauss"}, 6, {"sampler": "tilted"}),
    "total": ({"activation": "relu", "depth": 2}, 6, {}),
    "marginal": ({"activation": "tanh", "depth": 2}, 6, {"estimator": "marginal"}),
    "other readout": ({"activation": "tanh", "depth": 2, "readout_law": "uniform"}, 6, {"estimator": "marginal"}),
    "product": ({"activation": "erf"}, 4, {"estimator": "product"}),
}


@pytest.mark.parametrize("case", CASES)
def test_selected_components_are_those_of_the_full_estimate(case):
    options, order, how = CASES[case]
    a, orders = architecture(PLANE, sigma_b=0.3, **options), tuple(range(2, order + 1, 2))
    wanted = {4: ("aabb",), 6: ("aabbbb",), 8: ("aaabbbbb",)}
    chosen = select(4, orders, sum((wanted[k] for k in orders[1:]), ()), (), ((0, 0, 1, 3),))
    arguments = {"max_order": order, "precision": "float64", "networks": 1000} | how
    everything, found = measure(a, 10, **arguments), measure(a, 10, components=chosen, **arguments)
    assert set(found.values) == set(everything.values)
    for k in orders[1:]:
        where = rank(multisets(chosen, k), 4)
        assert len(where) < number(4, k)
        for name in (f"G{k}c", f"G{k}"):
            size = everything.stderr[name].max()
            for field in ("values", "replicates", "stderr"):
                one, other = getattr(found, field)[name], getattr(everything, field)[name][..., where]
                np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * size)
    np.testing.assert_allclose(found.values["G2"], everything.values["G2"], rtol=1e-12)


@pytest.mark.parametrize("activation", ["erf", "relu"])
def test_sixty_four_points_agree_with_exact_theory(activation):
    a, width = architecture(GRID, activation, sigma_b=0.3), 20
    found = measure(a, width, 4096, max_order=4, components=PAIRS)
    some = select(64, (2, 4), (), ((0, 9, 18, 63),))  # theory of a few of them: the others are in the workflow's verify
    exact = theory(replace(a, coordinates=tuple(a.coordinates[i] for i in (0, 9, 18, 63))), [width], (2, 4))
    both = np.array([i for i, legs in enumerate(multisets(some, 4).tolist()) if legs in multisets(PAIRS, 4).tolist()])
    where = rank(multisets(some, 4)[both], PAIRS)
    pulls = (found.values["G4c"][where] - exact.values["G4c"][0][both]) / found.stderr["G4c"][where]
    assert len(pulls) == 4 + 6
    assert np.abs(pulls).max() < 4.5
    assert found.trusted[4]


@pytest.mark.parametrize(("kind", "depth"), [("neurons", 1), ("total", 2), ("marginal", 2), ("product", 1)])
def test_sixty_four_points_stay_within_the_memory_estimate(kind, depth):
    a = architecture(GRID, "erf", depth, sigma_b=0.3)
    spec = canonical(BlockSpec(network(a, 10, "conditional", "float32"), kind, 64, 16_384, 4, PAIRS))
    law = np.zeros(2, np.uint32), GRID, np.float64(1), np.float64(0.3), np.zeros(2080), np.ones(2080)
    compiled = _compiled(spec, tile_lanes(spec), 1).lower(np.uint32(10), *map(jax.numpy.asarray, law)).compile()
    used = compiled.memory_analysis()
    assert used.temp_size_in_bytes + used.output_size_in_bytes < memory(spec) < 64 * 2**20 < MEMORY_LIMIT


def test_too_many_components_are_refused_with_the_selection_as_the_remedy():
    check(scan(), "many.yaml")
    with pytest.raises(InputError, match=r"many.yaml: architectures.erf.points: 64 points.*cumulants.components"):
        check(scan(cumulants={"orders": [2, 4]}), "many.yaml")
    with pytest.raises(InputError, match=r"cumulants.components"):
        check(scan(cumulants={"orders": [2, 4, 6, 8]}), "many.yaml")  # without listing ten thousand million components
    subsets = {"components": {"grid": {"patterns": ["aabc"]}}, "orders": [2, 4]}
    with pytest.raises(InputError, match=r"points.grid: the stores .* select components"):
        check(scan(cumulants=subsets, widths=list(range(1, 100))), "many.yaml")


def test_a_selection_is_part_of_the_identity_and_not_of_the_draws():
    plain = scan(architectures={"erf": SCAN["architectures"]["erf"] | {"points": "few"}})
    (one,) = cells(plain)
    assert "components" not in one.static
    assert "components" in plain.model_dump()["cumulants"]
    assert "components" not in scan(cumulants={"orders": [2, 4]}).model_dump()["cumulants"]
    found = {}
    for name, chosen in {
        "patterns": {"patterns": ["aaaa", "aabb"]},
        "same": {"patterns": ["aabb", "aaaa", "abab"]},
        "subset": {"subsets": [[0, 1]]},
        "all": {"subsets": [[0, 1, 2, 3]]},
    }.items():
        (found[name],) = cells(scan(
            cumulants={"orders": [2, 4], "components": {"few": chosen}},
            architectures={"erf": SCAN["architectures"]["erf"] | {"points": "few"}},
        ))  # fmt: skip
    assert found["patterns"].identity == found["same"].identity
    assert found["all"].identity == one.identity
    assert len({c.identity for c in found.values()}) == 3
    assert len({digest(c.draws()) for c in found.values()}) == 1


def test_one_leaf_holds_one_selection():
    two = SCAN["architectures"] | {"few": SCAN["architectures"]["erf"] | {"points": "few"}}
    found = leaves(scan(architectures=two))
    assert [leaf.cells[0].components is None for leaf in found] == [False, True]
