import numpy as np
import pytest

from nnqft.core.packing import multisets
from nnqft.figures.comparison import component_label, representatives
from nnqft.figures.scaling import plot, scaled


def test_plotted_numbers_are_those_of_the_store(groups):
    data, theory = groups["ray"]["cumulants"], groups["ray"]["theory"]
    _, table = plot(data, theory)
    assert len(table.rows) == 3 * 2 * (3 + 2)  # at three points the pairs of a sextet are its most distinct legs
    for row in table.records():
        name, dim = {4: ("G4c", "quad"), 6: ("G6c", "sext")}[row["order"]]
        legs = [int(digit) for digit in row["component"]]
        c = np.flatnonzero((data[f"{dim}_points"].values == legs).all(axis=1))[0]
        scale = row["width"] ** (row["order"] // 2 - 1)
        cell = {"architecture": row["architecture"], "width": row["width"], dim: c}
        assert row["scaled_value"] == pytest.approx(scale * data[name].sel(cell).item(), rel=1e-12)
        assert row["scaled_stderr"] == pytest.approx(scale * data[f"{name}_stderr"].sel(cell).item(), rel=1e-12)
        assert row["scaled_theory"] == pytest.approx(scale * theory[name].sel(cell).item(), rel=1e-12)


def test_the_relu_net_has_its_exact_values(groups):
    table = scaled(groups["ray"]["cumulants"], groups["ray"]["theory"])
    exact = {"0000": 3.75 * 0.2**4, "0022": 3.75 * 0.2**2 * 1.2**2, "000000": 82.5 * 0.2**6}
    found = {r["component"]: r["scaled_theory"] for r in table.records() if r["architecture"] == "relu"}
    for component, value in exact.items():
        assert found[component] == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize(
    ("points", "order", "wanted"),
    [
        (6, 4, ["0000", "0055", "0123"]),
        (6, 6, ["000000", "003355", "012345"]),
        (3, 4, ["0000", "0022", "0012"]),
        (2, 6, ["000000", "001111", "000111"]),
        (1, 4, ["0000"]),
        (6, 2, ["00", "01"]),
    ],
)
def test_representative_components(points, order, wanted):
    found = representatives(points, multisets(points, order))
    assert [component_label(legs) for legs in found.values()] == wanted


def test_labels_of_many_points_stay_readable():
    assert component_label((0, 3, 10, 11)) == "0.3.10.11"


@pytest.mark.parametrize("order", [4, 6])
def test_orders_that_were_not_estimated_leave_a_panel_that_says_so(groups, texts, truncated, order):
    figure, table = plot(*(truncated(groups["near"][stage], order) for stage in ("cumulants", "theory")))
    assert texts(figure).count("was not estimated") == {4: 2, 6: 1}[order]
    assert len(table.rows) == {4: 0, 6: 6}[order]


def test_missing_predictions_and_one_width(groups):
    theory = groups["ray"]["theory"].copy(deep=True)
    theory["G4c"][:], theory["G6c"][:] = np.nan, np.nan
    _, table = plot(groups["ray"]["cumulants"].isel(width=[1]), theory.isel(width=[1]))
    assert np.isnan(table.column("scaled_theory")).all()
    assert set(table.column("width")) == {16}
