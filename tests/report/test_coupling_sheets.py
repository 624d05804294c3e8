import numpy as np
import pytest

from nnqft.figures.numbers import plain
from nnqft.stages.action_sheets import action_sheet, conventions_sheet, sixpoints_sheet
from nnqft.stages.coupling_sheets import coupling_sheets, heldout_sheet, models_sheet, sextic_sheet
from nnqft.stages.coupling_tables import couplings_table


def rows(sheet, **wanted):
    names = dict(zip(sheet.columns, range(len(sheet.columns)), strict=True))
    return [
        (row, mark)
        for row, mark in zip(sheet.rows, sheet.marks, strict=True)
        if all(row[names[key]] == value for key, value in wanted.items())
    ]


def records(groups):
    return list(couplings_table(groups).records())


def test_sheets_that_say_nothing_are_left_out(report_groups, finished):
    titles = [sheet.title for sheet in coupling_sheets(report_groups)]
    assert titles[0] == "Sextic coupling"
    assert "Held-out prediction" not in titles  # no held-out points in this scan
    assert "Six-point prediction" in titles
    assert "Six-point prediction" in finished[1].report.read_text(encoding="utf-8")


def test_kappa_in_words(report_groups, changed):
    def constant(data):
        data["kappa_p_value"][:] = 0.5
        data["kappa_p_value"][1, 0, 2, 1] = 1e-5

    def trust(data):
        data["trusted"][:] = True

    groups = changed("ray", "cumulants", trust, changed("ray", "couplings", constant))
    sheet = sextic_sheet(groups)
    found = {row[:2]: (row[-1], mark) for row, mark in rows(sheet)}
    assert found["relu", "4"] == ("not rejected", "good")
    assert found["erf[sigma_w=1.0]", "4"] == ("rejected", "bad")
    assert found["gauss", "4"] == ("G6c not converged", "doubt")
    ((row, _),) = rows(sheet, architecture="relu", N="16")
    assert row[6] == "−7.00000(0)"
    assert row[7].startswith("12")  # kappa N^2 Lambda^7 = 371/3


def test_held_out_prediction(changed):
    def heldout(p):
        def change(data):
            data["heldout"] = ("architecture", np.array(["gauss", "", ""], dtype=object))
            for name in ("mape_heldout", "max_ape_heldout", "chi2_heldout", "dof_heldout"):
                data[name][:] = 2.0
            data["p_value_heldout"][:] = p

        return change

    def trust(data):
        data["trusted"][:] = True

    groups = changed("ray", "cumulants", trust, changed("near", "cumulants", trust))
    for p, expected in ((0.3, ("within errors", "good")), (1e-9, ("outside errors", "bad"))):
        sheet = heldout_sheet(groups, records(changed("ray", "couplings", heldout(p), groups)))
        assert {(row[-1], mark) for row, mark in rows(sheet)} == {expected}
        assert {row[0] for row in sheet.rows} == {"relu"}
        assert len(sheet.rows) == 2 * 2  # two widths, two models
        assert sheet.rows[0][5] == "2.0%"
    untrusted = changed("ray", "couplings", heldout(0.3))  # the held-out correlator has a heavy tail
    assert {mark for _, mark in rows(heldout_sheet(untrusted, records(untrusted)))} == {"doubt"}


@pytest.mark.parametrize(
    ("evidence", "aic", "p", "expected"),
    [
        ((-10.0, -20.0), (5.0, 50.0), 0.5, ("preferred", "good")),
        ((-10.0, -10.5), (5.0, 50.0), 0.5, ("undecided", "doubt")),
        ((-10.0, -20.0), (50.0, 5.0), 0.5, ("evidence and AIC differ", "doubt")),
        ((-10.0, -20.0), (5.0, 50.0), 1e-6, ("rejected too", "bad")),
        ((-10.0, np.nan), (5.0, np.nan), 0.5, ("nothing to compare", "")),
    ],
)
def test_which_model(changed, evidence, aic, p, expected):
    def fits(data):
        data["log_evidence"][:], data["aic"][:], data["p_value"][:] = np.array(evidence), np.array(aic), p

    def trust(data):
        data["trusted"][:] = True

    groups = changed("ray", "couplings", fits, changed("ray", "cumulants", trust))
    ((row, mark),) = rows(models_sheet(groups, records(groups)), architecture="relu", N="4")
    assert (row[-1], mark) == expected
    assert row[3] == "lambda_0+lambda_2"  # the first model
    one = {points: group | {"couplings": group["couplings"].isel(model=[1])} for points, group in groups.items()}
    one = {points: group | {"flow": group["flow"].isel(model=[1])} for points, group in one.items()}
    assert models_sheet(one, records(one)).rows == ()


def test_six_point_verdicts(report_groups, changed):
    def predicted(gp, complete):
        def change(data):
            data["p_value_gp"][:], data["p_value_complete"][:] = gp, complete

        return change

    def trust(data):
        data["trusted"][:] = True

    sure = changed("ray", "cumulants", trust)
    for gp, complete, expected in (
        (1e-9, 0.4, ("within errors", "good")),
        (0.2, 0.4, ("within errors, as the free theory is", "")),
        (1e-9, 1e-9, ("outside errors", "bad")),
    ):
        sheet = sixpoints_sheet(changed("ray", "sixpoints", predicted(gp, complete), sure))
        ((row, mark),) = rows(sheet, architecture="relu", N="4")
        assert (row[-1], mark) == expected
    assert row[3] == "other half"
    assert {mark for _, mark in rows(sixpoints_sheet(report_groups), architecture="gauss")} == {"doubt"}


def test_normalisations_in_words(report_groups):
    sheet = conventions_sheet(report_groups)
    gauss = rows(sheet, architecture="gauss")
    assert [row[3].split(":")[0] for row, _ in gauss] == ["HMS", "Demirtas", "Roberts", "Erbin"]
    assert {mark for _, mark in gauss} == {"doubt"}
    assert gauss[3][0][4] == "u2 = 2.00000(0)"
    assert [row[4] for row, _ in rows(sheet, architecture="relu")] == ["–"] * 3


def test_an_unreliable_series_is_flagged(report_groups, changed):
    sheet = action_sheet(report_groups)
    ((row, mark),) = rows(sheet, architecture="relu", N="4")
    assert mark == "doubt"
    assert "series not reliable" in row[-1]
    cell = report_groups["ray"]["action"].sel(architecture="relu", width=4, model="lambda_0")
    distance, noise = (plain(float(cell[f"continuum_{key}"]), 2) for key in ("distance", "noise"))
    assert row[8] == f"{distance} ({noise})"

    def small(data):
        data["expansion_parameter"][:] = 0.05

    def trust(data):
        data["trusted"][:] = True

    groups = changed("ray", "action", small, changed("ray", "cumulants", trust))
    ((row, mark),) = rows(action_sheet(groups), architecture="relu", N="4")
    assert (row[-1], mark) == ("", "")
