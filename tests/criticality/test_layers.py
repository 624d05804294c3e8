"""K, V, G1 and U layer by layer: reference values, growth with depth, and the simulated chain."""

import numpy as np
import pytest
from chains import kernels, pair_kernels, variance
from scipy.stats import kstat

from nnqft.core.packing import multisets, pack
from nnqft.criticality import finite_width, mean_field, stationary, universality
from nnqft.criticality.averages import resolved
from nnqft.criticality.layers import depth_slopes, line_moments
from nnqft.nets import deep

BIAS, PAIR = np.sqrt(0.05), np.array([[1.0, 0.5], [0.5, 0.8]])


def test_one_input_of_tanh():
    found = finite_width("tanh", np.sqrt(1.76), BIAS, 1.0, 3)
    np.testing.assert_array_equal(found.layer, [1, 2, 3, 4])
    values = [found.K[3, 0], found.V[3, 0, 0], found.G1[3, 0], found.U[3, 0]]
    np.testing.assert_allclose(values, [0.60931997, 0.30912636, -0.12488675, 0.15037516], atol=1e-8)
    assert found.V[0, 0, 0] == found.G1[0, 0] == found.U[0, 0] == 0


def test_two_inputs_of_tanh():
    found = finite_width("tanh", np.sqrt(1.76), BIAS, PAIR, 5)
    np.testing.assert_allclose(found.K[5], [0.57975154, 0.36650639, 0.57606554], atol=2e-8)
    rows = [found.V[5, i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (2, 2))]
    np.testing.assert_allclose(rows, [0.303816, 0.226024, 0.095982, 0.671619, 0.302952], atol=1e-6)
    np.testing.assert_allclose(found.G1[5], [-0.182801, -0.051993, -0.187696], atol=1e-6)
    alone = finite_width("tanh", np.sqrt(1.76), BIAS, 0.8, 5)
    for many, one in ((found.K[5, 2], alone.K), (found.V[5, 2, 2], alone.V), (found.U[5, 1], alone.U)):
        assert many == pytest.approx(one[5].item(), rel=1e-9)


def test_two_inputs_of_relu():
    found = finite_width("relu", np.sqrt(2), 0.0, PAIR, 5)
    expected = {(0, 0): 25, (0, 1): 16.039265, (0, 2): 11.614035, (1, 1): 13.344196, (2, 2): 16}
    for (i, j), value in expected.items():
        assert found.V[5, i, j] == pytest.approx(value, abs=1e-6)
    np.testing.assert_allclose(found.G1[5], [0, -0.526051, 0], atol=1e-6)
    assert found.K[5, 1] == pytest.approx(0.736493, abs=1e-6)
    m = np.arange(6)
    np.testing.assert_allclose(found.U[:, 0], 44 * m + 75 * m * (m - 1), rtol=1e-12)


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu"])
def test_deep_chains_take_the_same_steps(name):
    fast = finite_width(name, 1.3, 0.4, 0.7, 4)
    general = deep.finite_width(resolved(name), 1.3, 0.4, np.array([[0.7]]), 4)
    for part in ("K", "V", "G1"):
        np.testing.assert_allclose(getattr(fast, part), getattr(general, part), rtol=1e-9, atol=1e-12)


def test_growth_with_depth_at_criticality():
    depth = 1000
    found = finite_width("tanh", 1.0, 0.0, 1.0, depth - 1)
    K, V, G1, U = found.K[-1, 0], found.V[-1, 0, 0], found.G1[-1, 0], found.U[-1, 0]
    slopes = depth_slopes("tanh")
    assert (slopes.v, slopes.g) == (2 / 3, -1 / 3)
    assert V / K**2 / depth == pytest.approx(slopes.v, abs=0.004)
    assert V / K**2 / depth == pytest.approx(0.6643, abs=2e-4)
    assert G1 / K / depth == pytest.approx(slopes.g, abs=0.004)
    assert U / K**3 / depth**2 == pytest.approx(slopes.u, abs=0.015)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "v", "g"), [("sin", 0.6667, -0.3319), ("erf", 0.6648, -0.3309)])
def test_growth_is_universal(name, v, g):
    at, depth = universality(name), 1000
    found = finite_width(name, at.sigma_w, 0.0, 1.0, depth - 1)
    assert found.V[-1, 0, 0] / found.K[-1, 0] ** 2 / depth == pytest.approx(v, abs=1e-4)
    assert found.G1[-1, 0] / found.K[-1, 0] / depth == pytest.approx(g, abs=1e-4)


@pytest.mark.parametrize(("name", "v", "u"), [("linear", 2, 12), ("relu", 5, 75)])
def test_scale_invariant_growth(name, v, u):
    slopes, at = depth_slopes(name), universality(name)
    assert (slopes.v, slopes.g, slopes.u) == pytest.approx((v, 0, u), rel=1e-12)
    found = finite_width(name, at.sigma_w, 0.0, 1.7, 40)
    np.testing.assert_allclose(found.V[:, 0, 0] / found.K[:, 0] ** 2, v * (found.layer - 1), rtol=1e-12)
    np.testing.assert_allclose(found.G1, 0, atol=1e-14)


def test_half_stable_growth():
    at, slopes = universality("gelu"), depth_slopes("gelu")
    found = finite_width("gelu", at.sigma_w, at.sigma_b, at.q_star, 199)
    assert found.V[-1, 0, 0] / at.q_star**2 / 199 == pytest.approx(slopes.v, rel=1e-9)
    assert slopes.v == pytest.approx(4.904, abs=5e-4)
    assert found.G1[-1, 0] / at.q_star == pytest.approx(-49.4, abs=0.05)
    assert slopes.power == 2
    assert found.G1[-1, 0] / at.q_star / (199 * 198) == pytest.approx(slopes.g, rel=1e-4)


def test_stationary_fluctuations_are_the_end_of_the_recursion():
    found = stationary("tanh", [1.0, 1.3, 0.5], [BIAS, BIAS, 0.0])
    for i, sigma_w in enumerate((1.0, 1.3)):
        deep_chain = finite_width("tanh", sigma_w, BIAS, float(found.q_star[i]), 120)
        for part in ("V", "G1", "U"):
            assert getattr(found, part)[i] == pytest.approx(getattr(deep_chain, part)[-1].item(), rel=1e-9)
    assert found.V[2] == found.G1[2] == found.U[2] == 0
    assert np.isnan(stationary("relu", np.sqrt(2), 0.0).V)
    at = line_moments(resolved("tanh"), found.q_star[0], 1.0, BIAS)
    assert mean_field("tanh", 1.0, BIAS).chi_par == pytest.approx(at.chi, rel=1e-12)


def test_the_first_step_is_exact_at_any_width():
    for phi, name, C_W, n in ((lambda z: np.maximum(z, 0), "relu", 2.0, 32), (np.tanh, "tanh", 1.7, 3)):
        value, error = variance(kernels(phi, C_W, 0.0, 1.0, n, 1, 20_000, seed=4)[0])
        S = finite_width(name, np.sqrt(C_W), 0.0, 1.0, 1).V[1, 0, 0]
        assert value == pytest.approx(S / n, abs=4 * error)
        assert error < 0.015 * value
    assert finite_width("relu", np.sqrt(2), 0.0, 1.0, 1).V[1, 0, 0] / 32 == pytest.approx(0.15625, rel=1e-12)


def test_cumulants_of_tanh_networks():
    n, found = 64, finite_width("tanh", np.sqrt(1.76), BIAS, 1.0, 3)
    samples = kernels(np.tanh, 1.76, 0.05, 1.0, n, 3, 20_000, seed=1)[-1]
    value, error = variance(samples)
    assert value == pytest.approx(found.V[3, 0, 0] / n, abs=4 * error)
    mean = found.K[3, 0] + found.G1[3, 0] / n
    assert samples.mean() == pytest.approx(mean, abs=4 * samples.std() / np.sqrt(len(samples)))
    third = [kstat(part, 3) for part in samples.reshape(40, -1)]
    assert np.mean(third) == pytest.approx(found.U[3, 0] / n**2, abs=4 * np.std(third) / np.sqrt(40))


def test_kernels_know_the_quartic_cumulant_better_than_outputs():
    samples = kernels(np.tanh, 1.76, 0.05, 1.0, 64, 3, 20_000, seed=6)[-1].reshape(40, -1)
    outputs = np.sqrt(samples) * np.random.default_rng(7).standard_normal(samples.shape)
    averaged = 3 * samples.var(axis=1, ddof=1)
    direct = np.array([kstat(part, 4) for part in outputs])
    assert direct.mean() == pytest.approx(averaged.mean(), abs=4 * direct.std() / np.sqrt(40))
    assert direct.var() / averaged.var() > 1000


def test_covariances_of_two_inputs():
    n, found = 100, finite_width("tanh", np.sqrt(1.76), BIAS, PAIR, 3)
    K = pair_kernels(np.tanh, 1.76, 0.05, PAIR, n, 3, 3000, seed=2)
    a, b = multisets(2, 2).T
    samples = n * np.cov(pack(K).T)
    assert samples.shape == found.V[3].shape == (len(a), len(b))
    np.testing.assert_allclose(samples, found.V[3], atol=0.12 * found.V[3].max())


@pytest.mark.parametrize("kernel", [[[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.2], [0.3, 1.0]], [[1.0, 0.2]]])
def test_what_is_no_covariance_is_refused(kernel):
    with pytest.raises(ValueError, match="kernel must be"):
        finite_width("tanh", 1.0, 0.0, kernel, 2)
