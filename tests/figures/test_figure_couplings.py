import numpy as np
import pytest

from nnqft.figures.couplings import plot
from nnqft.figures.running import few_widths


def draw(group, **changes):
    data = {stage: group[stage] for stage in ("couplings", "flow", "cumulants")} | changes
    return plot(data["couplings"], data["flow"], data["cumulants"], "points")


def test_plotted_numbers_are_those_of_the_store(groups):
    group = groups["ray"]
    _, table = draw(group)
    assert len(table.rows) == 3 * 2 * 3
    for row in table.records():
        assert row["model"] == "lambda_0"  # the simplest model with lambda_0, although it is not the first
        at = {"architecture": row["architecture"], "width": row["width"], "model": "lambda_0"}
        fit = group["couplings"].sel(at | {"cutoff": row["cutoff"]})
        assert row["lambda_0"] == fit["lambda_0"].item()
        assert row["N_lambda_0_stderr"] == row["width"] * fit["lambda_0_stderr"].item()
        assert row["slope"] == group["flow"]["slope_lambda"].sel(at).item()
        assert row["slope_stderr"] == group["flow"]["slope_lambda_stderr"].sel(at).item()


def test_the_relu_net_has_slope_minus_five(groups, texts):
    figure, table = draw(groups["ray"])
    relu = [row for row in table.records() if row["architecture"] == "relu"]
    assert [row["slope"] for row in relu] == pytest.approx([-5.0] * len(relu), abs=1e-9)
    assert "slope $-5.00000(0)$" in texts(figure)
    for row in relu:
        exact, error = -12.5, row["N_lambda_0_stderr"] * row["cutoff"] ** 5
        assert abs(row["N_lambda_0"] * row["cutoff"] ** 5 - exact) < 5 * error
    assert r"relu:  $\lambda_0<0$" in texts(figure)


def test_a_rejected_constant_coupling_is_named(groups, texts):
    fits = groups["ray"]["couplings"].copy(deep=True)
    fits["p_value"][:] = 0.5
    assert "constant coupling not rejected at 2 of 2 widths" in texts(draw(groups["ray"], couplings=fits)[0])
    fits["p_value"][1, 0, 2, 1] = 1e-5
    assert "constant coupling REJECTED at 1 of 2 widths" in texts(draw(groups["ray"], couplings=fits)[0])
    fits["p_value"][:] = np.nan
    assert "no degree of freedom to test constancy" in texts(draw(groups["ray"], couplings=fits)[0])


def test_untrusted_widths_are_hollow_and_named(groups, texts):
    figure, table = draw(groups["near"])
    assert not any(table.column("trusted"))
    assert "hollow, grey: not converged" in texts(figure)
    assert "not converged: no test of constancy" in texts(figure)


def test_panels_without_couplings_say_why(groups, texts, truncated):
    group = groups["near"]
    missing = group["couplings"].copy(deep=True)
    missing["lambda_0"][:] = np.nan
    missing["status"][:] = "legs exist for one hidden layer only; another reason"
    figure, _ = draw(group, couplings=missing)
    assert "legs exist for one hidden layer only" in texts(figure).replace("\n", " ")
    figure, table = draw(group, couplings=group["couplings"].sel(model=["lambda_0"]).assign_coords(model=["lambda_2"]))
    assert "no model has lambda_0" in texts(figure)
    assert table.rows == ()
    _, table = draw(group, cumulants=truncated(group["cumulants"], 4))
    assert not any(table.column("trusted"))


def test_one_cutoff_and_one_width(groups, texts):
    group = groups["ray"]
    flow = group["flow"].copy(deep=True)
    flow["slope_lambda"][:] = np.nan
    one = {"cutoff": [0], "width": [0]}
    figure, table = draw(
        group,
        couplings=group["couplings"].isel(one),
        flow=flow.isel(width=[0]),
        cumulants=group["cumulants"].isel(width=[0]),
    )
    assert "no slope" in texts(figure)
    assert len(table.rows) == 3


def test_widths_are_chosen_among_the_trusted():
    widths = np.array([100, 2, 5, 1000, 10, 50])
    assert widths[few_widths(widths, np.ones(6, bool))].tolist() == [2, 10, 50, 1000]
    assert widths[few_widths(widths, widths > 10)].tolist() == [50, 100, 1000]
    assert widths[few_widths(widths, np.zeros(6, bool))].tolist() == [2, 10, 50, 1000]
