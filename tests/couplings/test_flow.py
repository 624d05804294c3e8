"""Running of the couplings: exact beta functions, slopes with jackknife errors, poles."""

from decimal import Decimal

import numpy as np
import pytest
from scipy.optimize import brentq

from nnqft.couplings.fit import fit_couplings
from nnqft.couplings.flow import beta_function, finite_difference_beta, slope
from nnqft.couplings.vertices import design, design_slope, vertex_integrals

CONSTANT, LOCAL = ("lambda_0",), ("lambda_0", "lambda_2")
# (net, points, legs, {cutoff: d log |lambda| / d log cutoff}), as printed: right to half a unit of the last digit
RUNNING = [
    ("gauss", "gauss", (0, 1, 2, 3), {0.1: "-.98674", 1: "-.226282", 2: "-1.07e-3", 3: "-7e-8"}),
    ("erf", "small", (0, 1, 2, 3), {1: "-.4478", 10: "-1.774e-3", 100: "-4.371e-6", 1e3: "-9.41e-7",
                                    1e5: "-6.885e-5", 1e7: "-6.838e-3", 1e9: "-.4078", 1e11: "-.98568"}),
    ("erf", "unit", (0, 0, 0, 0), {10: "-.8316", 100: "-.9680"}),
    ("erf", "corners2", (0, 0, 0, 0), {10: "-1.6636", 100: "-1.9848", 1000: "-1.9997"}),
    ("erf", "corners3", (0, 0, 0, 0), {10: "-2.5776", 100: "-2.9902", 1000: "-2.9999"}),
]  # fmt: skip
# (points, factor on them, legs, cutoff where the plateau ends: slope -d / 2)
CROSSOVER = [
    ("small", 1, (0, 0, 0, 0), 3.485e10), ("small", 1, (0, 1, 2, 3), 1.452e9), ("small", 1, (5, 5, 5, 5), 2.692e7),
    ("unit", 1, (2, 2, 2, 2), 458.9), ("unit", 1, (2, 2, 3, 3), 305.2), ("corners2", 0.01, (0, 0, 0, 0), 17864),
    ("corners3", 0.01, (0, 0, 0, 0), 1430),
]  # fmt: skip


def jackknife(groups):
    return (groups.sum(axis=0) - groups) / (len(groups) - 1)


def fits(net, sigma_b, x, cutoffs, data, replicates, model, **options):
    """Fit and beta function at every cutoff."""
    integrals = vertex_integrals(net, 1.0, sigma_b, x, cutoffs)
    found = []
    for cutoff, columns, gradient in zip(
        cutoffs, design(integrals, model), design_slope(integrals, model), strict=True
    ):
        fit = fit_couplings(data, replicates, columns, **options)
        found.append((fit, beta_function(fit, data, replicates, columns, gradient, cutoff)))
    return found


@pytest.mark.parametrize(("net", "points", "legs", "values"), RUNNING)
def test_running_of_a_component(oracle, net, points, legs, values):
    x = oracle.points[points]
    cutoffs, c = np.array(list(values), dtype=float), oracle.component(len(x), *legs)
    found = vertex_integrals(net, 1.0, 1.0, x, cutoffs)
    for value, printed in zip(-cutoffs * found["dI4"][:, c] / found["I4"][:, c], values.values(), strict=True):
        half_a_unit = 0.5 * 10.0 ** Decimal(printed).as_tuple().exponent
        assert abs(value - float(printed)) <= 1.0001 * half_a_unit


@pytest.mark.parametrize(("points", "factor", "legs", "cutoff"), CROSSOVER)
def test_ultraviolet_law_of_erf(oracle, points, factor, legs, cutoff):
    """The plateau ends at the crossover, where the slope is -d / 2 on its way to -d."""
    x = factor * oracle.points[points]
    c, cutoffs = oracle.component(len(x), *legs), cutoff * np.array([1, 1e4])
    found = vertex_integrals("erf", 1.0, 1.0, x, cutoffs)
    running = -cutoffs * found["dI4"][:, c] / found["I4"][:, c]
    np.testing.assert_allclose(running, -x.shape[1] * np.array([0.5, 1]), rtol=1e-3)


def test_pole_of_the_coupling_of_one_component(oracle):
    c = oracle.component(6, 0, 1, 2, 3)

    def i4(cutoff):
        return vertex_integrals("erf", 1.0, 1.0, oracle.points["unit"], [cutoff])["I4"][0, c]

    assert brentq(i4, 30, 60, xtol=1e-10) == pytest.approx(40.52659096, rel=1e-6)


@pytest.mark.parametrize(("points", "degree"), [("ray", 5), ("relu2", 6), ("relu3", 7)])
def test_relu_runs_with_the_dimension_for_every_component(oracle, points, degree):
    x, cutoffs = oracle.points[points], np.array([7.0, 10.0, 20.0, 50.0, 100.0, 1000.0])
    integrals = vertex_integrals("relu", 1.0, 0.0, x, cutoffs)
    data = oracle.G4c("relu", x, 0.0)
    coupling = data / design(integrals, CONSTANT)[..., 0]
    slopes = [slope(cutoffs, column, None).value for column in coupling.T]
    np.testing.assert_allclose(slopes, -degree, rtol=1e-10)
    np.testing.assert_allclose(finite_difference_beta(cutoffs, coupling), -degree * coupling, rtol=1e-10)
    for fit, beta in fits("relu", 0.0, x, cutoffs, data, None, CONSTANT, weights="unit"):
        np.testing.assert_allclose([beta.values, beta.theory], [-degree * fit.values] * 2, rtol=1e-10)


@pytest.mark.parametrize(
    ("net", "points", "model"),
    [("erf", "unit", CONSTANT), ("erf", "unit", LOCAL), ("erf", "small", LOCAL), ("gauss", "gauss", CONSTANT)],
)
def test_exact_beta_is_the_derivative_of_the_fit(oracle, net, points, model):
    """Central differences of fits with a covariance; the theory differs from it exactly by the residuals."""
    x, h, rng = oracle.points[points], 1e-4, np.random.default_rng(1)
    noise = 0.05 * rng.normal(size=(64, 1)) + 0.02 * rng.normal(size=(64, 4)) @ rng.normal(size=(4, 126))
    exact = oracle.G4c(net, x, 1.0)
    groups = exact + (np.abs(exact) + 1e-3) * noise
    data, replicates = groups.mean(axis=0), jackknife(groups)
    (low, _), (fit, beta), (high, _) = fits(net, 1.0, x, 2.0 * np.exp([-h, 0, h]), data, replicates, model)
    np.testing.assert_allclose(beta.values, (high.values - low.values) / (2 * h), rtol=1e-4)
    spread = (high.replicates - low.replicates) / (2 * h)
    np.testing.assert_allclose(beta.replicates, spread, rtol=1e-4, atol=1e-4 * np.abs(spread).max())
    assert np.all(beta.stderr > 0)
    columns = design(vertex_integrals(net, 1.0, 1.0, x, [2.0]), model)[0]
    ((again, at_fit),) = fits(net, 1.0, x, [2.0], columns @ fit.values, replicates, model)
    np.testing.assert_allclose(again.values, fit.values, rtol=1e-8)
    np.testing.assert_allclose(at_fit.values, beta.theory, rtol=1e-6)
    np.testing.assert_allclose(at_fit.theory, beta.theory, rtol=1e-6)


def test_a_refused_fit_has_no_beta(oracle):
    x = oracle.points["ray"]
    ((fit, beta),) = fits("relu", 0.0, x, [10.0], oracle.G4c("relu", x, 0.0), None, LOCAL, weights="unit")
    assert not fit.accepted
    assert np.isnan([beta.values, beta.theory, beta.stderr]).all()


def test_finite_differences_cross_zero():
    cutoffs = np.array([1.0, 2.0, 4.0, 8.0])
    couplings = np.column_stack([np.log(cutoffs) - 1, cutoffs**-5.0, -(cutoffs**2)])
    found = finite_difference_beta(cutoffs, couplings)
    np.testing.assert_allclose(found, np.column_stack([np.ones(4), -5 * cutoffs**-5.0, -2 * cutoffs**2]), rtol=1e-12)
    with pytest.raises(ValueError, match="increasing cutoffs"):
        finite_difference_beta([2.0, 1.0], couplings[:2])


def test_slope_error_comes_from_the_replicates_and_is_calibrated():
    """Coupling -u Lambda^-(5 + v), u and v fluctuating: no scatter about the line, but an error."""
    rng, cutoffs, trials = np.random.default_rng(2), np.array([7.0, 10, 20, 50, 100, 1000]), 300
    pulls = []
    for _ in range(trials):
        u, v = 1 + 0.3 * rng.normal(size=(64, 1)), 0.05 * rng.normal(size=(64, 1))
        groups = -np.exp(0.1 * u) * cutoffs ** -(5 + v)
        mean = -np.exp(np.log(np.abs(groups)).mean(axis=0))
        found = slope(cutoffs, mean, -np.exp(jackknife(np.log(np.abs(groups)))))
        pulls.append((found.value + 5) / found.stderr)
    assert abs(np.mean(pulls)) < 4 / np.sqrt(trials)
    assert abs(np.mean(np.square(pulls)) - 1) < 4 * np.sqrt(2 / trials) + 2 / 63
    assert found.stderr == pytest.approx(0.05 / 8, rel=0.3)


def test_a_coupling_with_a_pole_or_compatible_with_zero_has_no_slope():
    cutoffs, replicates = [1.0, 2.0, 4.0], -np.ones((8, 3))
    assert slope(cutoffs, [-1.0, -1.0, -1.0], replicates).stderr == 0
    assert slope(cutoffs, [-1.0, 1.0, -1.0], replicates).reason == "the coupling changes sign between the cutoffs"
    assert "not determined" in slope(cutoffs, [-1.0, np.nan, -1.0], replicates).reason
    replicates[3, 1] = 0.1
    found = slope(cutoffs, [-1.0, -1.0, -1.0], replicates)
    assert np.isnan([found.value, found.stderr]).all()
    assert "compatible with zero" in found.reason
    assert "two different cutoffs" in slope([2.0], [-1.0], replicates[:, :1]).reason
