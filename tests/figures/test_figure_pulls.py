import numpy as np
import pytest

from nnqft.estimation.agreement import combined_p
from nnqft.figures.comparison import SIGNIFICANCE, combine, compare, verdict
from nnqft.figures.pulls import histogram, plot


def test_plotted_numbers_are_those_of_the_store(groups):
    data, theory = groups["ray"]["cumulants"], groups["ray"]["theory"]
    _, table = plot(data, theory)
    for architecture in ("relu", "erf[sigma_w=1.3]"):
        for order, name in ((2, "G2"), (4, "G4c"), (6, "G6c")):
            rows = [r for r in table.records() if (r["architecture"], r["order"]) == (architecture, order)]
            at = {"architecture": architecture}
            trusted = data["trusted"].sel(at | {"order": order}).values
            pulls = ((data[name] - theory[name]) / data[f"{name}_stderr"]).sel(at).values[trusted]
            count = [((r["bin_left"] <= pulls) & (pulls < r["bin_right"])).sum() for r in rows]
            assert [r["count"] for r in rows] == count
            assert sum(count) + rows[0]["outside"] == pulls.size
            assert rows[0]["cells"] == trusted.sum()
            assert rows[0]["cells_left_out"] == (~trusted).sum()


def test_chi2_and_p_of_independent_cells_are_combined(groups):
    cells = [cell for cell in compare(groups["ray"]["cumulants"], groups["ray"]["theory"]) if cell.order == 4]
    together = combine(cells)
    assert together.modes == sum(cell.result.modes for cell in cells)
    assert together.chi2 == pytest.approx(sum(cell.result.chi2 for cell in cells))
    assert together.p_value == combined_p(np.array([cell.result.p_value for cell in cells]))
    assert together.worst == max(cell.result.worst for cell in cells)
    assert together.p_value > 1e-4  # the samples do agree with the exact result
    nothing = combine([])
    assert nothing.cells == 0
    assert np.isnan([nothing.chi2, nothing.p_value, nothing.worst]).all()


def test_a_wrong_prediction_is_called_different(groups):
    data, theory = groups["ray"]["cumulants"], groups["ray"]["theory"].copy(deep=True)
    theory["G4c"] = 1.5 * theory["G4c"]
    words = {cell.name: verdict(cell, 27, 3000) for cell in compare(data, theory) if cell.architecture == "relu"}
    assert words["G4c"] == "differs"
    assert words["G2"] == "agrees"


def test_verdicts_of_cells_that_are_no_test(groups):
    theory = groups["ray"]["theory"].copy(deep=True)
    theory["prediction"][:] = "leading-1/N"
    theory["G6c"][:] = np.nan
    words = {cell.order: verdict(cell, 1, 1) for cell in compare(groups["ray"]["cumulants"], theory) if cell.trusted}
    assert words[2] == words[4] == "leading order only"
    assert words.get(6, "no prediction") == "no prediction"
    near = compare(groups["near"]["cumulants"], groups["near"]["theory"])
    assert {verdict(cell, 1, 1) for cell in near if cell.order == 6} == {"not converged"}
    assert SIGNIFICANCE < 0.01


def test_untrusted_cells_are_left_out_and_counted(groups, texts):
    figure, table = plot(groups["near"]["cumulants"], groups["near"]["theory"])
    sixth = [row for row in table.records() if row["order"] == 6]
    assert {row["cells"] for row in sixth} == {0}
    assert {row["cells_left_out"] for row in sixth} == {2}
    assert "no trusted cell:\n2 of 2 left out" in texts(figure)
    data = groups["ray"]["cumulants"].copy(deep=True)
    data["trusted"][:] = True
    data["trusted"][0, 1, 0] = False
    assert "1 of 2 widths left out" in texts(plot(data, groups["ray"]["theory"])[0])


def test_pulls_beyond_the_axis_are_counted(groups, texts):
    theory = groups["ray"]["theory"].copy(deep=True)
    theory["G2"][0] = 10.0
    figure, table = plot(groups["ray"]["cumulants"], theory)
    assert "12 pulls beyond" in texts(figure)
    assert table.column("outside")[0] == 12


def test_empty_panels_say_why(groups, texts, truncated):
    figure, _ = plot(*(truncated(groups["ray"][stage], 4) for stage in ("cumulants", "theory")))
    assert texts(figure).count("was not estimated") == 2
    theory = groups["ray"]["theory"].copy(deep=True)
    theory["G6c"][:] = np.nan
    figure, table = plot(groups["ray"]["cumulants"], theory)
    assert "no prediction" in texts(figure)
    assert np.isnan([row["p_value"] for row in table.records() if row["order"] == 6]).all()
    assert histogram([]).rows == ()
