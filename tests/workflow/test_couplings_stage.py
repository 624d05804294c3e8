"""couplings.zarr and sixpoints.zarr: every option of `couplings`, held-out points, and what is refused."""

import numpy as np
import pytest
import xarray as xr

import nnqft
from nnqft.core.errors import InputError
from nnqft.sampling import check as checking
from nnqft.sampling.budget import budget
from nnqft.sampling.cells import leaves
from nnqft.spec.load import parse_scan
from nnqft.stages.assemble import assemble
from nnqft.stages.couplings import couplings
from nnqft.stages.cumulants import estimate_cumulants
from nnqft.stages.ensemble import generate
from nnqft.stages.flow import flow
from nnqft.stages.groups import Groups
from nnqft.stages.layout import Layout
from nnqft.stages.sixpoints import six_points
from nnqft.stages.theory import predict_theory

SCAN = {
    "name": "held", "seed": 11,
    "points": {
        "ray": [[0.4], [0.8], [1.2]], "ray-near": [[0.3], [0.5], [0.9]],
        "line": [[-1.0], [-0.2], [0.6]], "line-near": [[-0.7], [-0.1], [0.4]],
        "small": [[0.002], [0.006], [0.012]], "tiny": [[-0.01], [0.002], [0.01]],
        "plane": [[0.5, 1.0], [1.0, 0.5], [1.0, 1.0]], "space": [[0.2, 0.2, 0.2], [1.0, 1.0, 0.2], [1.0, 0.2, 1.0]],
    },
    "architectures": {
        "relu": {"activation": "relu", "points": "ray", "heldout": "ray-near"},
        "erf": {"activation": "erf", "sigma_b": 1.0, "points": "line", "heldout": "line-near"},
        "cos": {"network": "cosine", "points": "line"},
        "deep": {"activation": "erf", "sigma_b": 1.0, "depth": 2, "points": "line"},
        "tanh": {"activation": "tanh", "points": "ray"},
        "erf-small": {"activation": "erf", "sigma_b": 1.0, "points": "small"},
        "gauss": {"activation": "gauss", "sigma_b": 1.0, "points": "tiny", "sampler": "tilted"},
        "relu-2d": {"activation": "relu", "points": "plane"},
        "relu-3d": {"activation": "relu", "points": "space"},
    },
    "widths": [6],
    "ensemble": {"networks": 16384, "block": 2048, "replicates": 64},
    "couplings": {"cutoffs": [4.0, 8.0], "models": [["lambda_0"], ["lambda_0", "lambda_4"]]},
}  # fmt: skip


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """(cumulants, theory): datasets by point set."""
    scan, layout = parse_scan(SCAN), Layout(tmp_path_factory.mktemp("held"))
    for leaf in leaves(scan):
        generate(leaf, budget(scan), layout.leaf(leaf.name), "inline")
    for stage in (assemble, estimate_cumulants, predict_theory):
        stage(scan, layout)
    return Groups(layout, "cumulants", scan), Groups(layout, "theory", scan)


def fitted(measured, points, **options):
    scan = parse_scan(SCAN | {"couplings": SCAN["couplings"] | options})
    return couplings(scan, points, *measured)


def legs_of(cutoff):
    return nnqft.vertex_integrals("erf", 1.0, 1.0, SCAN["points"]["line"], [cutoff])


def test_kappa_and_lambda_of_relu_predict_the_held_out_points(measured):
    found = fitted(measured, "ray").sel(architecture="relu", width=6, cutoff=4.0, model="lambda_0")
    for name, exact, power in (("lambda_0", -12.5 / 6, 5), ("kappa", 371 / 3 / 36, 7)):
        value, error = float(found[name]) * 4.0**power, float(found[f"{name}_stderr"]) * 4.0**power
        assert value == pytest.approx(exact, abs=4 * error)
        assert error < 0.1 * abs(exact)
    assert found["heldout"] == "relu@ray-near"
    assert 0 < float(found["mape_heldout"]) < 10
    assert float(found["p_value_heldout"]) > 1e-3


def test_gauss_has_a_constant_coupling(measured):
    """Translation-invariant kernel: -5.34568 and -2947.91 without a cutoff; no running."""
    options = {"cutoffs": [8.0, 20.0], "truncation": {"operators": ["lambda_2"]}, "models": [["lambda_0"]]}
    found = fitted(measured, "tiny", **options).sel(architecture="gauss", width=6, model="lambda_0")
    for name, exact, power in (("lambda_0", -5.34568038, 1), ("kappa", -2947.910859, 2)):
        value, error = found[name].values * 6**power, found[f"{name}_stderr"].values * 6**power
        np.testing.assert_allclose(value, exact, atol=4 * error.max() + 3e-4 * abs(exact))
        assert error.max() < 0.03 * abs(exact)
    assert (found["p_value"] > 1e-3).all()
    np.testing.assert_allclose(found["lambda_0"][0], found["lambda_0"][1], rtol=1e-6)


def test_erf_at_small_points_is_constant_up_to_natural_corrections(measured):
    """-0.18556 and 0.30386 at Lambda = 10, where the exact component couplings spread by 2e-4 and 4e-4."""
    options = {"cutoffs": [10.0], "truncation": {"operators": ["lambda_2"]}, "models": [["lambda_0"]]}
    found = fitted(measured, "small", **options).sel(architecture="erf-small", width=6, model="lambda_0", cutoff=10.0)
    for name, exact, power in (("lambda_0", -0.1855602821, 1), ("kappa", 0.3038583718, 2)):
        error = float(np.hypot(found[f"{name}_stderr"], found[f"{name}_truncation"])) * 6**power
        assert float(found[name]) * 6**power == pytest.approx(exact, abs=4 * error)
        assert error < 0.03 * abs(exact)
    assert float(found["p_value"]) > 1e-3


@pytest.mark.parametrize(
    ("points", "name", "d"), [("ray", "relu", 1), ("plane", "relu-2d", 2), ("space", "relu-3d", 3)]
)
def test_relu_runs_with_the_dimension(measured, points, name, d):
    scan = parse_scan(SCAN)
    fits = {points: couplings(scan, points, *measured)}
    found = flow(scan, points, measured[0], fits, measured[1]).sel(architecture=name, width=6, model="lambda_0")
    for g, power in (("lambda", -(d + 4)), ("kappa", -(d + 6))):
        value = fits[points]["lambda_0" if g == "lambda" else g].sel(architecture=name, width=6, model="lambda_0")
        np.testing.assert_allclose(found[f"slope_{g}"], power, rtol=1e-8)
        np.testing.assert_allclose(found[f"beta_{g}"], power * value, rtol=1e-8)
        np.testing.assert_allclose(found[f"beta_{g}_difference"], power * value, rtol=1e-8)
        assert found[f"{g}_relevance"] == "relevant"


def test_erf_is_not_constant_and_fails_on_the_held_out_points(measured):
    found = fitted(measured, "line").sel(architecture="erf", width=6, cutoff=4.0)
    assert float(found["p_value"].sel(model="lambda_0")) < 1e-6
    assert float(found["p_value_heldout"].sel(model="lambda_0")) < 1e-6
    assert float(found["model_weight"].sum()) == pytest.approx(1)
    assert float(found["model_weight"].sel(model="lambda_0+lambda_4")) > 0.99
    assert np.isfinite(float(found["kappa"].sel(model="lambda_0+lambda_4")))


def test_what_has_no_vertices_or_trees_says_so(measured):
    status = fitted(measured, "line")["status"].sel(architecture="deep").values
    assert all("one hidden layer only" in text for text in status.ravel())
    tanh = fitted(measured, "ray").sel(architecture="tanh", width=6, cutoff=4.0, model="lambda_0")
    assert np.isfinite(float(tanh["lambda_0"]))
    assert np.isnan(float(tanh["kappa"]))
    assert "closed form" in str(tanh["status"].values)


def test_cosine_networks_have_vertices(measured):
    found = fitted(measured, "line").sel(architecture="cos", width=6, cutoff=4.0, model="lambda_0")
    assert np.isfinite([float(found[name]) for name in ("lambda_0", "lambda_mean", "kappa", "kappa_mean")]).all()


def test_errors_of_truncation_widen_and_accept(measured):
    plain = fitted(measured, "line").sel(architecture="erf", width=6, cutoff=4.0, model="lambda_0")
    natural = fitted(measured, "line", truncation={"operators": ["lambda_2", "lambda_nl", "lambda_4"]})
    found = natural.sel(architecture="erf", width=6, cutoff=4.0, model="lambda_0")
    assert "lambda_0_truncation" not in plain
    assert float(found["p_value"]) > 1e6 * float(plain["p_value"])
    assert all(float(found[f"{g}_truncation"]) > 0 for g in ("lambda_0", "kappa"))


def test_averages_over_models(measured):
    for kind in ("aic", "evidence"):
        found = fitted(measured, "line", average=kind).sel(architecture="erf", width=6, cutoff=4.0)
        mean = float((found["model_weight"] * found["lambda_0"]).sum())
        assert float(found["lambda_0_average"]) == pytest.approx(mean)
        assert float(found["lambda_0_average_stderr"]) > 0


def test_asymmetric_errors_surround_the_joint_fit(measured, monkeypatch):
    pytest.importorskip("iminuit")
    found = fitted(measured, "ray", asymmetric=True).sel(architecture="relu", width=6, cutoff=4.0, model="lambda_0")
    for g in ("lambda_0", "kappa"):
        assert float(found[f"{g}_lower"]) < 0 < float(found[f"{g}_upper"])
        assert float(found[f"{g}_joint"]) == pytest.approx(float(found[g]), abs=float(found[f"{g}_stderr"]))
    monkeypatch.setattr(checking, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"couplings.asymmetric: needs iminuit.*nnqft\[minuit\]"):
        checking.check(parse_scan(SCAN | {"couplings": {"asymmetric": True}}), "scan.yaml")


def test_six_points_are_predicted_from_elsewhere_or_the_other_half(measured):
    scan, (cumulants, theory) = parse_scan(SCAN), measured
    fits = {points: couplings(scan, points, cumulants, theory) for points in ("ray", "ray-near")}
    here, there = (six_points(scan, points, cumulants, theory, fits) for points in ("ray", "ray-near"))
    for found, name, source in ((here, "relu", "other half"), (there, "relu@ray-near", "points ray")):
        one = found.sel(architecture=name, width=6, model="lambda_0")
        assert source in str(one["source"].values)
        assert float(one["p_value_gp"]) < 1e-6
        assert float(one["mape_complete"]) < 0.3 * float(one["mape_lambda"]) < 0.3 * float(one["mape_gp"])
        pulls = one["pull_complete"].values
        assert np.abs(pulls).max() < 4
        full = xr.where(np.isfinite(one["G6_complete"]), one["G6_complete"], 0)
        rest = full - one["G6_lambda"]
        np.testing.assert_allclose(rest, one["G6c_predicted"], rtol=1e-6, atol=1e-9 * np.abs(full).max())
    tanh = here.sel(architecture="tanh", width=6, model="lambda_0")
    assert np.isnan(tanh["G6_complete"]).all()
    assert np.isfinite(tanh["G6_lambda"]).all()
    assert "closed form" in str(tanh["status"].values)


@pytest.mark.parametrize(
    ("heldout", "message"), [("ray", "no other point set"), ("nowhere", "no other point set"), ("plane", "dimension")]
)
def test_held_out_points_are_checked(heldout, message):
    points = SCAN["points"] | {"plane": [[0.1, 0.2]]}
    relu = SCAN["architectures"]["relu"] | {"heldout": heldout}
    with pytest.raises(InputError, match=rf"architectures.relu.heldout: .*{message}"):
        parse_scan(SCAN | {"points": points, "architectures": {"relu": relu}}, "scan.yaml")


def test_unit_weights_are_the_least_squares_of_the_paper(measured):
    found = fitted(measured, "line", weights="unit").sel(architecture="erf", width=6, cutoff=4.0, model="lambda_0")
    data, legs = measured[0]["line"].sel(architecture="erf", width=6), legs_of(4.0)
    by_hand = -float(legs["I4"][0] @ data["G4c"].values) / 24 / float(legs["I4"][0] @ legs["I4"][0])
    assert float(found["lambda_0"]) == pytest.approx(by_hand, rel=1e-9)
    assert float(found["lambda_0_stderr"]) > 0
    assert np.isfinite(float(found["kappa"]))
    assert np.isnan([float(found[name]) for name in ("chi2", "aic", "kappa_chi2")]).all()
    with pytest.raises(InputError, match="unit weights leave no truncation"):
        parse_scan(SCAN | {"couplings": {"weights": "unit", "truncation": {}}})
