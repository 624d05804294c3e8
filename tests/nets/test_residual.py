"""Residual perceptrons: kernels, exact linear networks, leading 1/N with a neuron's own history, both samplers."""

import drawn
import jax.numpy as jnp
import numpy as np
import pytest
from drawn import agree
from scipy.special import erf

from nnqft.core.packing import pack, pairing_legs, rank, wick
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.influence import quartic
from nnqft.nets.kernels import first_kernel
from nnqft.nets.residual import Options, Residual

X = np.array([(1, 0.5), (-0.3, 0.8), (0.6, -1)])
SIGMA = np.sqrt(1.5), np.sqrt(0.1)
LISTED = rank(np.array([(0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 2), (0, 1, 1, 2)]), 3)
LEADING = np.array([1.0034, 2.959, -1.668, 0.432]), np.array([0.0005, 0.004, 0.005, 0.006])
KEY = jnp.array([11, 12], dtype=jnp.uint32)


def residual(activation="erf", branches=2, width=16, sampler="conditional", dtype="float64", **options):
    return Residual(ACTIVATIONS[activation], branches, width, sampler, dtype, Options(**options))


def measured(net, x, networks, sigma=SIGMA):
    """G2 and N G4c: (value, standard error) of each."""
    return drawn.measured(net, x, networks, sigma, KEY, scale=net.width)


def test_kernel_of_the_table():
    expected = [1.0682427983, 0.3219232407, -0.3456958310]
    np.testing.assert_allclose(pack(residual().gp_kernel(X, *SIGMA))[[0, 1, 4]], expected, atol=1e-8)


def test_leading_quartic_of_the_table():
    value, error = (part[LISTED] for part in quartic(residual(), X, *SIGMA))
    assert np.all(np.abs(value - LEADING[0]) < 4 * np.hypot(error, LEADING[1]))
    assert np.all(np.abs(value / LEADING[0] - 1)[:3] < 0.01)


@pytest.mark.parametrize(("branches", "expected"), [(2, 1.0317), (8, 1.0565), (32, 1.0638)])
def test_branches_scaled_with_depth_saturate(branches, expected):
    value, error = quartic(residual(branches=branches, scaling="depth"), X[:1], *SIGMA)
    assert abs(value[0] / expected - 1) < 0.01
    assert abs(value[0] - self_consistent(branches, 1 / branches)[0]) < 4 * error[0]


def test_correlation_of_a_neuron_with_its_own_past_matters():
    """The recursion of W_l and X_lm by quadrature; without S^{lm}, l != m, it is far off."""
    value, error = quartic(residual(branches=4), X[:1], *SIGMA)
    full, diagonal = self_consistent(4, 1.0)
    assert abs(value[0] - full) < 4 * error[0]
    assert abs(value[0] - diagonal) > 40 * error[0]


def self_consistent(branches, scale):
    """N G4c(0000) from W_l = N Var A_l and X_lm = N Cov(A_l, psi_m), and the same without S^{lm} for l != m."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    readout, bias = SIGMA[0] ** 2, SIGMA[1] ** 2
    c = [scale * readout] * branches + [readout]
    kernel = [bias + readout * np.mean(X[0] ** 2)]
    for _ in range(branches):
        kernel.append(kernel[-1] + scale * (bias + readout * weights @ erf(np.sqrt(kernel[-1]) * nodes) ** 2))
    last = branches + 1
    source, slope = np.zeros((last, last)), np.zeros(last)
    for m in range(last):
        h = np.sqrt(kernel[m]) * nodes
        square, root = erf(h) ** 2, np.sqrt(kernel[m])
        slope[m] = c[m] * weights @ (square * (nodes**2 - 1)) / (2 * kernel[m])
        for n in range(m, last):
            later = erf(root * nodes[:, None] + np.sqrt(kernel[n] - kernel[m]) * nodes) ** 2
            joint = weights @ (square[:, None] * later) @ weights
            source[m, n] = source[n, m] = c[m] * c[n] * (joint - (weights @ square) * (weights @ later @ weights))
    found = []
    for S in (source, np.diag(np.diag(source))):
        W, cross = 0.0, np.zeros(last)
        for m in range(last):
            growth = slope[m] + (m < branches)
            W = growth**2 * W + 2 * growth * cross[m] + S[m, m]
            cross = growth * cross + S[m]
        found.append(3 * W)
    return found


def test_linear_network_on_one_point():
    """3 C_W^2 k^2 {(1 + 2/N) [1 + (4c + 2c^2) / (N (1 + c)^2)]^R - 1}; a number for N = 16, R = 4, c = 1/8."""
    net, x, sigma = residual("linear", 4, scaling="depth"), np.array([[np.sqrt(2.075)]]), (np.sqrt(0.5), 0.0)
    widths = np.array([[1.0], [16.0], [1e6]])
    known = net.known(x, *sigma, widths)
    c, N = 0.125, widths[:, 0]
    k = (1 + c) ** 4 * 1.0375
    expected = 3 * 0.25 * k**2 * ((1 + 2 / N) * (1 + (4 * c + 2 * c**2) / (N * (1 + c) ** 2)) ** 4 - 1)
    np.testing.assert_allclose(known.values[4][:, 0], expected, rtol=1e-9)
    assert known.values[4][1, 0] / 0.25 == pytest.approx(2.0530013, abs=1e-7)
    np.testing.assert_allclose(known.values[2], 0.5 * k, rtol=1e-14)
    assert known.quality == {2: "exact", 4: "exact"}
    assert 6 not in known.values


def test_linear_network_of_a_single_neuron():
    """N = 1: h' = (1 + W) h + b, moments by hand, E (1 + W)^4 = 1 + 6c + 3c^2."""
    (sigma_w, sigma_b), pairs = (0.8, 0.4), pairing_legs(3, 4)
    c, bias = sigma_w**2, sigma_b**2
    second = pack(first_kernel(X, sigma_w, sigma_b))
    fourth = wick(second, 3, 4)
    for _ in range(3):
        fourth = (1 + 6 * c + 3 * c**2) * fourth + (1 + c) * bias * second[pairs].sum(axis=(1, 2)) + 3 * bias**2
        second = (1 + c) * second + bias
    known = residual("linear", 3).known(X, sigma_w, sigma_b, np.array([[1.0]]))
    np.testing.assert_allclose(known.values[2][0], sigma_b**2 + c * second, rtol=1e-12)
    np.testing.assert_allclose(known.values[4][0], c**2 * (3 * fourth - wick(second, 3, 4)), rtol=1e-11, atol=1e-12)


def test_linear_network_on_several_points_with_biases():
    net, sigma = residual("linear", 2, 8), (0.8, 0.4)
    known = net.known(X, *sigma, np.array([[8.0], [1e9]]))
    second, fourth = measured(net, X, 2**17, sigma)
    assert agree(second, (known.values[2][0], 0))
    assert agree(fourth, (8 * known.values[4][0], 0))
    leading, error = quartic(net, X, *sigma)
    assert np.all(np.abs(leading - 1e9 * known.values[4][1]) < 4 * error)


@pytest.mark.parametrize("options", [{}, {"scaling": "depth"}])
def test_both_samplers_have_one_law(options):
    found = [measured(residual(width=8, sampler=s, **options), X, 2**16) for s in Residual.samplers]
    for one, other in zip(*found, strict=True):
        assert agree(one, other)
    if not options:
        (second, _), fourth = found[0]
        np.testing.assert_allclose(second[0], 1.0482, atol=0.003)
        reference = np.array([1.0380, 2.782, -1.531]), np.array([0.0015, 0.004, 0.003])
        assert agree([part[LISTED[:3]] for part in fourth], reference)


def test_width_64_is_near_the_leading_order():
    _, (fourth, error) = measured(residual(width=64), X, 2**15)
    assert np.all(np.abs(fourth[LISTED] - LEADING[0]) < 0.04 * np.abs(LEADING[0]) + 3 * error[LISTED])


def test_what_is_predicted_and_what_is_refused():
    assert residual().independence == "none"
    known = residual().known(X[:1], *SIGMA, np.array([[10.0], [20.0]]))
    assert known.quality == {4: "leading-1/N"}
    np.testing.assert_allclose(known.values[4][0], 2 * known.values[4][1])
    assert residual("gauss", 1).refuse(X, 0.0) is not None
    assert residual("relu", 1).refuse(X, 0.0) is None
