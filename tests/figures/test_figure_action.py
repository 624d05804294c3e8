import numpy as np
import pytest

from nnqft.figures.action import plot, quartic


def draw(group, **changes):
    data = {stage: group[stage] for stage in ("action", "cumulants")} | changes
    return plot(data["action"], data["cumulants"], "points")


def test_the_relu_net_on_a_ray_has_one_component(groups):
    """phi(x) = x phi(1): N g4 = -15 at leading order, -15 - 457.5/N at the next, but for the bias of small samples."""
    rows = quartic(groups["ray"]["action"], groups["ray"]["cumulants"]).records()
    relu = [row for row in rows if row["architecture"] == "relu"]
    assert {row["modes"] for row in relu} == {1}
    for row in relu:
        for key, exact in (("N_g4_leading", -15.0), ("N_g4", -15 - 457.5 / row["width"])):
            assert row[key] == pytest.approx(exact, abs=5 * row[f"{key}_stderr"])
        assert row["expansion_parameter"] == row["expansion_of_first"] == pytest.approx(15 / row["width"], rel=0.3)
        assert not row["within_limit"]
        assert row["N_g4_continuum"] == pytest.approx(row["N_g4_leading"], rel=1e-6)  # one coupling, one component


def test_the_limit_of_the_series_is_shown(groups, texts):
    figure, table = draw(groups["ray"])
    assert not any(table.column("within_limit"))
    words = texts(figure)
    assert "series not reliable" in words
    assert "next to leading order, not reliable at any width" in words
    assert "one component: hardly a test" in words
    good = groups["ray"]["action"].copy(deep=True)
    good["expansion_parameter"][:] = 0.05
    figure, table = draw(groups["ray"], action=good)
    assert all(table.column("within_limit"))
    assert "not reliable at any width" not in texts(figure)


def test_distance_to_the_continuum_fit(groups, texts):
    group = groups["ray"]
    row = next(r for r in quartic(group["action"], group["cumulants"]).records() if r["architecture"] != "relu")
    cell = group["action"].sel(architecture=row["architecture"], width=row["width"], model="lambda_0")
    assert row["model"] == "lambda_0"
    assert row["continuum_distance"] == float(cell["continuum_distance"])
    assert row["N_g4_continuum"] == row["width"] * float(cell["g4_principal_continuum"][0])
    if row["modes"] > 1:
        assert "distance $" in texts(draw(group)[0])


def test_untrusted_cells_are_hollow(groups):
    figure, table = draw(groups["near"])
    assert not any(table.column("trusted"))
    lines = [line for line in figure.axes[0].get_lines() if line.get_marker() in ("o", "s")]
    assert {line.get_markerfacecolor() for line in lines} == {"none"}


def test_no_action_says_why(groups, texts):
    data = groups["ray"]["action"]
    empty = data.drop_vars([v for v in data.data_vars if v != "status"])
    empty["status"][:] = "amputation mixes all components"
    figure, table = draw(groups["ray"], action=empty)
    assert table.rows == ()
    assert texts(figure).count("amputation mixes all components") == 2 * data.sizes["architecture"]


def test_leading_order_alone(groups, texts, truncated):
    data = groups["ray"]["action"].copy(deep=True)
    data["g4_principal"][:] = np.nan
    figure, table = draw(groups["ray"], action=data, cumulants=truncated(groups["ray"]["cumulants"], 6))
    assert "next to leading" not in texts(figure)
    assert np.isfinite(table.column("N_g4_leading")).all()
