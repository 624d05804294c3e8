"""Criticality and trainability through the engine: stores, resumption, refusals, the workflow's own view."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr
import yaml

from nnqft.cli.show import show_plan
from nnqft.core.errors import InputError
from nnqft.criticality import corrected, finite_width, lyapunov_theory, mean_field
from nnqft.criticality.crossing import crossing
from nnqft.sampling.unit import packed, unpacked
from nnqft.spec.load import parse_scan
from nnqft.stages.check import check
from nnqft.stages.criticality_sheets import exact_tests
from nnqft.stages.ensemble import generate_all
from nnqft.stages.layout import Layout
from nnqft.stages.pipeline import make_products
from nnqft.stages.tables import all_tables
from nnqft.stages.work import all_work
from nnqft.stages.workflow import workflow

SCAN = {
    "name": "critical",
    "seed": 3,
    "points": {"pair": [[1.0, 0.0], [0.6, 0.8]], "one": [[1.0]]},
    "architectures": {
        "tanh": {"activation": "tanh", "depth": 20, "sigma_w": [0.9, 1.8], "sigma_b": 0.3, "points": "pair",
                 "measure": ["criticality"]},
        "driven": {"network": "recurrent", "activation": "tanh", "depth": 60, "sigma_w": 1.5, "sigma_b": 0.2,
                   "points": "one", "options": {"inject": "first", "noise": 0.1}, "measure": ["criticality"]},
    },
    "widths": [24],
    "criticality": {"networks": 512, "block": 128,
                    "recurrent": {"networks": 16, "block": 4, "burn": 10, "times": 3, "horizon": 5},
                    "map": {"points": [5, 3]}},
    "trainability": {"tiny": {"sigma_w": [1.0, 1.6], "sigma_b": 0.2, "depth": [2], "width": 8, "seeds": 2,
                              "steps": 20}},
}  # fmt: skip


def generated(scan, folder):
    layout = Layout(folder / scan.name)
    generate_all([(w.leaf, w.budget, layout.leaf(w.leaf.name)) for w in all_work(scan)], "inline")
    return layout


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    scan = check(parse_scan(SCAN), "scan.yaml")
    layout = generated(scan, tmp_path_factory.mktemp("results"))
    make_products(scan, layout)
    return scan, layout


def group(layout, stage, name):
    return xr.open_datatree(layout.store(stage), engine="zarr")[name].to_dataset().load()


def test_stores_hold_theory_beside_measurements(results):
    _, layout = results
    assert not layout.store("cumulants").exists()
    data = group(layout, "criticality", "pair")
    assert list(data["architecture"].values) == ["tanh[sigma_w=0.9]", "tanh[sigma_w=1.8]"]
    at, more = mean_field("tanh", [0.9, 1.8], 0.3), corrected("tanh", [0.9, 1.8], 0.3)
    for name in ("q_star", "c_star", "chi_par", "chi_perp", "xi_q", "xi_c"):
        np.testing.assert_allclose(data[name].values, getattr(at, name), rtol=1e-12)
    np.testing.assert_allclose(data["lyapunov_theory"], np.log(at.chi_perp) / 2, rtol=1e-12)
    np.testing.assert_allclose(data["xi_c_corrected"][0, 0], more.xi_c(24)[0], rtol=1e-12)
    layers = finite_width("tanh", 0.9, 0.3, 0.09 + 0.81 * np.array([[0.5, 0.3], [0.3, 0.5]]), 20)
    np.testing.assert_allclose(data["G1"].values[0], layers.G1, rtol=1e-10)
    quads = data["quad_points"].values.tolist()
    assert data["V"].dims == ("architecture", "layer", "quad")
    assert data["V"].values[0, -1, quads.index([0, 0, 1, 1])] == pytest.approx(layers.V[-1][0, 2])
    assert data["V"].values[0, -1, quads.index([0, 1, 1, 1])] == pytest.approx(layers.V[-1][1, 2])
    for name in ("V_measured", "G1_measured", "xi_q_measured", "lyapunov"):
        assert f"{name}_stderr" in data
    assert data["networks"].values.tolist() == [[512], [512]]
    driven = group(layout, "criticality", "one")
    assert driven["lyapunov_theory"].item() == pytest.approx(lyapunov_theory("tanh", 1.5, 0.2, 0.1))
    assert abs(driven["lyapunov"].item() - driven["lyapunov_theory"].item()) < 0.1


def test_what_is_exact_at_every_width_is_met(results):
    _, layout = results
    groups = {name: group(layout, "criticality", name) for name in ("pair", "one")}
    found = exact_tests(groups)
    assert found.components == 2 * (6 + 3) + 2  # V, G1 of two architectures; C(1, 1), C(0, 1)
    assert min(found.p_worst, found.p_combined) > 1e-3
    wrong = {**groups, "pair": groups["pair"].assign(V_pairs=1.5 * groups["pair"]["V_pairs"])}
    assert exact_tests(wrong).p_combined < 1e-4


def test_a_map_of_training_has_its_networks(results):
    scan, layout = results
    data = group(layout, "trainability", "tiny")
    assert data["accuracy"].dims == ("sigma_w", "depth")
    np.testing.assert_allclose(data["accuracy_networks"].mean("network"), data["accuracy"])
    assert (data["accuracy_stderr"] > 0).all()
    np.testing.assert_allclose(data["xi_c"], mean_field("tanh", [1.0, 1.6], 0.2).xi_c)
    tables = all_tables(scan, layout)
    assert set(tables) == {"criticality", "trainability"}
    assert tables["trainability"].column("accuracy") == data["accuracy"].values.ravel().tolist()
    measured = [row["lyapunov"] for row in tables["criticality"].records() if row["points"] == "pair"]
    assert measured == group(layout, "criticality", "pair")["lyapunov"].values.ravel().tolist()


def test_numbers_depend_on_content_not_on_names_or_order(results, tmp_path):
    """Other names, order and number of blocks; a swept value that was there before stays bit for bit."""
    _, layout = results
    other = copy.deepcopy(SCAN)
    tanh = other["architectures"].pop("tanh")
    other["architectures"]["another"] = tanh | {"sigma_w": [1.8]}
    other["trainability"] = {"renamed": SCAN["trainability"]["tiny"] | {"sigma_w": [1.6]}}
    scan = parse_scan(other)
    again = generated(scan, tmp_path)
    make_products(scan, again)
    for name in ("V_measured", "lyapunov", "xi_q_measured"):
        first, second = (group(at, "criticality", "pair")[name].values for at in (layout, again))
        np.testing.assert_array_equal(first[1:], second)
    np.testing.assert_array_equal(
        group(layout, "criticality", "one")["two_time"], group(again, "criticality", "one")["two_time"]
    )
    accuracy = [group(layout, "trainability", "tiny")["accuracy"], group(again, "trainability", "renamed")["accuracy"]]
    np.testing.assert_array_equal(accuracy[0].values[1:], accuracy[1].values)


def changed(**architecture):
    scan = copy.deepcopy(SCAN)
    scan["architectures"] = {"a": {"activation": "tanh", "points": "pair", "measure": ["criticality"]} | architecture}
    return scan


@pytest.mark.parametrize(
    ("scan", "where", "what"),
    [
        (changed(activation="gauss"), "architectures.a.activation", "infinite beyond one hidden layer"),
        (changed(network="residual"), "architectures.a.network", "not residual"),
        (changed(options={"norm": "rms"}), "architectures.a.network", "with options"),
        (changed(network="recurrent", points="one", depth=100), "architectures.a.options.inject", "without input"),
        (changed(network="recurrent", depth=100, options={"inject": "first"}), "architectures.a.points", "from one"),
        (changed(network="recurrent", points="one", options={"inject": "first"}), "architectures.a.depth", "too few"),
        (changed(heldout="one"), "architectures.a.heldout", "only correlators"),
        (changed(measure=["criticality", "cumulants"], network="recurrent", points="one", depth=100,
                 options={"inject": "first", "noise": 0.1}), "architectures.a.options.noise", "not measured"),
        (SCAN | {"trainability": {"x": {"sigma_w": [1.0], "depth": [2], "activation": "gauss"}}},
         "trainability.x.activation", "cannot be trained"),
        (SCAN | {"trainability": {"x": SCAN["trainability"]["tiny"], "y": SCAN["trainability"]["tiny"]}},
         "trainability.y", "nothing but"),
        (SCAN | {"criticality": {"map": {"sigma_w": [0.0, 1.0]}}}, "criticality.map", "no interval"),
    ],
)  # fmt: skip
def test_refusals_name_the_key(scan, where, what):
    with pytest.raises(InputError) as error:
        check(parse_scan(scan, "scan.yaml"), "scan.yaml")
    assert error.value.where == f"scan.yaml: {where}"
    assert what in error.value.what
    assert error.value.remedy


def test_the_workflow_asks_for_what_is_measured_and_nothing_else():
    flow = workflow(SCAN, "scan.yaml")
    assert flow.stages == ["criticality", "trainability"]
    assert flow.tables == ["criticality", "trainability"]
    assert set(flow.galleries) == {"criticality", "trainability"}
    assert {work.measurement for work in flow.work.values()} == {"criticality", "trainability"}
    both = workflow(changed(measure=["cumulants", "criticality"], depth=2) | {"trainability": {}}, "scan.yaml")
    assert both.stages[0] == "ensemble"
    assert both.stages[-1] == "criticality"
    assert len(both.leaves("cumulants")) == len(both.leaves("criticality")) == 1


def test_sums_travel_as_one_array():
    layout = {"a": (), "b": (2, 3)}
    sums = {"a": np.arange(4.0), "b": np.arange(24.0).reshape(4, 2, 3)}
    block = packed(sums, layout, np.ones(4, dtype=np.int64))
    assert block.moments.shape == (4, 7)
    for name, value in unpacked(block.moments, layout).items():
        np.testing.assert_array_equal(value, sums[name])


def test_where_an_exponent_changes_sign():
    """The error is that of repeated measurements; no change of sign, no answer."""
    x, rng = np.linspace(0.8, 2.0, 9), np.random.default_rng(2)
    exact, error = np.log(x / 1.37) + 0.1 * np.log(x / 1.37) ** 2, np.full(9, 0.02)
    assert crossing(x, exact, error)[0] == pytest.approx(1.37, rel=1e-12)
    found = np.array([crossing(x, exact + 0.02 * rng.normal(size=9), error) for _ in range(400)])
    pulls = (found[:, 0] - 1.37) / found[:, 1]
    assert abs(pulls.mean()) < 4 / 20
    assert 0.75 < pulls.std() < 1.15  # errors are enlarged where chi^2 is large by chance
    assert np.isnan(crossing(x, exact - 1, error)).all()
    assert np.isnan(crossing(x[:1], exact[:1], error[:1])).all()
    assert crossing(x[3:6], exact[3:6] - exact[4] + 0.01, error[3:6])[0] < x[4]


def test_plan_names_every_point(tmp_path, capsys):
    path = tmp_path / "scan.yaml"
    path.write_text(yaml.safe_dump(SCAN, sort_keys=False))
    show_plan(path, as_json=False)
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert rows["tanh[sigma_w=0.9]"][:4] == ["24", "chain", "4", "512"]
    assert rows["driven"][1] == "dynamics"
    assert rows["tiny[depth=2,sigma_w=1.6]"][:4] == ["8", "descent", "2", "2"]


@pytest.mark.slow
def test_the_workflow_makes_everything(tmp_path):
    """By Snakemake, on a cluster; then verified, compared with itself, and damage noticed."""
    path = tmp_path / "scan.yaml"
    path.write_text(yaml.safe_dump(SCAN, sort_keys=False))

    def nnqft(*command):
        return subprocess.run(
            [sys.executable, "-m", "nnqft", *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )

    result = nnqft("run", "scan.yaml")
    assert result.returncode == 0, result.stderr
    root = tmp_path / "results" / "critical"
    expected = [
        f"figures/{name}.png" for name in ("phase-pair", "corrections-pair", "dynamics-one", "trainability-tiny")
    ]
    for name in ("report.html", "manifest.json", "tables/criticality.tex", *expected):
        assert (root / name).is_file(), name
    assert not (root / "cumulants.zarr").exists()
    verdict = nnqft("verify", "scan.yaml")
    assert verdict.returncode == 0, verdict.stdout
    assert "exact at every width" in verdict.stdout
    assert nnqft("compare", "results/critical", "results/critical").stdout.strip() == "bit-identical"
    assert "criticality: up to date" in nnqft("status", "scan.yaml").stdout
    chunk = next(p for p in root.glob("criticality.zarr/pair/V_measured/c/**/*") if p.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-3])
    assert "criticality.zarr" in nnqft("verify", "scan.yaml").stdout
