"""Quadrature rules against closed forms that know nothing of quadrature."""

import tracemalloc
from itertools import product

import numpy as np
import pytest
from scipy.special import erf

from nnqft.core.gaussian import (
    QuadratureError,
    factor_kernel,
    homogeneous_moments,
    packed_moments,
    pair_averages,
    radial_moment,
    smooth_moments,
    sphere_rule,
    trapezoid_rule,
)
from nnqft.core.packing import multisets, pack, rank, wick

RNG = np.random.default_rng(11)


def relu(z):
    return np.maximum(z, 0)


def sine_moments(kernel, order):
    """E prod sin z_a = (2 i)^-order sum over signs of prod(s) exp(-s K s / 2): the characteristic function."""
    legs = multisets(len(kernel), order)
    blocks = kernel[legs[:, :, None], legs[:, None, :]]
    signs = np.array(list(product((-1, 1), repeat=order)))
    waves = np.exp(-np.einsum("si,cij,sj->cs", signs, blocks, signs) / 2)
    return (-1) ** (order // 2) * waves @ signs.prod(axis=1) / 2**order


@pytest.mark.parametrize(("points", "r"), [(6, 1), (6, 2), (5, 3), (4, 4)])
def test_smooth_moments_of_sine_units_are_exact(points, r):
    factor = 0.8 * RNG.normal(size=(points, r))
    moments = smooth_moments(np.sin, factor, (2, 4, 6), odd=True)
    for order, values in moments.items():
        exact = sine_moments(factor @ factor.T, order)
        np.testing.assert_allclose(values, exact, rtol=0, atol=1e-12 * np.max(np.abs(exact)))


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 10.0])
def test_smooth_moments_of_linear_units_are_wicks_theorem(scale):
    factor = scale * RNG.normal(size=(4, 2))
    moments = smooth_moments(lambda z: z, factor, (2, 4, 6))
    for order, values in moments.items():
        exact = wick(pack(factor @ factor.T), 4, order)
        np.testing.assert_allclose(values, exact, rtol=0, atol=1e-11 * np.max(np.abs(exact)))


def test_trapezoid_beats_gauss_hermite_for_erf():
    factor = 2 * np.array([[1.0], [0.5]])
    moments = smooth_moments(erf, factor, (6,), odd=True)[6]
    u, w = np.polynomial.hermite_e.hermegauss(40)
    hermite = packed_moments([(u[:, None], w / w.sum())], erf, factor, (6,))[6]
    lattice = packed_moments(trapezoid_rule(np.array([0.05]), 10.0), erf, factor, (6,))[6]
    np.testing.assert_allclose(moments, lattice, rtol=1e-12)
    assert np.max(np.abs(hermite / lattice - 1)) > 1e-7


def test_half_lattice_is_the_whole_one_for_even_integrands():
    steps, factor = np.array([0.3, 0.4, 0.5]), RNG.normal(size=(3, 3))
    whole = packed_moments(trapezoid_rule(steps, 8.0), np.tanh, factor, (4,))[4]
    half = packed_moments(trapezoid_rule(steps, 8.0, half=True), np.tanh, factor, (4,))[4]
    np.testing.assert_allclose(half, whole, rtol=1e-13)


@pytest.mark.parametrize("r", [1, 2, 3, 4])
def test_rules_are_normalised_averages(r):
    normals = RNG.normal(size=(5, r))
    sphere = [(nodes, weights) for nodes, weights in sphere_rule(normals, 10)]
    total = sum(weights.sum() for _, weights in sphere)
    second = sum((weights[:, None] * nodes).T @ nodes for nodes, weights in sphere)
    assert total == pytest.approx(1, abs=1e-10)
    np.testing.assert_allclose(second, np.eye(r) / r, atol=1e-10)
    lattice = sum(weights.sum() for _, weights in trapezoid_rule(np.full(r, 0.6), 9.0))
    assert lattice == pytest.approx(1, abs=1e-12)
    assert radial_moment(r, 4) == pytest.approx(r * (r + 2), rel=1e-14)


@pytest.mark.parametrize(("r", "tolerance"), [(1, 1e-14), (2, 1e-13), (3, 1e-10), (4, 1e-7)])
def test_independent_relu_units_factorise(r, tolerance):
    """E relu(u)^k for one normal: 1, 1/sqrt(2 pi), 1/2, 2/sqrt(2 pi), 3/2, 8/sqrt(2 pi), 15/2."""
    root = 1 / np.sqrt(2 * np.pi)
    single = np.array([1, root, 1 / 2, 2 * root, 3 / 2, 8 * root, 15 / 2])
    rotation = np.linalg.qr(RNG.normal(size=(r, r)))[0]
    for order, values in homogeneous_moments(relu, rotation, (2, 4, 6)).items():
        powers = np.stack([np.sum(multisets(r, order) == a, axis=1) for a in range(r)], axis=1)
        np.testing.assert_allclose(values, single[powers].prod(axis=1), rtol=tolerance)


@pytest.mark.parametrize(("r", "tolerance"), [(2, 1e-12), (3, 1e-10), (4, 1e-7)])
def test_relu_pairs_are_the_arc_cosine_kernels(r, tolerance):
    """Degrees 1 and 2, Cho and Saul 2009, among other points whose kinks the rule must respect as well."""
    factor = RNG.normal(size=(4, r))
    kernel = factor @ factor.T
    moments = homogeneous_moments(relu, factor, (2, 4))
    for a, b in ((0, 1), (1, 3), (2, 3)):
        scale = np.sqrt(kernel[a, a] * kernel[b, b])
        cosine = kernel[a, b] / scale
        theta, sine = np.arccos(cosine), np.sqrt(1 - cosine**2)
        one = scale / (2 * np.pi) * (sine + (np.pi - theta) * cosine)
        two = scale**2 / (2 * np.pi) * (3 * sine * cosine + (np.pi - theta) * (1 + 2 * cosine**2))
        assert moments[2][rank(np.array([a, b]), 4)] == pytest.approx(one, rel=tolerance)
        assert moments[4][rank(np.array([a, a, b, b]), 4)] == pytest.approx(two, rel=tolerance)


def test_a_missed_kink_is_noticed():
    factor = RNG.normal(size=(4, 3))
    right = packed_moments(sphere_rule(factor, 16), relu, factor, (4,))[4]
    finer = packed_moments(sphere_rule(factor, 24), relu, factor, (4,))[4]
    missed = packed_moments(sphere_rule(factor[:3], 24), relu, factor, (4,))[4]
    np.testing.assert_allclose(right, finer, rtol=1e-12)
    assert np.max(np.abs(missed / finer - 1)) > 1e-5


def test_relu_with_parallel_coincident_and_null_points():
    base = RNG.normal(size=(2, 3))
    factor = np.stack([base[0], 2 * base[0], -base[0], base[1], base[1], 0 * base[0]])
    moments = homogeneous_moments(relu, factor, (4,))[4]
    plain = homogeneous_moments(relu, base, (4,))[4]

    def value(*legs):
        return moments[rank(np.array(legs), 6)]

    assert value(0, 1, 3, 4) == pytest.approx(2 * plain[rank(np.array([0, 0, 1, 1]), 2)], rel=1e-10)
    assert value(0, 1, 3, 3) == pytest.approx(value(0, 1, 3, 4), rel=1e-14)
    assert value(0, 0, 2, 2) == pytest.approx(0, abs=1e-14)
    assert value(0, 0, 0, 5) == 0


def test_pair_averages_with_coincident_opposite_and_null_points():
    kernels = np.array([[1.0, 1.0, 1.0], [0.7, -0.7, 0.7], [0.0, 0.0, 1.3], [1e-18, 0.0, 2.0], [0.5, 0.2, 0.9]])
    aa, ab, bb = kernels.T
    average = pair_averages([np.sin, np.cos], kernels, [(0, 0), (1, 1)])
    envelope = np.exp(-(aa + bb) / 2)
    np.testing.assert_allclose(average[0, 0], envelope * np.sinh(ab), rtol=0, atol=1e-13)
    np.testing.assert_allclose(average[1, 1], envelope * np.cosh(ab), rtol=0, atol=1e-13)


def test_factor_drops_null_directions():
    factor = RNG.normal(size=(6, 2))
    found = factor_kernel(factor @ factor.T)
    assert found.shape == (6, 2)
    np.testing.assert_allclose(found @ found.T, factor @ factor.T, atol=1e-13)
    assert factor_kernel(np.zeros((3, 3))).shape == (3, 0)


def test_memory_stays_bounded_in_four_dimensions():
    factor = np.array([[1, 1, 1, 1.7], [1, -1, -1, 1.7], [-1, 1, -1, 1.7], [-1, -1, 1, 1.7]]) / 1.7
    tracemalloc.start()
    smooth_moments(erf, factor, (2, 4, 6), odd=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 300e6


def test_refusals():
    with pytest.raises(ValueError, match="rank <= 4"):
        smooth_moments(np.tanh, RNG.normal(size=(5, 5)), (4,))
    with pytest.raises(ValueError, match="rank <= 4"):
        homogeneous_moments(relu, RNG.normal(size=(5, 5)), (4,))
    with pytest.raises(QuadratureError, match="nodes"):
        smooth_moments(np.tanh, 1e4 * np.eye(4), (4,))
    with pytest.raises(QuadratureError, match="converge"):
        smooth_moments(lambda z: np.heaviside(z - 0.3, 0), np.array([[1.0]]), (4,))
