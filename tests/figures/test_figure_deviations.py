import numpy as np
import pytest

from nnqft.figures.deviations import deviations, plot


def rows(table, **wanted):
    return [r for r in table.records() if all(r[key] == value for key, value in wanted.items())]


def test_the_relu_net_on_one_ray_follows_its_closed_form(groups):
    table = deviations(groups["ray"]["cumulants"], groups["ray"]["theory"])
    for row in rows(table, architecture="relu"):
        N = row["width"]
        exact = {2: 0.0, 4: 5 / N, 6: 15 / N + 44 / N**2}[row["order"]]
        assert row["theory"] == pytest.approx(exact, rel=1e-10, abs=1e-13)
        assert abs(row["mean_abs_m"] - exact) < 5 * max(row["mean_abs_m_stderr"], row["background"])


def test_plotted_numbers_are_those_of_the_store(groups):
    data, theory = groups["ray"]["cumulants"], groups["ray"]["theory"]
    _, table = plot(data, theory)
    for row in table.records():
        name = {2: "G2", 4: "G4", 6: "G6"}[row["order"]]
        cell = data.sel(architecture=row["architecture"], width=row["width"])
        free = theory[f"G{row['order']}_gp"].sel(architecture=row["architecture"]).values
        m = np.abs(cell[name].values / free - 1)
        assert row["mean_abs_m"] == pytest.approx(m.mean(), rel=1e-12)
        assert row["background"] == pytest.approx((cell[f"{name}_stderr"].values / free).mean(), rel=1e-12)
        replicates = np.abs(cell[f"{name}_replicate"].values / free - 1).mean(axis=1)
        R = len(replicates)
        assert row["mean_abs_m_stderr"] == pytest.approx(np.sqrt((R - 1) * replicates.var()), rel=1e-10)
        assert row["components"] == len(m)


def test_zeros_of_the_free_correlator_are_left_out(groups):
    data, theory = groups["ray"]["cumulants"], groups["ray"]["theory"].copy(deep=True)
    theory["G4_gp"][0, 3] = 0.0
    table = deviations(data, theory)
    masked = {r["components_masked"] for r in rows(table, architecture="relu", order=4)}
    assert masked == {1}
    assert all(np.isfinite(r["mean_abs_m"]) for r in table.records())


def test_a_full_correlator_is_trusted_when_all_that_make_it_are(groups):
    data = groups["ray"]["cumulants"].copy(deep=True)
    data["trusted"][:] = True
    data["trusted"][0, 0, 1] = False  # the four-point function of the first cell
    table = deviations(data, groups["ray"]["theory"])
    first = rows(table, architecture="relu", width=4)
    assert [row["trusted"] for row in first] == [True, False, False]


def test_what_is_not_converged_looks_different_and_is_named(groups, texts):
    figure, table = plot(groups["near"]["cumulants"], groups["near"]["theory"], "near")
    assert not all(table.column("trusted"))
    assert "hollow, grey: not converged" in texts(figure)
    faces = {line.get_markerfacecolor() for line in figure.axes[2].get_lines() if line.get_marker() not in ("None", "")}
    assert "none" in faces


@pytest.mark.parametrize(("order", "panels"), [(4, 2), (6, 1)])
def test_orders_that_were_not_estimated_leave_a_panel_that_says_so(groups, texts, truncated, order, panels):
    data, theory = (truncated(groups["ray"][stage], order) for stage in ("cumulants", "theory"))
    figure, table = plot(data, theory)
    assert texts(figure).count("was not estimated") == panels
    assert set(table.column("order")) == set(range(2, order, 2))


def test_no_prediction_leaves_no_line(groups):
    theory = groups["ray"]["theory"].copy(deep=True)
    for name in ("G2", "G4", "G6"):
        theory[name][:] = np.nan
    figure, table = plot(groups["ray"]["cumulants"], theory)
    assert np.isnan(table.column("theory")).all()
    solid = [line for line in figure.axes[1].get_lines() if line.get_linestyle() == "-" and len(line.get_xdata()) > 1]
    assert all(np.isnan(line.get_ydata()).all() for line in solid)


def test_one_width_is_enough(groups):
    one = {stage: groups["ray"][stage].isel(width=[0]) for stage in ("cumulants", "theory")}
    _, table = plot(one["cumulants"], one["theory"])
    assert len(table.rows) == 9
