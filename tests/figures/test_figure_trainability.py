"""The map of trainability: what it plots is what the store has; bounds are arrows."""

import numpy as np
import pytest
from criticality_data import ACCURACY, trained_map

from nnqft.figures.style import image
from nnqft.figures.trainability import plot


@pytest.fixture(scope="module")
def trained():
    with pytest.MonkeyPatch.context() as patch:
        return trained_map(patch)


def test_plotted_numbers_are_those_of_the_store(trained):
    figure, numbers = plot(trained, "clusters")
    assert len(numbers.rows) == 12
    for k, row in enumerate(numbers.records()):
        i, j = divmod(k, 3)
        assert (row["accuracy"], row["depth"]) == (ACCURACY[i, j], [4, 8, 16][j])
        assert row["accuracy_stderr"] == trained["accuracy_stderr"].values[i, j]
        for name in ("xi_c", "chi_perp", "trainable_depth", "trainable_depth_low", "trainable_depth_stderr"):
            np.testing.assert_equal(row[name], trained[name].values[i])
        assert row["trainable_depth_status"] == str(trained["trainable_depth_status"].values[i])
    mesh = figure.axes[0].collections[0]
    np.testing.assert_array_equal(np.asarray(mesh.get_array()), ACCURACY.T)


def test_bounds_are_arrows_at_the_depths_measured(trained):
    figure, _ = plot(trained, "clusters")
    marks = {line.get_marker(): line.get_xydata() for line in figure.axes[0].lines if line.get_marker() in "^vo"}
    np.testing.assert_allclose(marks["^"], [[1.2**2, 16], [1.6**2, 16]])
    np.testing.assert_allclose(marks["v"], [[2.4**2, 4]])
    np.testing.assert_allclose(marks["o"], [[0.8**2, trained["trainable_depth"].values[0]]])


def test_multiples_of_the_depth_scale_are_broken_at_the_boundary(trained):
    figure, _ = plot(trained, "clusters")
    curves = [line.get_xydata() for line in figure.axes[0].lines if line.get_color() == "#D55E00"]
    assert [len(curve) for curve in curves] == [2, 2] * 3
    for multiple, order in zip((1, 2, 6), curves[::2], strict=True):
        np.testing.assert_allclose(order[:, 1], multiple * trained["xi_c"].values[:2])


@pytest.mark.parametrize("where", [{"sigma_w": [0]}, {"depth": [1]}, {"sigma_w": [3], "depth": [0]}])
def test_a_single_row_or_column(trained, texts, where):
    figure, numbers = plot(trained.isel(where), "a$map")
    assert image(figure, "png").startswith(b"\x89PNG")
    assert len(numbers.rows) == trained.isel(where)["accuracy"].size
    assert r"a\$map" in texts(figure)


def test_nothing_known_about_the_depth_scale(trained):
    blank = trained.assign(xi_c=trained["xi_c"] * np.nan, accuracy=trained["accuracy"] * np.nan)
    assert image(plot(blank, "clusters")[0], "png").startswith(b"\x89PNG")
