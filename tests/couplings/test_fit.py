"""Fits of couplings: noise-free tables, generalised least squares, refusals and calibration."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import chi2, kstest

from nnqft.couplings.fit import fit_couplings, prediction_errors
from nnqft.couplings.vertices import design, vertex_integrals
from nnqft.estimation.jackknife import covariance as jackknife_covariance

CONSTANT, ALL = ("lambda_0",), ("lambda_0", "lambda_2", "lambda_nl")
LOCAL, NONLOCAL = ("lambda_0", "lambda_2"), ("lambda_0", "lambda_nl")
# (net, points, cutoff, power of it in lambda, mean over components of -G4c / 24 I4, relative std or None, min, max)
PER_COMPONENT = [
    ("relu", "ray", 10.0, 5, -12.5, 0.0, -12.5, -12.5),
    ("relu", "relu2", 3.0, 6, -17.3638892, 0.0352, -18.809728, -16.029625),
    ("relu", "relu3", 3.0, 7, -14.94297689, 0.0797, -17.215522, -12.704176),
    ("gauss", "gauss", np.inf, 0, -5.34568038, 1.12e-4, None, None),
    ("gauss", "gauss", 1.0, 0, -5.600547073, 1.2e-4, None, None),
    ("erf", "small", 10.0, 0, -0.1855602821, 1.7e-4, None, None),
    ("erf", "small", 100.0, 0, -0.1854420673, 2.0e-4, None, None),
    ("erf", "small", 1000.0, 0, -0.1854401806, 2.1e-4, None, None),
]
# (net, points, cutoff, model, couplings, nrms, mape, max, held-out mape, held-out max)
TABLE = [
    ("erf", "unit", 100, CONSTANT, [-0.002362524144], 0.930728, 113.3, 530, 100.6, 192),
    ("erf", "unit", 100, LOCAL, [-0.06216518828, 1.784350316e-05], 0.767496, 77.7, 291, 65.9, 101),
    ("erf", "unit", 100, NONLOCAL, [-0.1395011998, 6.974537884e-4], 0.587770, 47.44, 148, 33.70, 79.5),
    ("erf", "unit", 100, ALL, [-0.2473944273, -5.468921052e-5, 0.002178347587], 0.298866, 29.66, 136, 16.46, 51.3),
    ("erf", "small", 100, CONSTANT, [-0.1854420518], 2.00e-4, 0.01613, 0.0643, 0.0178, 0.0326),
    ("erf", "small", 100, LOCAL, [-0.1869152657, 0.001143194531], 4.44e-6, 3.4e-4, 0.0021, 2.9e-4, 8e-4),
    ("erf", "small", 100, NONLOCAL, [-0.1949426393, 0.001361526166], 4.16e-6, 3.4e-4, 0.0013, 3.4e-4, 6e-4),
    ("erf", "small", 100, ALL, [-0.1913320385, 5.143937e-4, 7.490936e-4], 3.53e-6, 2.8e-4, 0.0011, 2.6e-4, 6e-4),
    ("gauss", "gauss", np.inf, CONSTANT, [-5.345680419], 1.119e-4, 0.00835, 0.0400, 0.00426, 0.0197),
    ("gauss", "gauss", np.inf, ALL, [-16.1344, -21.7844, 6.47675], 8e-9, 6e-7, 3e-6, 3e-7, 7e-7),
    ("relu", "ray", 100, CONSTANT, [-1.25e-9], 0.0, 0.0, 0.0, 0.0, 0.0),
]


def exact(oracle, net, points, shrink=1.0):
    x = oracle.points[points] / shrink
    return x, float(net != "relu"), oracle.G4c(net, x, float(net != "relu"))


def planted(rng, q, m, replicates, spectrum):
    """Data, jackknife replicates and design: Gaussian means of covariance Q diag(spectrum) Q^T, couplings all one."""
    root = np.linalg.qr(rng.normal(size=(q, q)))[0] * np.sqrt(spectrum)
    x = 1 + rng.normal(size=(q, m))
    groups = np.sqrt(replicates) * rng.normal(size=(replicates, q)) @ root.T + x.sum(axis=1)
    mean = groups.mean(axis=0)
    return mean, (replicates * mean - groups) / (replicates - 1), x


@pytest.mark.parametrize(("net", "points", "cutoff", "power", "mean", "spread", "low", "high"), PER_COMPONENT)
def test_coupling_of_every_component(oracle, net, points, cutoff, power, mean, spread, low, high):
    x, sigma_b, data = exact(oracle, net, points)
    column = design(vertex_integrals(net, 1.0, sigma_b, x, [cutoff]), CONSTANT)[0, :, 0]
    coupling = data / column * (cutoff**power if power else 1.0)
    assert coupling.mean() == pytest.approx(mean, rel=1e-8)
    assert abs(coupling.std() / mean) == pytest.approx(spread, rel=0.03, abs=1e-12)
    if low is not None:
        np.testing.assert_allclose([coupling.min(), coupling.max()], [low, high], rtol=1e-7)


@pytest.mark.parametrize(
    ("net", "points", "cutoff", "model", "couplings", "nrms", "mape", "top", "held", "held_top"), TABLE
)
def test_noise_free_fits(oracle, net, points, cutoff, model, couplings, nrms, mape, top, held, held_top):
    x, sigma_b, data = exact(oracle, net, points)
    columns = design(vertex_integrals(net, 1.0, sigma_b, x, [cutoff]), model)[0]
    fit = fit_couplings(data, None, columns, weights="unit")
    hard = net == "gauss" and model == ALL
    np.testing.assert_allclose(fit.values, couplings, rtol=1e-3 if hard else 1e-6)
    assert fit.nrms == pytest.approx(nrms, abs=1e-12, rel=0.1 if hard else 1e-5 if nrms > 0.1 else 2.5e-3)
    np.testing.assert_allclose([fit.mape, fit.max_ape], [mape, top], rtol=0.25 if hard else 0.05, atol=1e-12)
    assert fit.rank == len(model)
    assert np.isnan(fit.chi2)
    x, _, data = exact(oracle, net, points, np.sqrt(2))
    columns = design(vertex_integrals(net, 1.0, sigma_b, x, [cutoff]), model)[0]
    errors = prediction_errors(data, columns @ fit.values)[1:]
    np.testing.assert_allclose(
        errors, [held, held_top], rtol=0.25 if hard else 0.09, atol=1e-12
    )  # printed to one digit


def test_three_couplings_are_refused_for_relu_and_ill_conditioned_for_gauss(oracle):
    x, _, data = exact(oracle, "relu", "ray")
    fit = fit_couplings(data, None, design(vertex_integrals("relu", 1, 0, x, [100]), ALL)[0], weights="unit")
    assert (fit.rank, fit.accepted, fit.condition) == (1, False, np.inf)
    assert np.isnan(fit.values).all()
    assert fit.reason == "3 couplings, but the design has rank 1"
    x, sigma_b, data = exact(oracle, "gauss", "gauss")
    columns = design(vertex_integrals("gauss", 1, sigma_b, x, [np.inf]), ALL)[0]
    fit = fit_couplings(data, None, columns, weights="unit")
    assert fit.rank == 3
    assert 1.5e5 < fit.condition < 2.5e5


def test_exact_zeros_have_no_percentage_error():
    data, prediction = np.array([2.0, 1e-16, 0.5, -1.0]), np.array([2.2, 0.3, 0.5, -1.1])
    nrms, mape, top = prediction_errors(data, prediction)
    np.testing.assert_allclose([mape, top], [20 / 3, 10.0])
    np.testing.assert_allclose(nrms, np.linalg.norm(data - prediction) / np.linalg.norm(data))
    np.testing.assert_allclose(prediction_errors(data, prediction, [True, False, False, False])[1], 5.0)
    assert np.isnan(prediction_errors(np.zeros(2), np.ones(2))).all()


def test_without_a_cut_the_fit_is_textbook_least_squares():
    data, replicates, x = planted(np.random.default_rng(0), 8, 2, 64, 2.0 ** -np.arange(8))
    fit = fit_couplings(data, replicates, x)
    weight = np.linalg.inv(jackknife_covariance(replicates))
    textbook = np.linalg.inv(x.T @ weight @ x)
    np.testing.assert_allclose(fit.values, textbook @ x.T @ weight @ data, rtol=1e-10)
    nu, k = 63, 6
    np.testing.assert_allclose(fit.covariance, textbook * nu * (nu - 1) / ((nu - k) * (nu - k - 1)), rtol=1e-10)
    np.testing.assert_allclose(jackknife_covariance(fit.replicates), fit.covariance, rtol=1e-12)
    residual = data - x @ fit.values
    np.testing.assert_allclose(fit.chi2, residual @ weight @ residual * (nu - k - 1) / nu, rtol=1e-9)
    assert (fit.dof, fit.modes, fit.rank, fit.reason) == (6, 8, 2, "")
    np.testing.assert_allclose(fit.stderr, np.sqrt(np.diagonal(fit.covariance)))
    scales = np.array([1e-9, 1e9])
    np.testing.assert_allclose(fit_couplings(data, replicates, x * scales).values * scales, fit.values, rtol=1e-9)


def test_perfectly_correlated_components_are_one_datum(oracle):
    """ReLU on a ray: the truth, its error from the single fluctuation, no degree of freedom and no p-value."""
    x, _, shape = exact(oracle, "relu", "ray")
    columns = design(vertex_integrals("relu", 1, 0, x, [2.0]), CONSTANT)[0]
    z = np.random.default_rng(4).normal(size=64)
    groups = 1 + 0.1 * z
    replicates = np.outer((groups.sum() - groups) / 63, shape)
    fit = fit_couplings(groups.mean() * shape, replicates, columns)
    assert (fit.modes, fit.dof, fit.chi2) == (1, 0, 0.0)
    assert np.isnan(fit.p_value)
    assert "no degree of freedom" in fit.reason
    assert fit.values[0] * 2.0**5 == pytest.approx(-12.5 * groups.mean(), rel=1e-12)
    assert fit.stderr[0] * 2.0**5 == pytest.approx(12.5 * groups.std(ddof=1) / 8, rel=1e-10)
    assert np.isnan(fit_couplings(shape, replicates, np.column_stack([columns, shape**2])).values).all()


def test_components_without_variance_are_left_out_and_told_if_missed():
    data, replicates, x = planted(np.random.default_rng(5), 6, 1, 64, np.ones(6))
    reference = fit_couplings(data, replicates, x)
    data, replicates = np.append(data, [0.0, 0.3]), np.column_stack([replicates, np.zeros(64), np.full(64, 0.3)])
    fit = fit_couplings(data, replicates, np.vstack([x, np.zeros((2, 1))]))
    np.testing.assert_allclose([fit.values, fit.stderr], [reference.values, reference.stderr], rtol=1e-12)
    assert fit.reason == "1 component(s) without variance are not reproduced"
    rounding = np.random.default_rng(6).normal(size=64) * 1e-33
    fit = fit_couplings(
        np.append(data[:6], 1e-33), np.column_stack([replicates[:, :6], rounding]), np.vstack([x, 1e-20])
    )
    np.testing.assert_allclose([fit.values, fit.stderr], [reference.values, reference.stderr], rtol=1e-12)
    assert (fit.modes, fit.reason) == (6, "")
    none = fit_couplings(data[6:], replicates[:, 6:], np.ones((2, 1)))
    assert none.reason == "the 0 modes kept of the covariance do not determine 1 coupling(s)"


def test_what_cannot_be_fitted_is_refused_with_a_reason():
    data, replicates, x = planted(np.random.default_rng(6), 6, 1, 16, np.ones(6))
    assert fit_couplings(data, replicates, 0 * x).reason == "1 couplings, but the design has rank 0"
    broken = fit_couplings(data * np.nan, replicates, x)
    assert broken.reason == "the data or the design are not finite"
    assert broken.replicates.shape == (16, 1)
    for arguments in [
        (data[:5], replicates, x),
        (data, replicates[:3], x),
        (data, replicates[:, :5], x),
        (data, None, x),
    ]:
        with pytest.raises(ValueError, match=r"match|replicates"):
            fit_couplings(*arguments)
    with pytest.raises(ValueError, match="svd_cut"):
        fit_couplings(data, replicates, x, svd_cut=2.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        broken.values = data


@pytest.mark.parametrize(("q", "m", "spectrum"), [
    (12, 1, np.ones(12)), (12, 2, np.ones(12)), (16, 1, 10.0 ** -(np.arange(16) / 3)),
    (126, 1, 10.0 ** -np.arange(126)), (126, 2, 10.0 ** -(np.arange(126) / 3)),
])  # fmt: skip
def test_calibration(q, m, spectrum):
    """Pulls have mean 0 and variance 1, p is uniform; the textbook error and chi^2 fail the same bounds at q = 16."""
    rng, trials = np.random.default_rng(7), 400
    fits = [fit_couplings(*planted(rng, q, m, 64, spectrum)) for _ in range(trials)]
    pulls = np.array([(fit.values[0] - 1) / fit.stderr[0] for fit in fits])
    assert abs(pulls.mean()) < 4 / np.sqrt(trials)
    bound = 4 * np.sqrt(2 / trials)
    assert abs(np.mean(pulls**2) - 1) < bound
    uniform = 1.95 / np.sqrt(trials)  # Kolmogorov-Smirnov at 0.1 %
    assert kstest([fit.p_value for fit in fits], "uniform").statistic < uniform
    naive = [chi2.sf(fit.chi2 * 63 / (62 - fit.dof), fit.dof) for fit in fits]
    if (q, m) == (16, 1):
        assert abs(np.mean(pulls**2 * [fit.inflation for fit in fits]) - 1) > bound
        assert kstest(naive, "uniform").statistic > uniform


def test_a_flat_spectrum_longer_than_the_replicates_is_conservative():
    rng = np.random.default_rng(8)
    fits = [fit_couplings(*planted(rng, 126, 1, 64, np.ones(126))) for _ in range(100)]
    assert np.mean([(fit.values[0] - 1) ** 2 / fit.stderr[0] ** 2 for fit in fits]) < 1
    assert np.mean([fit.p_value < 0.05 for fit in fits]) <= 0.05


def test_a_wrong_model_is_rejected(oracle):
    """Erf on {-1, ..., 1}: no constant coupling, p < 1e-6 at 1 % noise."""
    x, _, data = exact(oracle, "erf", "unit")
    noise = np.random.default_rng(9).normal(size=(64, 126)) * 0.01 * 8 * np.abs(data)
    groups = data + noise * (np.arange(126) < 16)
    mean = groups.mean(axis=0)
    columns = design(vertex_integrals("erf", 1, 1, x, [100]), CONSTANT)[0]
    fit = fit_couplings(mean, (64 * mean - groups) / 63, columns)
    assert fit.p_value < 1e-6
    assert fit.chi2 > 100 * fit.dof
