"""Trees of every pair of quartic operators: exact perturbation theory, closed forms, brute-force quadrature."""

import time
from itertools import combinations

import actions
import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss

from nnqft.core.packing import multisets, rank
from nnqft.core.selection import select
from nnqft.couplings.kernels import leg_kernel
from nnqft.couplings.tree_design import assembled, selected_tree_design, tree_design
from nnqft.couplings.vertices import vertex_integrals

MODEL = ("lambda_0", "lambda_2", "lambda_nl", "lambda_6")
THREE = ("lambda_0", "lambda_2", "lambda_nl")
X1 = np.array([[-0.7], [0.3], [1.1]])
X2 = np.array([[0.5, -0.4], [0.9, 0.8]])


def by_hand(k, propagator, y, weights, model):
    """T_ij from the legs (n, nodes) at the nodes of any rule: every component, every split, as it is written down."""
    n, square, a = len(k), np.sum(y * y, axis=1), (k * weights) @ k.T

    def source(name, p, q, r):
        if name == "lambda_nl":
            return (a[p, q] * k[r] + a[p, r] * k[q] + a[q, r] * k[p]) / 3
        return square ** (int(name.removeprefix("lambda_")) // 2) * k[p] * k[q] * k[r]

    sources = np.array([[source(name, *legs) for legs in multisets(n, 3)] for name in model]) * weights
    between = np.einsum("isy,yz,jtz->ijst", sources, propagator, sources, optimize=True)
    found = np.zeros((len(multisets(n, 6)), len(model), len(model)))
    for c, legs in enumerate(multisets(n, 6)):
        for left in (half for half in combinations(range(6), 3) if 0 in half):
            s, t = (rank(legs[list(h)], n) for h in (left, [i for i in range(6) if i not in left]))
            found[c] += 288 * (between[:, :, s, t] + between[:, :, s, t].T)
    return found


def plain(activation, sigma_w, sigma_b, x, cutoff, model, nodes):
    """The same over the box by one unsplit Gauss-Legendre rule."""
    t, w = leggauss(nodes)
    y = cutoff * np.stack(np.meshgrid(*[t] * x.shape[1], indexing="ij"), axis=-1).reshape(-1, x.shape[1])
    weights = np.prod(np.meshgrid(*[cutoff * w] * x.shape[1], indexing="ij"), axis=0).ravel()
    legs = leg_kernel(activation, sigma_w, sigma_b, x, y)
    return by_hand(legs, leg_kernel(activation, sigma_w, sigma_b, y, y), y, weights, model)


def assert_agreement(found, reference, accuracy):
    """Every pair of operators to the accuracy of its own largest component."""
    size = np.abs(reference).max(axis=-3, keepdims=True)
    np.testing.assert_allclose(found / size, reference / size, rtol=0, atol=accuracy)


def test_factors_are_those_of_exact_perturbation_theory():
    """Three sites and all legs on them: the coefficients of g_i and g_i g_j in the cumulants of exp(-S_0 - g V)."""
    n, rng = 3, np.random.default_rng(5)
    root = rng.normal(size=(n, n))
    kernel, sites = root @ root.T / 10, np.array([[0.4], [-1.2], [0.9]])
    nodes, weights = hermegauss(10)  # exact up to degree 19: six legs and two vertices are 14
    u = np.stack(np.meshgrid(*[nodes] * n, indexing="ij"), axis=-1).reshape(-1, n)
    weights = np.prod(np.meshgrid(*[weights] * n, indexing="ij"), axis=0).ravel()
    phi, weights = u @ np.linalg.cholesky(kernel).T, weights / weights.sum()
    square = sites[:, 0] ** 2
    vertices = np.array([*(phi**4 @ square**k for k in (0, 1)), np.sum(phi**2, axis=1) ** 2, phi**4 @ square**3])

    fours = multisets(n, 4)
    sources = np.array([np.prod(kernel[legs], axis=0) * square**k for k in (0, 1, 3) for legs in multisets(n, 3)])
    ends = np.concatenate([sources, kernel])
    a = (kernel @ kernel)[tuple(multisets(n, 2).T)]
    matrix = (ends @ kernel @ ends.T)[None]
    trees = assembled(matrix, 0 * matrix, np.stack([a, 0 * a])[:, None], n, MODEL)[0][0]
    leading = [-24 * np.prod(kernel[fours], axis=1) @ square**k for k in (0, 1, 3)]
    split = [a[rank(fours[:, [0, i]], n)] * a[rank(np.delete(fours, [0, i], axis=1), n)] for i in (1, 2, 3)]
    leading.insert(2, -8 * np.sum(split, axis=0))

    circle = 2e-3 * np.exp(2j * np.pi * np.arange(16) / 16)
    for couplings in (*np.eye(4), *rng.normal(size=(4, 4))):
        v = couplings @ vertices
        density = weights * (1 - circle[:, None] * v + circle[:, None] ** 2 * v**2 / 2)
        density = density / density.sum(axis=1, keepdims=True)
        moments = [density @ phi[:, multisets(n, k)].prod(-1) for k in (2, 4, 6)]
        cumulants = [actions.connected(*(m[t] for m in moments), n) for t in range(16)]
        four = np.mean(np.array([c[0] for c in cumulants]) / circle[:, None], axis=0).real
        six = np.mean(np.array([c[1] for c in cumulants]) / circle[:, None] ** 2, axis=0).real
        np.testing.assert_allclose(four, couplings @ np.array(leading), rtol=0, atol=1e-9 * np.abs(four).max())
        predicted = np.einsum("i,cij,j->c", couplings, trees, couplings)
        np.testing.assert_allclose(six, predicted, rtol=0, atol=1e-8 * np.abs(six).max())


@pytest.mark.parametrize(("activation", "sigma_b"), [("erf", 1.0), ("gauss", 1.0), ("sin", 0.3)])
def test_trees_on_the_line_equal_plain_quadrature(activation, sigma_b):
    found = tree_design(activation, 1.2, sigma_b, X1, [2.0], MODEL)[0][0]
    assert found.shape == (28, 4, 4)
    assert_agreement(found, plain(activation, 1.2, sigma_b, X1, 2.0, MODEL, 80), 1e-9)
    np.testing.assert_array_equal(found, found.swapaxes(1, 2))


@pytest.mark.parametrize(("activation", "sigma_b", "region", "accuracy"), [
    ("erf", 1.0, "box", 1e-8), ("gauss", 1.0, "box", 1e-9), ("gauss", 1.0, "ball", 1e-8), ("erf", 0.7, "ball", 1e-8),
    ("relu", 0.0, "box", 1e-5),
])  # fmt: skip
def test_trees_in_the_plane_equal_plain_quadrature(activation, sigma_b, region, accuracy):
    cutoff = 1.3
    found = tree_design(activation, 1.1, sigma_b, X2, [cutoff], THREE, region=region)[0][0]
    if region == "box":
        return assert_agreement(found, plain(activation, 1.1, sigma_b, X2, cutoff, THREE, 32), accuracy)
    t, w = leggauss(24)
    r, angle = cutoff * (1 + t) / 2, 2 * np.pi * np.arange(40) / 40
    y = np.stack([np.multiply.outer(r, f(angle)) for f in (np.cos, np.sin)], axis=-1).reshape(-1, 2)
    weights = np.repeat(r * w * cutoff / 2 * 2 * np.pi / 40, 40)
    legs, propagator = (leg_kernel(activation, 1.1, sigma_b, p, y) for p in (X2, y))
    return assert_agreement(found, by_hand(legs, propagator, y, weights, THREE), accuracy)


def test_trees_of_relu_on_the_line_are_closed_forms():
    """K_a(y) = sigma_w^4 |x_a y| / 2 where x_a y > 0: each side is a vertex of its own, A joins them."""
    x, sigma_w, cutoffs = np.array([0.3, -0.5, 1.2, -0.7]), 1.4, np.array([0.5, 7.0])
    value, slope = tree_design("relu", sigma_w, 0.0, x[:, None], cutoffs, MODEL)
    side = sigma_w**4 / 2 * np.abs(x) * (np.sign(x) == np.array([[1], [-1]]))  # K = side |y|
    powers = np.array([5, 7, 6, 11])
    for c, cutoff in enumerate(cutoffs):
        a = np.einsum("sa,sb->ab", side, side) * cutoff**3 / 3

        def reach(p, q, r, a=a, cutoff=cutoff):
            local = [side[:, p] * side[:, q] * side[:, r] * cutoff**j / j for j in (5, 7, 11)]
            nonlocal_ = (a[p, q] * side[:, r] + a[p, r] * side[:, q] + a[q, r] * side[:, p]) / 3 * cutoff**3 / 3
            return np.array([local[0], local[1], nonlocal_, local[2]])

        for sext, legs in enumerate(multisets(4, 6)):
            expected = np.zeros((4, 4))
            for left in (half for half in combinations(range(6), 3) if 0 in half):
                one = reach(*legs[list(left)])
                two = reach(*legs[[i for i in range(6) if i not in left]])
                expected += 288 * sigma_w**4 / 2 * (one @ two.T + two @ one.T)
            np.testing.assert_allclose(value[c, sext], expected, rtol=1e-11, atol=1e-12 * np.abs(expected).max())
            derivative = (powers[:, None] + powers) / cutoff * expected
            np.testing.assert_allclose(slope[c, sext], derivative, rtol=1e-11, atol=1e-12 * np.abs(derivative).max())
    one_side = value[1, 0, 0, 0]  # all legs at 0.3
    assert one_side == pytest.approx(5760 * sigma_w**28 * 0.3**6 * 7.0**10 / 3200, rel=1e-12)


def test_trees_of_relu_with_a_bias_equal_plain_quadrature():
    """The unsplit rule converges slowly at the kinks of legs and propagator."""
    found = tree_design("relu", 1.0, 0.5, X1, [2.0], THREE)[0][0]
    assert_agreement(found, plain("relu", 1.0, 0.5, X1, 2.0, THREE, 300), 1e-7)


@pytest.mark.parametrize(("activation", "sigma_b", "x", "region"), [
    ("erf", 1.0, X1, "box"), ("gauss", 1.0, X1, "box"), ("relu", 0.5, X1, "box"), ("relu", 0.0, X2, "ball"),
    ("gauss", 1.0, X2, "box"), ("erf", 0.7, X2, "ball"),
])  # fmt: skip
def test_the_derivative_in_the_cutoff(activation, sigma_b, x, region):
    cutoff, h = 1.6, 0.005
    stencil = cutoff * (1 + h * np.array([-2, -1, 1, 2]))
    value, slope = tree_design(activation, 1.1, sigma_b, x, [cutoff, *stencil], THREE, region=region)
    difference = np.tensordot(np.array([1, -8, 8, -1]) / (12 * h * cutoff), value[1:], axes=1)
    assert_agreement(slope[0], difference, 2e-6)


@pytest.mark.parametrize(("x", "cutoff"), [(X1, 9.0), (X2, 12.0)])
def test_trees_of_gauss_without_a_cutoff(x, cutoff):
    value, slope = tree_design("gauss", 1.1, 1.0, x, [np.inf, cutoff], MODEL, region="box")
    assert_agreement(value[0], value[1], 1e-11)
    assert not slope[0].any()


@pytest.mark.parametrize(("activation", "sigma_b", "x", "cutoff"), [
    ("erf", 1.0, X1, 30.0), ("gauss", 1.0, X1, np.inf), ("relu", 0.0, X2, 2.0), ("gauss", 1.0, X2, 3.0),
])  # fmt: skip
def test_lambda_0_alone_is_the_tree_of_the_vertex_integrals(activation, sigma_b, x, cutoff):
    found = vertex_integrals(activation, 1.1, sigma_b, x, [cutoff], names=("tree",), strength=1.3)
    value, slope = tree_design(activation, 1.1, sigma_b, x, [cutoff], ["lambda_0"], strength=1.3)
    np.testing.assert_allclose(value[..., 0, 0], 576 * found["tree"].sum(axis=-1), rtol=1e-12)
    np.testing.assert_allclose(slope[..., 0, 0], 576 * found["dtree"].sum(axis=-1), rtol=1e-12)
    all_of_them = tree_design(activation, 1.1, sigma_b, x, [cutoff], THREE[::-1], strength=1.3)[0]
    assert_agreement(all_of_them[..., 2:, 2:], value, 1e-10)
    assert_agreement(all_of_them[..., 0, 0, None, None], tree_design(
        activation, 1.1, sigma_b, x, [cutoff], ["lambda_nl"], strength=1.3)[0], 1e-10)  # fmt: skip


def test_trees_of_the_kernel_of_cosine_networks():
    """K = amplitude^2 / 2 exp(-sigma_w^2 (x - y)^2 / 2) is of another strength than the gauss legs."""
    amplitude, sigma_w, cutoff, (t, w) = 1.5, 1.3, 2.0, leggauss(80)
    y = cutoff * t[:, None]
    legs, propagator = (amplitude**2 / 2 * np.exp(-(sigma_w**2) * (p - y.T) ** 2 / 2) for p in (X1, y))
    strength = amplitude**2 / (2 * sigma_w**2)
    value, slope = tree_design("gauss", sigma_w, 0.0, X1, [cutoff], MODEL, strength=strength)
    assert_agreement(value[0], by_hand(legs, propagator, y, cutoff * w, MODEL), 1e-10)
    assert_agreement(slope, strength**7 * tree_design("gauss", sigma_w, 0.0, X1, [cutoff], MODEL)[1], 1e-12)


@pytest.mark.parametrize(("activation", "sigma_b"), [("relu", 0.0), ("erf", 0.5), ("gauss", 1.0)])
def test_selected_components_have_the_same_trees(activation, sigma_b):
    x, cutoffs = np.array([[-1.0], [-0.4], [0.1], [0.3], [0.8]]), [3.0, 5.0]
    chosen = select(5, (2, 4, 6), ("aabbcc",), (), ((0, 1, 2, 3, 4, 4),))
    everything = tree_design(activation, 1.0, sigma_b, x, cutoffs, THREE, strength=0.9)
    found = selected_tree_design(activation, 1.0, sigma_b, x, cutoffs, THREE, chosen, strength=0.9)
    where = rank(multisets(chosen, 6), 5)
    for part, whole in zip(found, everything, strict=True):
        assert_agreement(part, whole[:, where], 1e-9)


def test_all_pairs_of_three_couplings_at_six_cutoffs_are_fast(oracle):
    sets = [("relu", "ray", 0.0), ("erf", "unit", 1.0), ("erf", "small", 1.0), ("gauss", "gauss", 1.0)]
    start = time.process_time()
    for activation, points, sigma_b in sets:
        tree_design(activation, 1.0, sigma_b, oracle.points[points], [7, 10, 20, 50, 100, 1000], THREE)
    assert time.process_time() - start < 2


def test_what_has_no_trees_is_refused():
    for model in ([], ["kappa"], ["lambda_3"], ["lambda_0", "lambda_0"]):
        with pytest.raises(ValueError, match="a model is a list of couplings"):
            tree_design("erf", 1.0, 1.0, X1, [2.0], model)
    with pytest.raises(ValueError, match="closed form"):
        tree_design("tanh", 1.0, 1.0, X1, [2.0], THREE)
    with pytest.raises(ValueError, match="infinite cutoff"):
        tree_design("erf", 1.0, 1.0, X1, [np.inf], THREE)
    with pytest.raises(ValueError, match="one hidden layer only"):
        tree_design("erf", 1.0, 1.0, X1, [2.0], THREE, depth=2)
    with pytest.raises(ValueError, match="strength"):
        tree_design("erf", 1.0, 1.0, X1, [2.0], THREE, strength=-1.0)
    with pytest.raises(RuntimeError, match="too far for trees"):
        tree_design("gauss", 1.0, 1.0, 1e4 * X1, [2e4], THREE)
    with pytest.raises(RuntimeError, match="a tree has not converged"):
        tree_design("erf", 1.0, 1.0, np.array([[-1.0, -1.0], [-1.0, 1.0]]), [1e3], THREE)
