import numpy as np
import pytest

from nnqft.figures import sextic
from nnqft.figures.running import smallest_width
from nnqft.figures.sixpoints import plot


def draw(group, **changes):
    data = {stage: group[stage] for stage in ("sixpoints", "cumulants")} | changes
    return plot(data["sixpoints"], data["cumulants"], "points")


def test_plotted_numbers_are_those_of_the_stores(groups):
    group = groups["ray"]
    _, table = draw(group)
    assert len(table.rows) == 3 * 28
    for row in table.records():
        at = {"architecture": row["architecture"], "width": row["width"]}
        legs = [int(c) for c in row["component"]]
        c = int(np.flatnonzero((group["sixpoints"]["sext_points"].values == legs).all(axis=1))[0])
        cell = group["sixpoints"].sel(at | {"model": "lambda_0"}).isel(sext=c)
        measured = group["cumulants"].sel(at).isel(sext=c)
        assert row["model"] == "lambda_0"
        assert row["width"] == 4  # the smallest
        assert row["ratio_gp"] == pytest.approx(float(cell["G6_gp"] / measured["G6"]), rel=1e-12)
        for step in ("lambda", "complete"):
            assert row[f"ratio_{step}"] == pytest.approx(float(cell[f"G6_{step}"] / measured["G6"]), rel=1e-12)
            assert row[f"pull_{step}"] == pytest.approx(float(cell[f"pull_{step}"]), nan_ok=True)
        assert row["relative_error"] == pytest.approx(float(measured["G6_stderr"] / abs(measured["G6"])), rel=1e-12)


def test_the_relu_net_climbs_the_ladder_of_its_closed_form(groups):
    """G6 / G6_gp = 1 + 15/N + 44/N^2 for every component on a ray; the second step knows 1 + 15/N."""
    _, table = draw(groups["ray"])
    for row in (row for row in table.records() if row["architecture"] == "relu"):
        N, error = row["width"], 5 * row["relative_error"]
        full = 1 + 15 / N + 44 / N**2
        assert row["ratio_gp"] == pytest.approx(1 / full, rel=error)
        assert row["ratio_lambda"] == pytest.approx((1 + 15 / N) / full, rel=error)
        assert row["ratio_complete"] == pytest.approx(1.0, rel=error)


def test_components_are_in_the_order_of_their_free_value(groups):
    _, table = draw(groups["ray"])
    free = [row["ratio_gp"] * row["G6"] for row in table.records() if row["architecture"] == "relu"]
    assert free == sorted(free)


def test_the_figure_says_what_it_compares(groups, texts):
    words = texts(draw(groups["ray"])[0])
    assert "$N=4$" in words
    assert r"$\Lambda=80$" in words
    assert "model lambda_0" in words
    assert r"$\kappa$ from the other half of the components" in words
    assert "trees:" in words
    moved = groups["ray"]["sixpoints"].copy(deep=True)
    moved["source"][:] = "points elsewhere"
    assert r"$\kappa$ from points elsewhere" in texts(draw(groups["ray"], sixpoints=moved)[0])


def test_the_smallest_trusted_width_is_shown():
    widths = np.array([50, 4, 16])
    assert smallest_width(widths, np.array([True, False, True])) == 2
    assert smallest_width(widths, np.array([False, False, False])) == 1


def test_what_is_not_converged_is_hollow_and_named(groups):
    figure, table = draw(groups["near"])
    assert not any(table.column("trusted"))
    headings = [axes.get_legend().get_title().get_text() for axes in figure.axes]
    assert headings == ["hollow, grey: not converged (heavy tail)"] * 2
    faces = {line.get_markerfacecolor() for line in figure.axes[1].get_lines() if line.get_marker() not in ("None", "")}
    assert faces == {"none"}


def test_a_missing_kappa_leaves_two_steps_and_a_reason(groups, texts):
    data = groups["ray"]["sixpoints"].copy(deep=True)
    for name in ("G6_complete", "pull_complete", "mape_complete", "p_value_complete"):
        data[name][:] = np.nan
    data["status"][:] = "no kappa from half of the components"
    figure, table = draw(groups["ray"], sixpoints=data)
    assert np.isnan(table.column("ratio_complete")).all()
    assert "no kappa from half of the components" in texts(figure).replace("\n", " ")


def test_without_six_points_the_panels_say_so(groups, texts, truncated):
    group = groups["ray"]
    data = group["sixpoints"].drop_vars([v for v in group["sixpoints"].data_vars if v != "status"])
    data["status"][:] = "the six-point cumulant was not estimated"
    figure, table = draw(group, sixpoints=data, cumulants=truncated(group["cumulants"], 6))
    assert table.rows == ()
    assert texts(figure).replace("\n", " ").count("the six-point cumulant was not estimated") == 6


def test_kappa_of_the_relu_net(groups, texts):
    """N^2 kappa = 371/3 Lambda^-7 exactly (d_in = 1)."""
    group = groups["ray"]
    figure, table = sextic.plot(group["couplings"], group["flow"], group["cumulants"], "ray")
    rows = [row for row in table.records() if row["architecture"] == "relu"]
    assert [row["slope"] for row in rows] == pytest.approx([-7.0] * len(rows), abs=1e-6)
    for row in rows:
        scale = row["cutoff"] ** 7
        assert abs(row["N2_kappa"] * scale - 371 / 3) < 5 * row["N2_kappa_stderr"] * scale
        fit = group["couplings"].sel({key: row[key] for key in ("architecture", "width", "cutoff", "model")})
        assert row["p_value"] == pytest.approx(float(fit["kappa_p_value"]), nan_ok=True)
        cell = group["cumulants"]["trusted"].sel(architecture="relu", width=row["width"])
        assert row["trusted"] == bool(cell.sel(order=[4, 6]).all())
    assert r"relu:  $\kappa>0$" in texts(figure)
    assert r"$|\kappa|$" in texts(figure)
