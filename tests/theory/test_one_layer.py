"""Exact cumulants at one hidden layer: the reference values of HMS's three nets in one, two and three dimensions."""

import numpy as np
import pytest
from scipy.special import erf

from nnqft.core.gaussian import trapezoid_rule
from nnqft.core.packing import multisets, pairings, rank, splits, wick
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.kernels import first_factor
from nnqft.nets.mlp import MLP
from nnqft.nets.onelayer import unit_moments
from nnqft.nets.weightlaws import WeightLaw, neuron_cumulants

SPREAD = np.array([-1, -0.6, -0.2, 0.2, 0.6, 1])[:, None]
RAY = np.array([0.2, 0.4, 0.6, 0.8, 1.0, 1.2])[:, None]
SMALL = RAY / 100
SQUARE = np.array([(-1, -1), (-1, 1), (1, -1), (1, 1)], dtype=float)
TETRAHEDRON = np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)], dtype=float)
POSITIVE_SQUARE = np.array([(0.5, 0.5), (0.5, 1), (1, 0.5), (1, 1)])
POSITIVE_CUBE = np.array([(0.2, 0.2, 0.2), (1, 1, 0.2), (0.2, 1, 1), (1, 0.2, 1)])

REFERENCES = [
    ("relu", 0.0, RAY, {"00": 0.02, "05": 0.12, "0000": 0.006, "0055": 0.216, "0123": 0.144}),
    ("relu", 0.0, RAY, {"000000": 0.00528, "012345": 3.8016}),
    ("erf", 1.0, SPREAD, {"00": 1.590334470601733, "05": 1.0, "0000": 0.3997964146, "0055": 0.6969895744}),
    ("erf", 1.0, SPREAD, {"0123": 0.3460630968, "000000": -0.2484836454}),
    ("erf", 1.0, SPREAD, {"0112": 0.364614351272, "001122": 0.0576915504221}),
    ("erf", 1.0, SMALL, {"0000": 0.362465264096, "0123": 0.36246587103}),
    ("erf", 1.0, SMALL, {"000000": 0.0876659741459, "012345": 0.0876600032575}),
    ("gauss", 1.0, 0.01 * SPREAD, {"00": 2.0, "05": 1.9998000199986667, "0000": 160.8599809848}),
    ("gauss", 1.0, 0.01 * SPREAD, {"0055": 160.7297452612, "0123": 160.7919894038}),
    ("gauss", 1.0, 0.01 * SPREAD, {"000000": 2441825.3163, "012345": 2438211.9795}),
    ("relu", 0.0, POSITIVE_SQUARE, {"0033": 0.9375, "0123": 1.01349651942, "0112": 0.758739089854}),
    ("relu", 0.0, POSITIVE_SQUARE, {"001122": 6.23331876672, "001123": 8.49184701142, "012333": 22.6598375412}),
    ("relu", 0.0, POSITIVE_CUBE, {"0033": 0.0874270089491, "0123": 0.255455368486, "0112": 0.293364493257}),
    ("relu", 0.0, POSITIVE_CUBE, {"001122": 0.953596430749, "001123": 0.870644673858, "012333": 3.3243878328}),
    ("erf", 1.0, SQUARE, {"0033": 0.6969895743613, "0123": 0.3667417522636, "0112": 0.27660942675}),
    ("erf", 1.0, SQUARE, {"001122": 1.263229679979, "001123": 0.4351421706823, "012333": 0.6619621019232}),
    ("gauss", 1.0, 0.01 * SQUARE, {"0033": 160.729745261, "0123": 160.729745301, "0112": 160.746019039}),
    ("gauss", 1.0, 0.01 * SQUARE, {"001122": 2437919.46303, "001123": 2437675.55469, "012333": 2437919.46303}),
    ("gauss", 1.0, 0.01 * TETRAHEDRON, {"0033": 160.773145558, "0123": 160.729745315, "0112": 160.751443989}),
    ("gauss", 1.0, 0.01 * TETRAHEDRON, {"001122": 2437919.46304, "001123": 2437594.25734, "012333": 2437919.46304}),
]


def one_layer(name, x, sigma_w, sigma_b):
    """G2, N G4c, N^2 G6c by order, packed, and how each was found: the predictions of a perceptron of width 1."""
    known = MLP(ACTIVATIONS[name], 1, 1).known(x, sigma_w, sigma_b, np.array([[1.0]]))
    return {order: known.values[order][0] for order in (2, 4, 6)}, known.quality


def component(values, legs):
    points, values = np.array([int(leg) for leg in legs]), values[len(legs)]
    n = next(n for n in range(1, 10) if len(multisets(n, len(legs))) == len(values))
    return values[rank(points, n)]


@pytest.mark.parametrize(("name", "sigma_b", "x", "expected"), REFERENCES)
def test_reference_values(name, sigma_b, x, expected):
    layer, _ = one_layer(name, x, 1.0, sigma_b)
    for legs, value in expected.items():
        assert component(layer, legs) == pytest.approx(value, rel=3e-10), legs


def test_sixth_cumulant_of_six_points_pairing_by_pairing():
    """Erf net, 012345: the sum of 15 third joint cumulants on a plain 160 x 160 Gauss-Hermite grid, .3684973996."""
    u, w = np.polynomial.hermite_e.hermegauss(160)
    s = erf(u[:, None, None] * SPREAD[:, 0] + u[None, :, None]).reshape(-1, 6)
    weights = np.outer(w, w).ravel() / w.sum() ** 2

    def average(*legs):
        return weights @ s[:, legs].prod(axis=1)

    total = 0.0
    for p, q, r in pairings(6):
        products = average(*p, *q, *r), average(*p) * average(*q) * average(*r)
        mixed = average(*p) * average(*q, *r) + average(*q) * average(*p, *r) + average(*r) * average(*p, *q)
        total += products[0] - mixed + 2 * products[1]
    assert total == pytest.approx(0.3684973996, abs=1e-10)
    assert component(one_layer("erf", SPREAD, 1.0, 1.0)[0], "012345") == pytest.approx(total, rel=1e-11)


def test_relu_on_a_ray_to_all_components():
    """G4c = 3.75 prod x / N (m_4 = 5/N) and G6c = 82.5 prod x / N^2, exactly; quoted as exact."""
    layer, quality = one_layer("relu", RAY, 1.0, 0.0)
    np.testing.assert_allclose(layer[4], 3.75 * RAY[multisets(6, 4), 0].prod(axis=1), rtol=1e-12)
    np.testing.assert_allclose(layer[6], 82.5 * RAY[multisets(6, 6), 0].prod(axis=1), rtol=1e-12)
    assert quality == dict.fromkeys((2, 4, 6, 8), "exact")


def test_exact_zeros_of_the_erf_net():
    """At x = +-1 with sigma_w = sigma_b the two preactivations are independent; no other component vanishes."""
    layer, _ = one_layer("erf", SPREAD, 1.0, 1.0)
    quads, sexts = multisets(6, 4), multisets(6, 6)
    odd_split = [np.isin(legs, (0, 5)).all(axis=1) & (np.sum(legs == 5, axis=1) % 2 == 1) for legs in (quads, sexts)]
    np.testing.assert_array_equal(odd_split[0], np.abs(layer[4]) < 1e-12)
    np.testing.assert_array_equal(odd_split[1], np.abs(layer[6]) < 1e-12)
    assert (odd_split[0].sum(), odd_split[1].sum()) == (2, 3)


def test_scaling_with_the_weight_variance_of_a_homogeneous_net():
    """relu without bias: both layers scale, G_2k,c as sigma_w^(4 k)."""
    one, two = (one_layer("relu", POSITIVE_CUBE, s, 0.0)[0] for s in (1.0, 2.0))
    np.testing.assert_allclose(two[2], 2.0**4 * one[2], rtol=1e-12)
    np.testing.assert_allclose(two[4], 2.0**8 * one[4], rtol=1e-9)
    np.testing.assert_allclose(two[6], 2.0**12 * one[6], rtol=1e-9)


@pytest.mark.parametrize("d_in", [1, 3])
def test_relu_with_bias_against_monte_carlo(d_in):
    """Moments of P = s s of one unit by plain sampling, within 5 of their own standard errors."""
    rng = np.random.default_rng(42)
    x = rng.normal(size=(3, d_in))
    layer, _ = one_layer("relu", x, 1.4, 0.6)
    batches = []
    for _ in range(100):
        z = 1.4 / np.sqrt(d_in) * rng.normal(size=(10000, d_in)) @ x.T + 0.6 * rng.normal(size=(10000, 1))
        s = 1.4 * np.maximum(z, 0)
        moments = {k: s[:, multisets(3, k)].prod(axis=2).mean(axis=0) for k in (2, 4, 6)}
        batches.append(np.concatenate([moments[2] + 0.36, moments[4] * 3, moments[6] * 15]))
    mean, error = np.mean(batches, axis=0), np.std(batches, axis=0, ddof=1) / 10
    pairs, quads = splits(3, 2, 4)
    second = layer[2] - 0.36
    fourth = layer[4] + wick(second, 3, 4)
    sixth = layer[6] + np.sum(second[pairs] * fourth[quads], axis=1) - 2 * wick(second, 3, 6)
    pull = (mean - np.concatenate([layer[2], fourth, sixth])) / error
    assert np.max(np.abs(pull)) < 5
    assert np.sqrt(np.mean(pull**2)) > 0.2


def test_gaussian_units_have_no_sixth_cumulant_beyond_wick():
    """A linear unit: kappa_3 of pair products counts the 8 cyclic contractions of three pairs."""
    layer, _ = one_layer("linear", np.array([[1.0]]), 1.0, 0.0)
    assert layer[4][0] == pytest.approx(3 * 2)
    assert layer[6][0] == pytest.approx(15 * 8)


def test_third_cumulant_needs_every_term():
    """Negative control: leaving out the (pair | quad) multiplicity of three changes the reference by far."""
    moments = {2: np.array([1.0]), 4: np.array([3.0]), 6: np.array([15.0])}
    pairs, quads = splits(1, 2, 4)
    assert neuron_cumulants(moments, 1, WeightLaw("gaussian").moments)[6][0] == 120
    assert (15 * moments[6] - np.sum(moments[2][pairs] * moments[4][quads], axis=1) + 2 * 15)[0] != 120


def test_quadrature_statuses():
    higher = dict.fromkeys((4, 6, 8), "quadrature")
    erf, tanh = (one_layer(name, SPREAD[:3], 1.0, 0.5)[1] for name in ("erf", "tanh"))
    assert erf == {2: "exact"} | higher
    assert tanh == {2: "quadrature"} | higher
    assert one_layer("gauss", SQUARE, 1.0, 0.5)[1][6] == "exact"
    assert one_layer("relu", SQUARE, 1.0, 0.0)[1] == {2: "exact"} | higher
    with pytest.raises(ValueError, match="rank <= 4"):
        unit_moments(ACTIVATIONS["tanh"], first_factor(np.eye(5), 1.0, 0.0), (2, 4, 6))


def test_gauss_net_against_a_lattice():
    """The closed form of the log-normal unit, order 4, by a trapezoid sum over (w, b)."""
    x, sigma_b = np.array([[0.3], [-0.5]]), 0.4
    layer, _ = one_layer("gauss", x, 1.0, sigma_b)
    legs = multisets(2, 4)
    variance = sigma_b**2 + x[:, 0] ** 2
    total = np.zeros(len(legs))
    for nodes, weights in trapezoid_rule(np.array([0.2, 0.2]), 12.0):
        s = np.exp(nodes[:, :1] * x[:, 0] + sigma_b * nodes[:, 1:] - variance)
        total += weights @ s[:, legs].prod(axis=2)
    np.testing.assert_allclose(layer[4], 3 * total - wick(layer[2] - sigma_b**2, 2, 4), rtol=1e-12)
