"""I6, trees and the ball: reference tables, closed forms, independent quadrature, derivatives in the cutoff."""

import time

import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss
from scipy.integrate import quad

from nnqft.core.packing import multisets, rank, splits
from nnqft.core.selection import select
from nnqft.couplings.kernels import leg_kernel, propagator
from nnqft.couplings.vertices import ALL, selected_integrals, vertex_integrals

MIDDLE, RAY, SPLIT = (0, 0, 1, 1, 2, 3), (0, 1, 2, 3, 4, 5), ((0, 0, 1), (1, 2, 3))
# (activation, points, cutoff, region, integral, legs or split, value), sigma_w = 1, sigma_b = 1 (relu 0)
TABLE = [
    ("relu", "relu2", 1, "box", "I6", MIDDLE, 1.23009517105e-4),
    ("relu", "relu2", 1, "box", "tree", SPLIT, 1.717282423e-5),
    ("relu", "relu2", 1, "ball", "I4", (0, 0, 0, 0), 2.12936443991e-4),
    ("relu", "relu2", 1, "ball", "I4", (0, 1, 2, 3), 9.68331472569e-4),
    ("relu", "relu2", 1, "ball", "I4_y2", (0, 1, 2, 3), 7.26248604426e-4),
    ("relu", "relu2", 1, "ball", "A", (0, 3), 0.0287964416665),
    ("relu", "relu2", 1, "ball", "I6", MIDDLE, 2.813732392e-5),
    ("relu", "relu2", 1, "ball", "tree", SPLIT, 2.59954183e-6),
    ("relu", "relu3", 1, "box", "I6", MIDDLE, 1.15674430e-5),
    ("relu", "relu3", 1, "box", "tree", SPLIT, 2.4396454e-6),
    ("relu", "relu3", 1, "ball", "I4", (0, 0, 0, 0), 2.49140957704e-6),
    ("relu", "relu3", 1, "ball", "I4", (0, 1, 2, 3), 1.31514339324e-4),
    ("relu", "relu3", 1, "ball", "I4_y2", (0, 1, 2, 3), 1.02288930585e-4),
    ("relu", "relu3", 1, "ball", "A", (0, 3), 0.00748236143797),
    ("relu", "relu3", 1, "ball", "I6", MIDDLE, 8.8535790e-7),
    ("relu", "relu3", 1, "ball", "tree", SPLIT, 6.79571e-8),
    ("erf", "unit", 10, "box", "I6", RAY, 0.00355477288605),
    ("erf", "unit", 10, "box", "tree", (RAY[:3], RAY[3:]), -0.115322078355),
    ("erf", "unit", 100, "box", "I6", RAY, -0.0260138240444),
    ("erf", "unit", 100, "box", "tree", (RAY[:3], RAY[3:]), -7.38273822628),
    ("erf", "small", 100, "box", "I6", RAY, 0.0131622172391),
    ("erf", "small", 100, "ball", "tree", (RAY[:3], RAY[3:]), 0.0149849004457),
    ("gauss", "gauss", 1, "box", "I6", RAY, 1.00854591415),
    ("gauss", "gauss", 1, "box", "tree", (RAY[:3], RAY[3:]), 1.45822364567),
    ("gauss", "gauss", np.inf, "ball", "I6", RAY, 1.02318345224),
    ("gauss", "gauss", np.inf, "box", "tree", (RAY[:3], RAY[3:]), 1.62218947715),
]
SIX = ("I6", "tree")


def one(found, n, name, legs):
    """One component, or one split of the tree."""
    if name != "tree":
        return found[name][0, rank(np.array(legs), n)]
    halves = {int(rank(np.array(half), n)) for half in legs}
    c = rank(np.array(legs).ravel(), n)
    pairs = zip(*(part[c].tolist() for part in splits(n, 3, 3)), strict=True)
    return found["tree"][0, c, [set(pair) for pair in pairs].index(halves)]


@pytest.mark.parametrize(("activation", "points", "cutoff", "region", "name", "legs", "value"), TABLE)
def test_reference_table(oracle, activation, points, cutoff, region, name, legs, value):
    x = oracle.points[points]
    sigma_b = 0.0 if activation == "relu" else 1.0
    found = vertex_integrals(activation, 1.0, sigma_b, x, [cutoff], names=(name,), region=region)
    assert one(found, len(x), name, legs) == pytest.approx(value, rel=1e-8 if x.shape[1] < 3 else 1e-6)


def test_relu_in_one_dimension_is_closed_form():
    x, cutoffs, sigma_w = np.array([[0.3], [-0.5], [1.2], [-0.7]]), np.array([0.5, 7.0]), 1.4
    found = vertex_integrals("relu", sigma_w, 0.0, x, cutoffs, names=SIX)
    triples, sign = x[multisets(4, 3), 0], np.sign(x[:, 0])
    same_side = np.abs(sign[multisets(4, 6)].sum(axis=1)) == 6
    size = np.abs(x[multisets(4, 6), 0].prod(axis=1))
    I6 = np.outer(cutoffs**7, same_side * sigma_w**24 * size / 448)
    np.testing.assert_allclose(found["I6"], I6, rtol=1e-12)
    np.testing.assert_allclose(found["dI6"], 7 * I6 / cutoffs[:, None], rtol=1e-12)
    side = np.where(np.abs(np.sign(triples).sum(axis=1)) == 3, np.sign(triples[:, 0]), 0)  # a vertex lives on one side
    left, right = splits(4, 3, 3)
    one_sided = (side[left] * side[right] > 0) * size[:, None] * sigma_w**28 / 3200
    np.testing.assert_allclose(found["tree"], np.multiply.outer(cutoffs**10, one_sided), rtol=1e-12)
    np.testing.assert_allclose(found["dtree"], np.multiply.outer(10 * cutoffs**9, one_sided), rtol=1e-12)


@pytest.mark.parametrize(("net", "points", "cutoff", "region", "kappa", "spread"), [
    ("relu", "ray", 1, "box", 371 / 3, 0), ("relu", "relu2", 1, "box", 241.48675, 0.01764),
    ("relu", "relu2", 1, "ball", 1051.2761, 0.0212), ("relu", "relu3", 1, "box", 278.50747, 0.0541),
    ("gauss", "gauss", np.inf, "box", -2947.910859, 2.6e-4), ("gauss", "gauss", 1, "box", -2995.604273, 2.7e-4),
    ("erf", "small", 10, "box", 0.3038583718, 3.8e-4), ("erf", "small", 1000, "box", 0.304009538, 6.0e-4),
])  # fmt: skip
def test_kappa_of_the_exact_six_point_function(oracle, net, points, cutoff, region, kappa, spread):
    """Mean over the components with lambda its own mean: all splits of all trees count."""
    x, sigma_b = oracle.points[points], 0.0 if net == "relu" else 1.0
    found = vertex_integrals(net, 1.0, sigma_b, x, [cutoff], names=ALL, region=region)
    coupling = np.mean(-oracle.G4c(net, x, sigma_b) / (24 * found["I4"][0]))
    G6c, tree = oracle.G6c(net, x, sigma_b), (24 * coupling) ** 2 * found["tree"][0].sum(axis=-1)
    each = (tree - G6c) / (720 * found["I6"][0])
    assert each.mean() == pytest.approx(kappa, rel={1: 1e-8, 2: 1e-7, 3: 1e-5}[x.shape[1]])
    assert abs(each.std() / each.mean()) == pytest.approx(spread, rel=0.02, abs=1e-10)
    if points == "ray":
        np.testing.assert_allclose(tree / G6c, 75 / 22, rtol=1e-10)


@pytest.mark.parametrize(("activation", "points", "sigma_b", "region", "names"), [
    ("relu", "relu2", 0.0, "ball", ALL), ("relu", "ray", 0.5, "box", SIX), ("erf", "unit", 1.0, "box", SIX),
    ("erf", "corners2", 1.0, "box", SIX), ("erf", "corners2", 0.0, "ball", ALL), ("gauss", "corners2", 1.0, "box", SIX),
    ("gauss", "corners3", 1.0, "ball", ("A", "I6")), ("cos", "unit", 0.3, "box", SIX),
    ("gelu", "unit", 1.0, "box", SIX),
])  # fmt: skip
def test_the_surface_term_is_the_derivative_in_the_cutoff(oracle, activation, points, sigma_b, region, names):
    x, cutoff, h = oracle.points[points][:3], 1.7, 0.005
    stencil = cutoff * (1 + h * np.array([-2, -1, 1, 2]))
    found = vertex_integrals(activation, 1.0, sigma_b, x, [cutoff, *stencil], names=names, region=region)
    weights = np.array([1, -8, 8, -1]) / (12 * h * cutoff)
    for name in names:
        slope, difference = found["d" + name][0], np.tensordot(weights, found[name][1:], axes=1)
        np.testing.assert_allclose(slope, difference, rtol=0, atol=2e-6 * np.abs(slope).max())


@pytest.mark.parametrize(("activation", "d", "sigma_b"), [("erf", 2, 1.0), ("gauss", 2, 1.0), ("sin", 2, 0.3)])
def test_trees_equal_plain_quadrature(activation, d, sigma_b):
    x, (t, w), sigma_w = np.random.default_rng(4).normal(size=(2, d)), leggauss(40), 1.1
    y = np.stack(np.meshgrid(*[1.5 * t] * d, indexing="ij"), axis=-1).reshape(-1, d)
    weights = np.prod(np.meshgrid(*[1.5 * w] * d, indexing="ij"), axis=0).ravel()
    legs = np.prod(leg_kernel(activation, sigma_w, sigma_b, x, y)[multisets(2, 3)], axis=1) * weights
    left, right = splits(2, 3, 3)
    reference = (legs @ leg_kernel(activation, sigma_w, sigma_b, y, y) @ legs.T)[left, right]
    found = vertex_integrals(activation, sigma_w, sigma_b, x, [1.5], names=("tree",))["tree"][0]
    np.testing.assert_allclose(found, reference, rtol=0, atol=1e-9 * np.abs(reference).max())


def test_a_tree_of_relu_with_a_bias_equals_adaptive_quadrature():
    x = np.array([[-0.5], [1.0]])

    def legs(y, indices):
        return np.prod(leg_kernel("relu", 1.0, 0.5, x[indices], [[y]]))

    def inner(y):
        kernel = lambda z: legs(z, [0, 1, 1]) * propagator("relu", 1.0, 0.5, [y], [z])  # noqa: E731
        split = [quad(kernel, *ends, epsabs=1e-15, epsrel=1e-10)[0] for ends in ((-2, y), (y, 2))]
        return legs(y, [0, 0, 0]) * sum(split)

    reference = quad(inner, -2, 2, epsabs=1e-14, epsrel=1e-9, points=[-0.5, 0, 0.5, 1])[0]
    found = vertex_integrals("relu", 1.0, 0.5, x, [2.0], names=("tree",))
    assert one(found, 2, "tree", ((0, 0, 0), (0, 1, 1))) == pytest.approx(reference, rel=1e-8)


def test_the_ball_of_gauss_at_the_origin_is_elementary():
    found = vertex_integrals("gauss", 1.3, 1.0, np.zeros((1, 2)), [0.7, np.inf], names=("I4", "I6"), region="ball")
    a = 1.3**2 / 2
    for name, legs in (("I4", 4), ("I6", 6)):
        whole = 1.3 ** (2 * legs) * 2 * np.pi / (legs * a)
        values = whole * np.array([1 - np.exp(-legs * a * 0.49 / 2), 1.0])
        np.testing.assert_allclose(found[name][:, 0], values, rtol=1e-10)


@pytest.mark.parametrize("points", ["corners2", "corners3"])
def test_the_ball_equals_quadrature_over_slices(oracle, points):
    """Cartesian: the last coordinate runs between the ends that the others leave it."""
    x, (t, w), cutoff = oracle.points[points], leggauss(24), 1.5
    y, weights = np.zeros((1, 0)), np.ones(1)
    for _ in range(x.shape[1]):
        room = np.sqrt(cutoff**2 - np.sum(y**2, axis=1))[:, None]
        angle = np.pi / 2 * t  # y_i = room sin(angle): smooth at the ends
        y = np.concatenate([np.repeat(y, len(t), axis=0), (room * np.sin(angle)).reshape(-1, 1)], axis=1)
        weights = (weights[:, None] * room * np.cos(angle) * np.pi / 2 * w).ravel()
    k = np.prod(leg_kernel("erf", 1.0, 1.0, x, y)[multisets(len(x), 6)], axis=1)
    found = vertex_integrals("erf", 1.0, 1.0, x, [cutoff], names=("I6",), region="ball")["I6"][0]
    np.testing.assert_allclose(found, k @ weights, rtol=0, atol=1e-9 * np.abs(found).max())


@pytest.mark.parametrize(("activation", "sigma_b"), [("relu", 0.0), ("relu", 0.5), ("erf", 0.5), ("gauss", 1.0)])
def test_selected_components_have_the_same_integrals(activation, sigma_b):
    x, cutoffs = np.array([[-1.0], [-0.4], [0.1], [0.3], [0.8], [1.5]]), [3.0]
    chosen = select(6, (2, 4, 6), ("aabb", "aabbcc"), (), ((0, 1, 2, 3, 4, 5),))
    everything = vertex_integrals(activation, 1.0, sigma_b, x, cutoffs, names=ALL)
    found = selected_integrals(activation, 1.0, sigma_b, x, cutoffs, chosen, names=ALL)
    assert set(found) == set(everything)
    for name, order in (("I4", 4), ("dI4_y2", 4), ("I6", 6), ("tree", 6), ("dtree", 6)):
        wanted = everything[name][:, rank(multisets(chosen, order), 6)]
        np.testing.assert_allclose(found[name], wanted, rtol=0, atol=1e-9 * np.abs(everything[name]).max())


@pytest.mark.parametrize(("activation", "points", "sigma_b", "names", "seconds"), [
    ("erf", "unit", 1.0, ("I4",), 0.1), ("relu", "ray", 0.0, ("I4",), 0.1), ("gauss", "unit", 1.0, ("I4",), 0.1),
    ("relu", "relu3", 0.0, ("I4",), 0.1), ("erf", "corners3", 1.0, ("I4",), 0.1),
    ("erf", "unit", 1.0, ALL, 0.2), ("relu", "relu2", 0.0, ALL, 0.2),
])  # fmt: skip
def test_all_components_are_fast(oracle, activation, points, sigma_b, names, seconds):
    spent = []
    for _ in range(3):
        start = time.thread_time()
        vertex_integrals(activation, 1.0, sigma_b, oracle.points[points], [10.0], names=names)
        spent.append(time.thread_time() - start)
    assert min(spent) < seconds


def test_everything_in_the_figures_of_hms_takes_a_second(oracle):
    sets = [
        ("relu", "ray"),
        ("relu", "relu2"),
        ("relu", "relu3"),
        ("erf", "unit"),
        ("erf", "small"),
        ("gauss", "gauss"),
    ]
    spent = []
    for _ in range(3):
        start = time.process_time()
        for activation, points in sets:
            x, sigma_b = oracle.points[points], 0.0 if activation == "relu" else 1.0
            vertex_integrals(activation, 1.0, sigma_b, x, [7, 10, 20, 50, 100, 1000], names=ALL)
        spent.append(time.process_time() - start)
    assert min(spent) < 1


def test_what_has_no_tree_is_refused(oracle):
    with pytest.raises(ValueError, match="closed form"):
        vertex_integrals("tanh", 1.0, 1.0, oracle.points["unit"], [2.0], names=("tree",))
    with pytest.raises(RuntimeError, match="a tree has not converged"):  # a cusp of width 1 / Lambda between directions
        vertex_integrals("erf", 1.0, 1.0, oracle.points["corners2"], [1e3], names=("tree",))
    with pytest.raises(ValueError, match="I6 and tree, not"):
        vertex_integrals("erf", 1.0, 1.0, oracle.points["unit"], [2.0], names=("I8",))
    with pytest.raises(ValueError, match="over a box or a ball"):
        vertex_integrals("erf", 1.0, 1.0, oracle.points["unit"], [2.0], region="cube")
