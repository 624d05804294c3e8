"""Powers of the width and their corrections: calibrated errors, exact deep linear nets, no bias from weak widths."""

import numpy as np
import pytest

from nnqft.couplings.widths import amplitudes, power_law, width_correction
from nnqft.predictions.outputs import theory
from nnqft.spec.grid import architecture

WIDTHS = np.array([5.0, 10, 20, 50, 100])
TRIALS = 300


def calibrated(pulls, width=1.0):
    pulls = np.asarray(pulls)
    assert abs(pulls.mean()) < 4 / np.sqrt(len(pulls))
    assert abs(np.mean(pulls**2) - width) < 4 * np.sqrt(2 / len(pulls)) + 4 / 63


def test_the_exponent_of_correlators_is_calibrated_and_a_bent_line_is_rejected(oracle):
    rng = np.random.default_rng(3)
    shape = oracle.G4c("erf", oracle.points["unit"], 1.0)
    shape[np.abs(shape) < 1e-12] = 0.0
    shape[7] *= -1
    straight, bent = [], []
    for _ in range(TRIALS):
        noise = 0.1 * rng.normal(size=(5, 64, 1)) + 0.1 * rng.normal(size=(5, 64, 126))
        for power, results in ((1 / WIDTHS, straight), (1 / WIDTHS + 3 / WIDTHS**2, bent)):
            groups = power[:, None, None] * shape * (1 + noise)
            replicates = (groups.sum(axis=1, keepdims=True) - groups) / 63
            results.append(power_law(WIDTHS, *amplitudes(groups.mean(axis=1), replicates, shape), -1))
    calibrated([(fit.exponent + 1) / fit.stderr for fit in straight])
    assert abs(np.mean([fit.chi2 for fit in straight]) - 3) < 4 * np.sqrt(6 / TRIALS) + 12 / 63
    assert np.median([fit.p_value for fit in bent]) < 1e-6
    assert {fit.dof for fit in straight} == {3}
    assert straight[0].amplitude == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("leading", [-1, -2])
def test_widths_that_are_hardly_measured_do_not_bend_the_power(leading):
    """Widths 8, 6, 4, 3, 2, 1 and 0.5 errors away from zero: keeping those that fluctuate upwards would flatten it."""
    rng, widths = np.random.default_rng(5), np.array([4.0, 8, 16, 32, 64, 128, 256])
    exact = -3.0 * widths**leading
    error = np.abs(exact) / [8, 6, 4, 3, 2, 1, 0.5]
    fits = [power_law(widths, exact + error * rng.normal(size=7), error, leading) for _ in range(3 * TRIALS)]
    pulls = np.array([(fit.exponent - leading) / fit.stderr for fit in fits])
    assert all(fit.used.all() for fit in fits)
    assert abs(pulls.mean()) < 0.15  # 0.85 where estimates below three errors are left out
    assert np.mean(np.abs(pulls) < 1) == pytest.approx(0.683, abs=0.06)
    assert np.mean([fit.p_value < 0.1 for fit in fits]) == pytest.approx(0.1, abs=0.04)


def test_a_planted_correction_is_recovered():
    rng, exact = np.random.default_rng(6), -2.0 / WIDTHS * (1 + 3 / WIDTHS)
    error = 0.02 * np.abs(exact)
    fits = [width_correction(WIDTHS, exact + error * rng.normal(size=5), error, -1) for _ in range(TRIALS)]
    calibrated([(fit.value - 3) / fit.stderr for fit in fits])
    calibrated([(fit.amplitude + 2) / 0.0348 for fit in fits])
    assert abs(np.mean([fit.chi2 for fit in fits]) - 3) < 4 * np.sqrt(6 / TRIALS)
    assert fits[0].reason == ""
    misfit = width_correction(WIDTHS, exact * (1 + 40 / WIDTHS**2), error, -1)
    assert misfit.p_value < 1e-6


@pytest.mark.parametrize(("depth", "order", "correction"), [(1, 4, 0), (1, 6, 0), (2, 4, 1)])
def test_linear_nets_have_the_correction_that_is_known(depth, order, correction):
    """N [(1 + 2/N)^2 - 1] = 4 (1 + 1/N) and nothing else; one hidden layer has none at all."""
    net = architecture([[0.3], [1.0]], network="linear", depth=depth)
    exact = theory(net, WIDTHS.astype(int)).values[f"G{order}c"][:, 0]
    leading = 1 - order // 2
    sharp = width_correction(WIDTHS, exact, np.zeros(5), leading)
    assert sharp.value == pytest.approx(correction, abs=1e-9)
    assert sharp.reason == "the data have no errors"
    rng, error = np.random.default_rng(7), 0.01 * exact
    noisy = [width_correction(WIDTHS, exact + error * rng.normal(size=5), error, leading) for _ in range(100)]
    calibrated([(fit.value - correction) / fit.stderr for fit in noisy])


def test_deeper_nets_need_further_terms_only_when_narrow():
    """Three linear layers: 6 (1 + 2/N + 4/3N^2)."""
    net, widths = architecture([[1.0]], network="linear", depth=3), np.array([100, 200, 400, 800, 1600])
    exact = theory(net, widths).values["G4c"][:, 0]
    assert width_correction(widths, exact, 1e-3 * exact, -1).value == pytest.approx(2, abs=0.03)
    assert power_law(widths, exact, 1e-3 * exact, -1).exponent == pytest.approx(-1, abs=0.01)


def test_exact_powers_without_errors():
    found = power_law([10, 40, 90, 20], -7 * np.array([10.0, 40, 90, 20]) ** -2.5, np.zeros(4), -2)
    assert (found.exponent, found.amplitude) == pytest.approx((-2.5, -7), rel=1e-9)
    assert np.isnan([found.stderr, found.p_value]).all()
    assert found.reason == "the data have no errors"


def test_missing_and_weak_widths_are_told():
    values, errors = np.array([1.0, 0.5, np.nan, 0.2]), np.array([0.01, 0.01, 0.01, np.nan])
    found = power_law([10, 20, 40, 80], values, errors, -1)
    assert found.used.tolist() == [True, True, False, False]
    assert found.exponent == pytest.approx(-1, abs=0.05)
    assert "no degree of freedom" in found.reason
    for flow in (power_law, width_correction):
        weak = flow([10, 20], [1.0, 0.5], [0.01, 0.4], -1)
        assert weak.reason.startswith("1 width(s)")
        assert "fewer than two" in flow([10, 20], [np.nan, 0.5], [0.0, 0.0], -1).reason
        with pytest.raises(ValueError, match="are wanted"):
            flow([10, 20], [1.0], [0.1], -1)
    assert "do not separate" in width_correction([10, 11], [1.0, 0.9], [0.2, 0.2], -1).reason
    assert "no power" in power_law([10, 20], [10.0, 0.0], [0.1, 0.05], -1).reason
    with pytest.raises(ValueError, match="do not match"):
        amplitudes(np.ones((2, 3)), np.ones((2, 8, 3)), np.ones(4))
