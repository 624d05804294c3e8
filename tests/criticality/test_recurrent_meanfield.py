"""Discrete-time mean-field theory: Gaussian pairs, two-time correlators, replicas, Lyapunov exponents, leaks."""

import numpy as np
import pytest

import nnqft.criticality
from nnqft.core.errors import InputError
from nnqft.core.gaussian import pair_averages
from nnqft.criticality.dmft import correlator, replica_correlator, tangent_correlator
from nnqft.criticality.lyapunov import exponent, leaky_critical, leaky_rates, lyapunov_theory
from nnqft.criticality.pairs import Pairs, UndefinedError, fixed_point, pairs
from nnqft.nets.activations import ACTIVATIONS, Activation
from nnqft.nets.kernels import evaluate

ROW = [0, 0.04, 0.0723, 0.0983, 0.1191, 0.1358, 0.1493, 0.1602, 1.0453]
EXPONENTS = [(1.5, 0.0, 0.0, 0.06522), (2.0, 0.0, 0.0, 0.15472), (1.5, 0.2, 0.1, 0.01342), (1.0, 0.0, 0.2, -0.24895)]


def some_kernels(scale=1.0, count=30):
    a = np.random.default_rng(1).normal(size=(count, 2, 2)) * np.sqrt(scale)
    k = a @ a.transpose(0, 2, 1)
    return np.concatenate(
        [np.stack([k[:, 0, 0], k[:, 0, 1], k[:, 1, 1]]), [[scale, 0], [scale, 0], [scale, 1]]], axis=1
    )


@pytest.mark.parametrize("name", ["erf", "sin", "linear"])
def test_mehler_sum_agrees_with_closed_forms(name):
    aa, ab, bb = some_kernels()
    nameless = Pairs(Activation("nameless", ACTIVATIONS[name].function, odd=True), 0.7)
    np.testing.assert_allclose(nameless.values(aa, ab, bb), pairs(name, 0.7).values(aa, ab, bb), atol=1e-13)
    np.testing.assert_allclose(nameless.slopes(aa, ab, bb), pairs(name, 0.7).slopes(aa, ab, bb), atol=1e-13)


@pytest.mark.parametrize("scale", [1.0, 8.0])
def test_averages_of_tanh_agree_with_two_dimensional_quadrature(scale):
    aa, ab, bb = some_kernels(scale, 5)
    units = [lambda z, k=k: evaluate(ACTIVATIONS["tanh"], z, k) for k in (0, 1)]
    found = pair_averages(units, np.stack([aa, ab, bb], axis=1), [(0, 0), (1, 1)])
    np.testing.assert_allclose(pairs("tanh").values(aa, ab, bb), found[0, 0], atol=1e-9)
    np.testing.assert_allclose(pairs("tanh").slopes(aa, ab, bb), found[1, 1], atol=1e-9)
    assert pairs("tanh").square(scale) == pytest.approx(found[0, 0][-2], abs=1e-9)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_slopes_are_the_derivative_by_the_covariance(name):
    step, averages = 1e-5, pairs(name, 1.3)
    low, high = (averages.values(0.8, 0.3 + sign * step, 0.5) for sign in (-1, 1))
    assert averages.slopes(0.8, 0.3, 0.5) == pytest.approx((high - low) / (2 * step), abs=1e-9)


def test_row_of_the_table_and_no_memory_in_layered_networks():
    C = correlator("tanh", 8, 1.5, 0.2, 0.1)
    np.testing.assert_allclose(C[8], ROW, atol=1e-4)
    layered = correlator("tanh", 8, 1.5, 0.2, 0.1, tied=False)
    np.testing.assert_allclose(layered, np.diag(np.diagonal(C)), atol=1e-12)


def test_leaky_correlator_of_a_linear_network():
    """C(t, t) = sum_k binom(t, k)^2 (1 - gamma)^2(t - k) sigma_w^2k q_0: words W^k at N -> infinity are orthonormal."""
    from math import comb

    C = correlator("linear", 6, 0.8, initial=2.0, gamma=0.4)
    exact = [2 * sum(comb(t, k) ** 2 * 0.6 ** (2 * (t - k)) * 0.8 ** (2 * k) for k in range(t + 1)) for t in range(7)]
    np.testing.assert_allclose(np.diagonal(C), exact, rtol=1e-12)
    np.testing.assert_allclose(C[2, 1], 2 * (0.6**3 + 2 * 0.6 * 0.8**2), rtol=1e-12)


@pytest.mark.parametrize(("sigma_w", "sigma_b", "noise", "value"), EXPONENTS)
def test_exponents_of_the_table(sigma_w, sigma_b, noise, value):
    found = nnqft.criticality.lyapunov_theory("tanh", sigma_w, sigma_b, noise)
    assert type(found) is float
    assert found == pytest.approx(value, abs=1e-5)


def test_replicas_separate_at_the_exponent():
    single, cross = replica_correlator("tanh", 15, 1.5, 0.2, 0.1, distance=1e-8, initial=1.04531)
    distance = 2 * np.diagonal(single - cross)
    tangent = np.diagonal(tangent_correlator("tanh", single, 1.5))
    assert np.log(distance[15] / distance[14]) / 2 == pytest.approx(0.0134156, abs=1e-6)
    assert np.log(tangent[15] / tangent[14]) / 2 == pytest.approx(0.0134156, abs=1e-7)
    np.testing.assert_allclose(distance, 1e-8 * tangent, rtol=1e-6)


def test_far_replicas_settle_where_their_map_is_stationary():
    """Chaotic phase: c q* = sigma_w^2 <phi phi>_(q*, c q*) + sigma_b^2 with c < 1."""
    q = fixed_point(pairs("erf"), 1.6, 0.2, 0.1)
    single, cross = replica_correlator("erf", 60, 1.6, 0.2, 0.1, distance=q, initial=q)
    np.testing.assert_allclose(np.diagonal(single), q)
    end = cross[60, 60]
    assert end == pytest.approx(1.6**2 * pairs("erf").values(q, end, q) + 0.04 + 0.1, abs=1e-4)
    assert end < 0.9 * q


def test_leaks_move_the_transition_of_tied_networks():
    for tied, rate in zip((True, False), leaky_rates(1.0, 0.7, 0.5), strict=True):
        growth = np.diagonal(correlator("linear", 300, 0.7, gamma=0.5, tied=tied))
        assert np.log(growth[300] / growth[299]) / 2 == pytest.approx(rate, abs=1e-3)
    assert leaky_rates(1.0, 0.7, 0.5) == pytest.approx((0.1823216, -0.1505525), abs=1e-7)
    assert leaky_rates(0.5, 1.2, 1.0) == pytest.approx((np.log(0.6), np.log(0.6)))
    for gamma in (0.3, 1.0, 1.4):
        tied, layered = leaky_critical(0.8, gamma)
        assert leaky_rates(0.8, tied, gamma).tied == pytest.approx(0, abs=1e-12)
        assert leaky_rates(0.8, layered, gamma).layered == pytest.approx(0, abs=1e-12)


def test_exponents_that_need_no_stationary_state_and_limits():
    assert lyapunov_theory("linear", 1.2, 0.3, 0.1) == pytest.approx(np.log(1.2))
    assert lyapunov_theory("relu", 1.2, 0.3, 0.1) == pytest.approx(np.log(1.2 / np.sqrt(2)))
    assert lyapunov_theory("tanh", 0.9, 0, 0) == pytest.approx(np.log(0.9))
    assert lyapunov_theory("tanh", 1, 0, 0) == pytest.approx(0, abs=1e-9)
    assert lyapunov_theory("erf", 1, 0, 0, scale=np.sqrt(np.pi) / 2) == pytest.approx(0, abs=1e-9)
    assert lyapunov_theory("tanh", 0, 0, 1) == -np.inf
    assert fixed_point(pairs("relu"), 1.0, 0.3, 0.2) == pytest.approx(0.58)


def test_missing_is_nan_with_a_reason():
    for name, sigma_w in (("gelu", 3.0), ("gauss", 1.0)):
        assert np.isnan(lyapunov_theory(name, sigma_w, 0.1, 0.1))
    with pytest.raises(UndefinedError, match="variance"):
        exponent("gelu", 3.0, 0.1, 0.1)
    with pytest.raises(UndefinedError, match="gauss"):
        exponent("gauss", 1.0, 0.1, 0.1)
    for arguments in (("relo", 1, 0, 0), ("tanh", -1, 0, 0), ("tanh", 1, 0, np.nan), ("tanh", 1, 0, 0, "never")):
        with pytest.raises(InputError):
            lyapunov_theory(*arguments)
    with pytest.raises(InputError, match="gamma"):
        lyapunov_theory("tanh", 1, 0, 0, gamma=2)
