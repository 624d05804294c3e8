"""kappa with the complete tree level: exact values, running, planted couplings, the six-point function it closes."""

import actions
import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss

from nnqft.core.packing import multisets, splits, wick
from nnqft.couplings.components import component_mean, sextic_mean
from nnqft.couplings.fit import fit_couplings, whiten
from nnqft.couplings.flow import beta_function
from nnqft.couplings.kernels import leg_kernel
from nnqft.couplings.operators import design, design_slope, quartic_names
from nnqft.couplings.sextic import fit_sextic, predicted, sextic_beta, tree_level
from nnqft.couplings.tree_design import tree_design
from nnqft.couplings.vertices import vertex_integrals

R = 128  # enough for all 28 modes of three points
CONSTANT, LOCAL = ("lambda_0",), ("lambda_0", "lambda_2")
# 2b section 7: (net, points, N, cutoff, mean over components of partial sum / exact G6)
LADDER = [
    ("relu", "ray", 20, 10.0, 0.53763441, 0.94086022, 0.94086022, 1.0),
    ("relu", "relu2", 20, 10.0, 0.540370, 0.941440, 0.941704, 1.000313),
    ("relu", "relu3", 20, 10.0, 0.551536, 0.943922, 0.944940, 1.001327),
    ("erf", "small", 5, 100.0, 0.96723797, 0.99992803, 0.99992803, 1.0),
    ("gauss", "gauss", 1000, np.inf, 0.94293132, 0.98083536, 0.98083536, 1.0),
]


def theory(net, x, cutoff, model=CONSTANT):
    """Columns of G4c, their slope, trees, their slope, I6 and its slope."""
    law = net, 1.0, float(net != "relu"), x, [cutoff]
    four = vertex_integrals(*law, names=quartic_names([model]))
    six = vertex_integrals(*law, names=("I6",))
    trees, slopes = tree_design(*law, model)
    return design(four, model)[0], design_slope(four, model)[0], trees[0], slopes[0], six["I6"][0], six["dI6"][0]


def noisy(rng, exact, relative, root=None):
    """A measurement of `exact` (q,) from R groups whose errors are `relative`, and its jackknife replicates."""
    q = len(exact)
    root = np.eye(q) if root is None else root
    groups = exact * (1 + relative * np.sqrt(R) * rng.normal(size=(R, q)) @ root)
    mean = groups.mean(axis=0)
    return mean, (R * mean - groups) / (R - 1)


def fitted(G4c, G6c, columns, trees, I6):
    quartic = fit_couplings(*G4c, columns)
    return quartic, fit_sextic(*G6c, quartic, trees, I6, whiten(G6c[1]))


@pytest.mark.parametrize(("net", "points", "N", "cutoff", "gp", "measured", "constant", "complete"), LADDER)
def test_ladder_of_the_six_point_function(oracle, net, points, N, cutoff, gp, measured, constant, complete):
    x, sigma_b = oracle.points[points], float(net != "relu")
    n, G4c, G6c = len(x), oracle.G4c(net, x, sigma_b) / N, oracle.G6c(net, x, sigma_b) / N**2
    kernel = (leg_kernel(net, 1.0, sigma_b, x, x) + sigma_b**2)[np.triu_indices(n)]
    columns, _, trees, _, I6, _ = theory(net, x, cutoff)
    nothing = np.zeros((2, 1))
    quartic = component_mean(G4c, nothing * G4c, columns[:, 0] / -24)
    sextic = sextic_mean(G6c, nothing * G6c, quartic, trees[:, 0, 0], I6)
    left, rest = splits(n, 2, 4)

    def exchange(four):
        return np.sum(kernel[left] * four[rest], axis=1)

    free = wick(kernel, n, 6)
    exact = free + exchange(G4c) + G6c
    fit4 = columns[:, 0] * quartic.mean
    fit6 = predicted(np.array([quartic.mean]), sextic.mean, trees, I6)
    sums = [free, free + exchange(G4c), free + exchange(fit4), free + exchange(fit4) + fit6]
    ratios = [np.mean(s / exact) for s in sums]
    np.testing.assert_allclose(ratios, [gp, measured, constant, complete], rtol=1e-6)


def test_relu_is_exact_and_runs_with_the_dimension(oracle):
    x = oracle.points["ray"]
    columns, slopes, trees, tree_slopes, I6, dI6 = theory("relu", x, 7.0)
    rng = np.random.default_rng(2)
    G4c, G6c = (noisy(rng, oracle.__dict__[name]("relu", x, 0.0), 1e-3, np.ones((q, q)) / q)
                for name, q in (("G4c", 126), ("G6c", 462)))  # fmt: skip
    quartic, sextic = fitted(G4c, G6c, columns, trees, I6)
    assert sextic.value * 7.0**7 == pytest.approx(371 / 3, abs=4 * sextic.stderr * 7.0**7)
    beta4 = beta_function(quartic, *G4c, columns, slopes, 7.0)
    beta = sextic_beta(sextic, quartic, beta4, trees, tree_slopes, dI6, 7.0)
    np.testing.assert_allclose(beta.values / sextic.value, -7, rtol=1e-9)
    np.testing.assert_allclose(beta.theory / sextic.value, -7, rtol=1e-9)


@pytest.mark.parametrize("model", [CONSTANT, LOCAL])
def test_beta_of_kappa_is_the_derivative_of_the_fit(oracle, model):
    x, rng = oracle.points["unit"][::2], np.random.default_rng(3)
    data = [noisy(rng, oracle.__dict__[name]("erf", x, 1.0), 1e-2) for name in ("G4c", "G6c")]
    weights4, modes = whiten(data[0][1]), whiten(data[1][1])
    step, cutoff = 1e-4, 10.0
    found, inner = [], None
    for c in (cutoff, cutoff * np.exp(step), cutoff * np.exp(-step)):
        columns, slopes, trees, tree_slopes, I6, dI6 = theory("erf", x, c, model)
        quartic = fit_couplings(*data[0], columns, whitening=weights4)
        if inner is None:  # the weights do not move
            sextic = fit_sextic(*data[1], quartic, trees, I6, modes)
            inner = sextic.fit.whitening @ modes
            beta4 = beta_function(quartic, *data[0], columns, slopes, c)
            beta = sextic_beta(sextic, quartic, beta4, trees, tree_slopes, dI6, c)
        target = inner @ (data[1][0] - tree_level(quartic.values, trees))
        found.append(float(np.linalg.lstsq(inner @ (-720 * I6)[:, None], target, rcond=None)[0][0]))
    assert found[0] == pytest.approx(sextic.value, rel=1e-9)
    assert beta.values[0] == pytest.approx((found[1] - found[2]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("model", [CONSTANT, ("lambda_0", "lambda_2", "lambda_nl")])
def test_planted_couplings_are_recovered_with_calibrated_errors(oracle, model):
    x, rng = oracle.points["unit"][::2], np.random.default_rng(4)
    columns, _, trees, _, I6, _ = theory("erf", x, 3.0, model)
    g, kappa = np.array([-0.2, 0.01, 0.003])[: len(model)], 0.05
    four, six = columns @ g, predicted(g, kappa, trees, I6)
    mixing = [np.linalg.qr(rng.normal(size=(q, q)))[0] * np.geomspace(1, 0.03, q) for q in (len(four), len(six))]
    pulls, p_values, beside = [], [], []
    for _ in range(300):
        data = [noisy(rng, four, 1e-3, mixing[0]), noisy(rng, six, 3e-2, mixing[1])]
        _, sextic = fitted(*data, columns, trees, I6)
        pulls.append((sextic.value - kappa) / sextic.stderr)
        p_values.append(sextic.fit.p_value)
        without = fit_couplings(*data[1], (-720 * I6)[:, None])
        beside.append((without.values[0] - kappa) / without.stderr[0])
    pulls = np.array(pulls)
    assert abs(pulls.mean()) < 3 / np.sqrt(300)
    assert pulls.std() == pytest.approx(1, abs=3.5 / np.sqrt(600))
    assert np.mean(p_values) == pytest.approx(0.5, abs=3.5 / np.sqrt(12 * 300))
    assert abs(np.mean(beside)) > 5  # kappa without the tree


def test_halves_of_the_components_and_refusals(oracle):
    x = oracle.points["small"]
    columns, _, trees, _, I6, _ = theory("erf", x, 10.0)
    rng = np.random.default_rng(5)
    data = [noisy(rng, oracle.__dict__[name]("erf", x, 1.0), 0.1) for name in ("G4c", "G6c")]
    quartic, whole = fitted(*data, columns, trees, I6)
    even = np.arange(0, len(I6), 2)
    half = fit_sextic(*data[1], quartic, trees, I6, whiten(data[1][1][:, even]), components=even)
    assert half.value == pytest.approx(whole.value, abs=5 * half.stderr)
    assert half.modes.shape[1] == len(even)
    still = np.broadcast_to(data[1][0], data[1][1].shape)
    nothing = fit_sextic(data[1][0], still, quartic, trees, I6, whiten(still))
    assert np.isnan(nothing.value)
    assert nothing.fit.reason


def test_factors_of_kappa_are_those_of_perturbation_theory():
    """Three sites: the first-order coefficients of exp(-kappa sum phi^6) are -720 sum K^6 and -360 sum K_yy K^4."""
    n, rng = 3, np.random.default_rng(6)
    root = rng.normal(size=(n, n))
    kernel = root @ root.T / 10
    nodes, weights = hermegauss(8)
    u = np.stack(np.meshgrid(*[nodes] * n, indexing="ij"), axis=-1).reshape(-1, n)
    weights = np.prod(np.meshgrid(*[weights] * n, indexing="ij"), axis=0).ravel()
    phi = u @ np.linalg.cholesky(kernel).T
    circle = 2e-4 * np.exp(2j * np.pi * np.arange(8) / 8)
    density = weights * (1 - circle[:, None] * np.sum(phi**6, axis=1))
    density /= density.sum(axis=1, keepdims=True)
    moments = [density @ phi[:, multisets(n, k)].prod(-1) for k in (2, 4, 6)]
    cumulants = [actions.connected(*(m[t] for m in moments), n) for t in range(8)]
    for order, factor, ends in ((0, -360, np.diagonal(kernel)), (1, -720, np.ones(n))):
        found = np.mean(np.array([c[order] for c in cumulants]) / circle[:, None], axis=0).real
        legs = np.prod(kernel[multisets(n, 4 + 2 * order)], axis=1)
        np.testing.assert_allclose(found, factor * legs @ ends, rtol=0, atol=1e-8 * np.abs(found).max())


def test_constant_couplings_by_least_squares_gain_nothing_where_they_are_rejected(oracle):
    """2b section 7, last row: the Erf-net on [-1, 1], N = 5, unit weights."""
    x, N = oracle.points["unit"], 5
    G4c, G6c = oracle.G4c("erf", x, 1.0) / N, oracle.G6c("erf", x, 1.0) / N**2
    kernel = (leg_kernel("erf", 1.0, 1.0, x, x) + 1)[np.triu_indices(6)]
    columns, _, trees, _, I6, _ = theory("erf", x, 100.0)
    quartic = fit_couplings(G4c, None, columns, weights="unit")
    left, rest = splits(6, 2, 4)
    free, exchange = wick(kernel, 6, 6), lambda four: np.sum(kernel[left] * four[rest], axis=1)
    exact = free + exchange(G4c) + G6c
    with_trees = free + exchange(columns @ quartic.values) + tree_level(quartic.values, trees)
    kappa = fit_couplings(G6c - tree_level(quartic.values, trees), None, -720 * I6[:, None], weights="unit").values[0]
    sums = [
        free,
        free + exchange(G4c),
        free + exchange(columns @ quartic.values),
        with_trees,
        with_trees - 720 * kappa * I6,
    ]
    ratios = [np.mean(s / exact) for s in sums]
    np.testing.assert_allclose(ratios, [0.96708320, 0.99974135, 0.967787, 0.967795, 0.967736], rtol=1e-6)
