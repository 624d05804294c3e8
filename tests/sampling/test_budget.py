"""Adaptive budgets: how many blocks an error asks for, and how a cell ends."""

import numpy as np
import pytest

from nnqft.sampling.budget import MARGIN, Budget, relative_error

AIM = Budget(2, 1000, (("G4c", 0.01),), 64)


@pytest.mark.parametrize(
    ("blocks", "error", "trusted", "wanted"),
    [
        (2, 0.01, True, 2),  # met
        (2, 0.02, True, np.ceil(2 * MARGIN * 4)),  # errors fall as 1 / sqrt(blocks)
        (50, 0.0101, True, np.ceil(50 * MARGIN * 1.0201)),
        (2, 0.5, True, 1000),  # at most the ceiling
        (8, 0.001, False, 16),  # what cannot be trusted at least doubles
        (8, 0.03, False, 72),
        (8, np.inf, True, np.ceil(8 * MARGIN * 4)),  # no error yet
        (1000, 0.5, True, 1000),
    ],
)
def test_blocks_that_an_error_asks_for(blocks, error, trusted, wanted):
    assert AIM.more(blocks, {"G4c": error}, trusted) == wanted


def test_the_noisiest_of_several_targets_decides():
    both = Budget(2, 1000, (("G4c", 0.01), ("G6c", 0.05)), 64)
    assert both.more(2, {"G4c": 0.005, "G6c": 0.1}, True) == np.ceil(2 * MARGIN * 4)
    assert both.more(2, {"G4c": 0.005, "G6c": 0.04}, True) == 2


def test_how_a_cell_ends():
    assert AIM.outcome({"G4c": 0.009}, True) == "met"
    assert AIM.outcome({"G4c": 0.011}, True) == "ceiling"
    assert AIM.outcome({"G4c": 0.009}, False) == "ceiling"
    assert Budget(3, 3).outcome({}, True) == "fixed"
    assert Budget(3, 3).more(3, {}, True) == 3


def test_relative_errors_count_all_points_alike():
    value, error, norm = np.array([4.0, 1.0]), np.array([0.4, 0.1]), np.array([4.0, 1.0])
    assert relative_error(value, error, norm) == pytest.approx(0.1)
    assert relative_error(np.zeros(2), error, norm) == np.inf
