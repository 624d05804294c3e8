import csv
from dataclasses import replace

import numpy as np
import pytest

from nnqft.figures.table import table
from nnqft.spec.load import parse_scan
from nnqft.stages.layout import TABLES
from nnqft.stages.sheets import ROWS
from nnqft.stages.summary import (
    agreement_sheet,
    combined_sheet,
    couplings_sheet,
    exponents_sheet,
    judge,
    warnings_sheet,
)
from nnqft.stages.tables import compare_all, couplings_table, cumulants_table, latex, read_groups


@pytest.fixture(scope="module")
def groups(finished):
    return {points: {k: v.load() for k, v in group.items()} for points, group in read_groups(*finished).items()}


def read(layout, name):
    with (layout.tables / f"{name}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def changed(groups, points, stage, change):
    """The groups with a changed copy of one dataset."""
    data = groups[points][stage].copy(deep=True)
    change(data)
    return groups | {points: groups[points] | {stage: data}}


def test_every_table_as_csv_and_latex(finished):
    assert {p.name for p in finished[1].tables.iterdir()} == {
        f"{t}.{e}" for t in TABLES["cumulants"] for e in ("csv", "tex")
    }


def test_cumulants_have_a_row_for_every_cell(finished, groups):
    rows = read(finished[1], "cumulants")
    assert len(rows) == 4 * 2 * 3
    for row in rows:
        dim, order = {"G2": ("pair", 2), "G4c": ("quad", 4), "G6c": ("sext", 6)}[row["correlator"]]
        group = groups[row["points"]]
        legs = [int(c) for c in row["component"]]
        c = np.flatnonzero((group["cumulants"][f"{dim}_points"].values == legs).all(axis=1))[0]
        cell = group["cumulants"].sel(architecture=row["architecture"], width=int(row["width"]))
        exact = group["theory"][row["correlator"]].sel(architecture=row["architecture"], width=int(row["width"]))
        value, stderr = (float(cell[name][c]) for name in (row["correlator"], row["correlator"] + "_stderr"))
        assert float(row["value"]) == value
        assert float(row["stderr"]) == stderr
        assert float(row["pull"]) == pytest.approx((value - float(exact[c])) / stderr, rel=1e-9)
        assert row["trusted"] == str(bool(cell["trusted"].sel(order=order))).lower()
        assert int(row["networks"]) == 2048
        assert row["component"] == {"G2": "01", "G4c": "0012", "G6c": "001122"}[row["correlator"]]


def test_agreement_agrees_with_the_comparison(finished, groups):
    rows = read(finished[1], "agreement")
    cells = [cell for group in compare_all(groups).values() for cell in group]
    assert len(rows) == len(cells)
    for row, cell in zip(rows, cells, strict=True):
        assert (row["architecture"], int(row["width"]), row["correlator"]) == (cell.architecture, cell.width, cell.name)
        assert float(row["worst_pull"]) == cell.result.worst
        assert float(row["chi2"]) == pytest.approx(cell.result.chi2, nan_ok=True)
        assert row["verdict"] == ("agrees" if cell.trusted else "not converged")


def test_couplings_have_a_row_for_every_fit_and_coupling(finished, groups):
    rows = read(finished[1], "couplings")
    assert len(rows) == 4 * 2 * 3 * (3 + 2)  # models of two couplings and of one, each with kappa
    for row in rows:
        fit = groups[row["points"]]["couplings"].sel(
            architecture=row["architecture"], width=int(row["width"]), model=row["model"], cutoff=float(row["cutoff"])
        )
        assert float(row["value"]) == pytest.approx(fit[row["coupling"]].item(), nan_ok=True)
        sextic = row["coupling"] == "kappa"
        assert float(row["N_stderr"]) == pytest.approx(
            int(row["width"]) ** (1 + sextic) * fit[f"{row['coupling']}_stderr"].item(), nan_ok=True
        )
        assert float(row["dof"]) == pytest.approx(fit["kappa_dof" if sextic else "dof"].item(), nan_ok=True)
        assert float(row["log_evidence"]) == pytest.approx(np.nan if sextic else fit["log_evidence"], nan_ok=True)
        assert np.isnan(float(row["slope"])) or row["coupling"] in ("lambda_0", "kappa")


def test_latex_has_as_many_cells_in_every_row_and_escapes_names():
    text = latex(table(("name_a", "value", "status"), [("x_1 & 50%{}\\", 1.5e-9, "long"), ("b", np.nan, "")]))
    assert "name a & value" in text
    assert r"x\_1 \& 50\%\{\}\textbackslash{} & $1.500\times10^{-9}$ \\" in text
    assert "b & -- " in text
    assert "long" not in text.replace("longtable", "")


def test_latex_tables_are_rectangular(finished):
    for name in TABLES["cumulants"]:
        text = (finished[1].tables / f"{name}.tex").read_text()
        body = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert len(body) == 1 + len(read(finished[1], name))
        assert len({line.count(" & ") for line in body}) == 1


def test_a_wrong_theory_turns_the_verdict(finished, groups):
    scan, _ = finished

    def wrong(theory):
        theory["G4c"] = 1.3 * theory["G4c"]

    cells = compare_all(changed(groups, "ray", "theory", wrong))
    verdict, headline, facts = judge(scan, cells)
    assert verdict == "bad"
    assert headline.startswith("Estimates and exact theory differ")
    first, total = facts[0].split(" trusted")[0].split(" of ")
    assert int(first) < int(total)
    sheet = agreement_sheet(cells)
    words = {row[:2]: row[-1] for row in sheet.rows}
    assert words["relu", "G4c"].startswith("differs")
    assert words["relu", "G2"] == "agrees"
    assert sheet.marks[[row[:2] for row in sheet.rows].index(("relu", "G4c"))] == "bad"


def test_leading_order_predictions_are_no_test(finished, groups):
    def leading(theory):
        theory["prediction"][:] = "leading-1/N"

    cells = compare_all({"ray": changed(groups, "ray", "theory", leading)["ray"]})
    verdict, headline, facts = judge(finished[0], cells)
    assert (verdict, headline.split(":")[0]) == ("doubt", "Nothing to compare")
    assert "leading order in 1/N only" in facts[-1]
    assert {row[-1].split(";")[0] for row in agreement_sheet(cells).rows} <= {"leading order only", "not converged"}
    assert combined_sheet(finished[0], cells).rows == ()


def test_the_same_law_under_two_names_counts_once(finished, groups):
    scan, _ = finished
    data = scan.model_dump(mode="json")
    twice = parse_scan(data | {"architectures": data["architectures"] | {"twin": data["architectures"]["relu"]}})
    cells = compare_all(groups)
    twins = cells | {"ray": cells["ray"] + [replace(cell, architecture="twin") for cell in cells["ray"][:6]]}
    assert combined_sheet(twice, twins).rows == combined_sheet(scan, cells).rows


def test_numbers_of_the_sheets(groups):
    rows = {row[:2]: row for row in couplings_sheet(groups).rows}
    assert rows["relu", "4"][6] == "−5.00000(0)"
    assert rows["relu", "4"][7].startswith("−1")  # lambda N Lambda^5 = -12.5
    assert rows["gauss", "16"][-1] == "G4c not converged"
    exponents = {row[:2]: row for row in exponents_sheet(groups).rows}
    flow = groups["ray"]["flow"].sel(architecture="relu", order=4)
    assert float(exponents["relu", "G4c"][2].split("(")[0].replace("−", "-")) == pytest.approx(
        flow["width_exponent"].item(), abs=0.01
    )
    assert exponents["relu", "G4c"][3] == "−1"


def test_a_scan_that_stops_at_order_two(finished, groups):
    short = {}
    for points, group in groups.items():
        gone = [v for v in group["cumulants"].data_vars if v.startswith(("G4", "G6"))]
        cumulants = group["cumulants"].drop_vars(gone).sel(order=[2])
        theory = group["theory"].drop_vars([v for v in group["theory"].data_vars if v.startswith(("G4", "G6"))])
        flow = group["flow"].sel(order=[])
        short[points] = group | {"cumulants": cumulants, "theory": theory.sel(order=[2]), "flow": flow}
    cells = compare_all(short)
    assert [row[0] for row in combined_sheet(finished[0], cells).rows] == ["G2"]
    assert {row[1] for row in agreement_sheet(cells).rows} == {"G2"}
    assert exponents_sheet(short).rows == ()
    assert {row[-1] for row in couplings_sheet(short).rows} <= {"G4c not converged", "not fitted"}
    assert {row["correlator"] for row in cumulants_table(short, cells).records()} == {"G2"}
    assert not any(couplings_table(short).column("trusted"))


def test_long_tables_keep_what_differs_and_say_what_they_leave_out(groups):
    cells = compare_all(groups)["near"]
    many = {"near": [replace(cell, architecture=f"a{i}") for i in range(200) for cell in cells]}
    sheet = warnings_sheet(many)
    untrusted = sum(not cell.trusted for cell in cells)
    assert len(sheet.rows) == ROWS
    assert sheet.note == f"{200 * untrusted - ROWS} more rows are in tables/*.csv."
    good = [cell for cell in compare_all(groups)["ray"] if cell.architecture == "relu" and cell.tested]
    many = [replace(cell, architecture=f"a{i}") for i in range(200) for cell in good]
    last = replace(many[-1], result=replace(many[-1].result, worst=50.0))
    sheet = agreement_sheet({"ray": [*many[:-1], last]})
    assert len(sheet.rows) == ROWS
    assert [row[0] for row in sheet.rows if row[-1] == "differs"] == ["a199"]
