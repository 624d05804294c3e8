import math

import numpy as np
import pytest

from nnqft.couplings.conventions import gauss_field
from nnqft.stages.coupling_tables import action_table, conventions_table, couplings_table, sixpoints_table


def pick(table, **wanted):
    return [row for row in table.records() if all(row[key] == value for key, value in wanted.items())]


def one(table, **wanted):
    (row,) = pick(table, **wanted)
    return row


def test_kappa_has_its_own_numbers(report_groups):
    table = couplings_table(report_groups)
    row = one(table, architecture="relu", width=16, model="lambda_0", cutoff=5.0, coupling="kappa")
    fit = report_groups["ray"]["couplings"].sel(architecture="relu", width=16, model="lambda_0", cutoff=5.0)
    flow = report_groups["ray"]["flow"].sel(architecture="relu", width=16, model="lambda_0")
    assert row["value"] == float(fit["kappa"])
    assert row["power_of_N"] == 2
    assert row["N_value"] == 256 * row["value"]
    assert row["component_mean"] == float(fit["kappa_mean"])
    assert row["slope"] == float(flow["slope_kappa"])
    assert row["relevance"] == str(flow["kappa_relevance"].values) == "relevant"
    assert row["beta"] == float(flow["beta_kappa"].sel(cutoff=5.0))
    assert abs(row["N_value"] * 5.0**7 - 371 / 3) < 5 * row["N_stderr"] * 5.0**7
    assert math.isnan(row["log_evidence"])


def test_kappa_is_trusted_where_both_correlators_are(report_groups, changed):
    def doubt(data):
        data["trusted"].loc[{"order": 6}] = False
        data["trusted"].loc[{"order": 4}] = True

    table = couplings_table(changed("ray", "cumulants", doubt))
    assert not any(row["trusted"] for row in pick(table, points="ray", coupling="kappa"))
    assert all(row["trusted"] for row in pick(table, points="ray", coupling="lambda_0"))


def test_held_out_numbers_belong_to_the_quartic_fit(changed):
    def heldout(data):
        data["mape_heldout"][:] = 1.25
        data["dof_heldout"][:] = 3.0

    table = couplings_table(changed("ray", "couplings", heldout))
    assert {row["mape_heldout"] for row in pick(table, points="ray", coupling="lambda_0")} == {1.25}
    assert {str(row["dof_heldout"]) for row in pick(table, points="ray", coupling="lambda_0")} == {"3"}
    assert all(math.isnan(row["mape_heldout"]) for row in pick(table, points="ray", coupling="kappa"))
    assert all(math.isnan(row["truncation"]) for row in table.records())  # not asked for in this scan


def test_six_points_have_a_row_for_every_step(report_groups):
    table = sixpoints_table(report_groups)
    assert len(table.rows) == 4 * 2 * 2 * 4
    for row in table.records():
        at = {"architecture": row["architecture"], "width": row["width"], "model": row["model"]}
        cell = report_groups[row["points"]]["sixpoints"].sel(at)
        for test in ("mape", "max_ape", "nrms", "chi2", "p_value"):
            assert row[test] == pytest.approx(float(cell[f"{test}_{row['step']}"]), nan_ok=True)
        assert row["source"] in ("other half of the components", "")
        assert row["cutoff"] == 80.0


def test_a_prediction_from_points_that_are_not_trusted_is_not(report_groups, changed):
    def elsewhere(data):
        data["heldout"] = ("architecture", np.array(["gauss"], dtype=object))

    def trust(data):
        data["trusted"][:] = True

    def doubt(data):
        data["trusted"][:] = False

    groups = changed("near", "cumulants", trust)
    assert all(row["trusted"] for row in pick(sixpoints_table(groups), architecture="gauss"))

    def held(data):
        data["heldout"][:] = ["gauss", "", ""]

    groups = changed("ray", "couplings", held, groups)
    groups = changed("ray", "cumulants", doubt, groups)
    assert not any(row["trusted"] for row in pick(sixpoints_table(groups), architecture="gauss"))


def test_couplings_in_four_normalisations(report_groups):
    """f^4 terms: lambda = g4 / 4! = -v / 8, and u4 / 4! = lambda / Z^2; f^6: kappa = g6 / 6! = -u / 48."""
    table = conventions_table(report_groups)
    for architecture, points in (("relu", "ray"), ("gauss", "near")):
        found = {row["coupling"]: row for row in pick(table, architecture=architecture, width=4)}
        fit = report_groups[points]["couplings"].sel(architecture=architecture, width=4, model="lambda_0", cutoff=80.0)
        expected = {"lambda": 1.0, "g4": 24.0, "v": -8.0, "kappa": 1.0, "g6": 720.0, "u": -48.0}
        if architecture == "gauss":
            field = gauss_field(1.0, 1)
            expected |= {"u4": 24 / field.Z**2, "u6": 720 / field.Z**3}
            assert (found["K0"]["value"], found["u2"]["value"]) == pytest.approx((math.sqrt(2 * math.pi), 2.0))
            assert found["u2"]["stderr"] == 0.0
        assert set(found) == set(expected) | ({"K0", "g2", "g", "u2"} if architecture == "gauss" else set())
        for symbol, factor in expected.items():
            name = "kappa" if symbol in ("kappa", "g6", "u", "u6") else "lambda_0"
            assert found[symbol]["value"] == pytest.approx(factor * float(fit[name]), rel=1e-12)
            assert found[symbol]["stderr"] == pytest.approx(abs(factor) * float(fit[f"{name}_stderr"]), rel=1e-12)
            assert found[symbol]["cutoff"] == 80.0


def test_the_action_has_a_row_for_every_leading_component(report_groups):
    table = action_table(report_groups)
    for architecture in ("relu", "gauss", "erf[sigma_w=1.0]"):
        rows = pick(table, architecture=architecture, width=16)
        assert len(rows) == max(1, min(3, rows[0]["modes"]))
        assert [row["component"] for row in rows] == [f"u{k}" for k in range(len(rows))]
    row = one(table, architecture="relu", width=16)
    cell = report_groups["ray"]["action"].sel(architecture="relu", width=16)
    assert row["g4_leading"] == float(cell["g4_principal_leading"][0])
    assert row["g6"] == float(cell["g6_principal"][0])
    assert abs(16 * row["g4_leading"] + 15) < 5 * 16 * row["g4_leading_stderr"]
    assert abs(row["kurtosis"] - 15 / 16) < 0.2


def test_a_second_component_is_found_by_its_legs(report_groups):
    rows = [row for row in pick(action_table(report_groups), component="u1") if row["points"] == "ray"]
    assert rows
    for row in rows:
        cell = report_groups["ray"]["action"].sel(architecture=row["architecture"], width=row["width"])
        c = cell["quad_points"].values.tolist().index([1, 1, 1, 1])
        assert row["g4"] == float(cell["g4_principal"][c])


def test_no_action_is_one_row_with_a_reason(report_groups, changed):
    data = report_groups["ray"]["action"]
    empty = data.drop_vars([name for name in data.data_vars if name != "status"])
    empty["status"][:] = "only some were measured"
    table = action_table({"ray": report_groups["ray"] | {"action": empty}})
    assert len(table.rows) == 6
    assert set(table.column("status")) == {"only some were measured"}
    assert np.isnan(table.column("g4")).all()


def test_asymmetric_errors_and_averages_are_shown_where_there_are_any(report_groups, changed):
    def options(data):
        for i, name in enumerate(("kappa_joint", "kappa_lower", "kappa_upper", "lambda_0_joint")):
            data[name] = data["kappa"] + i
        data["lambda_0_average"] = data["lambda_0"].isel(model=0, drop=True) * 3

    chosen = {"architecture": "relu", "width": 16, "model": "lambda_0", "cutoff": 5.0}
    plain = one(couplings_table(report_groups), **chosen, coupling="kappa")
    assert all(math.isnan(plain[name]) for name in ("joint", "lower", "upper", "average"))
    table = couplings_table(changed("ray", "couplings", options))
    kappa, quartic = (one(table, **chosen, coupling=coupling) for coupling in ("kappa", "lambda_0"))
    assert [kappa["joint"], kappa["lower"], kappa["upper"]] == [kappa["value"] + i for i in range(3)]
    assert quartic["joint"] == kappa["value"] + 3
    assert math.isnan(kappa["average"])
    fitted = report_groups["ray"]["couplings"].sel(architecture="relu", width=16, cutoff=5.0)["lambda_0"].isel(model=0)
    np.testing.assert_equal(quartic["average"], 3 * float(fitted))
