"""Vertex integrals against the reference tables, independent quadrature and their own derivatives."""

import time

import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss
from scipy.integrate import quad

from nnqft.core.packing import multisets, rank
from nnqft.core.selection import select
from nnqft.couplings.kernels import leg_kernel
from nnqft.couplings.vertices import COUPLINGS, design, design_slope, selected_integrals, vertex_integrals

# (activation, points, cutoff, integral, legs, value), sigma_w = 1, sigma_b = 1 (relu 0), box
TABLE = [
    ("relu", "relu2", 1, "I4", (0, 0, 0, 0), 5.54465542665e-4),
    ("relu", "relu2", 1, "I4", (0, 1, 2, 3), 2.5176943957e-3),
    ("relu", "relu2", 1, "I4_y2", (0, 1, 2, 3), 2.84536398479e-3),
    ("relu", "relu2", 1, "A", (0, 3), 0.0492291749114),
    ("relu", "relu3", 1, "I4", (0, 0, 0, 0), 1.52292340868e-5),
    ("relu", "relu3", 1, "I4", (0, 1, 2, 3), 7.99234401703e-4),
    ("relu", "relu3", 1, "I4_y2", (0, 1, 2, 3), 1.18569098396e-3),
    ("relu", "relu3", 1, "A", (0, 3), 0.0239027761965),
    ("erf", "unit", 10, "I4", (0, 0, 0, 0), 0.923499343367),
    ("erf", "unit", 10, "I4", (0, 1, 2, 3), 0.0768846752142),
    ("erf", "unit", 10, "I4_y2", (0, 1, 2, 3), -0.293793261133),
    ("erf", "unit", 10, "A", (0, 1), 2.72540979579),
    ("erf", "unit", 100, "I4", (0, 0, 0, 0), 7.46450234885),
    ("erf", "unit", 100, "I4", (0, 1, 2, 3), -0.158688144706),
    ("erf", "unit", 100, "I4_y2", (0, 1, 2, 3), -888.283464375),
    ("erf", "unit", 100, "A", (0, 1), 25.5067011105),
    ("erf", "small", 100, "I4", (0, 0, 0, 0), 0.0814162587341),
    ("erf", "small", 100, "I4", (0, 1, 2, 3), 0.0814268179472),
    ("erf", "small", 100, "I4_y2", (0, 1, 2, 3), 0.102494242649),
    ("erf", "small", 100, "A", (0, 1), 0.751593949932),
    ("erf", "corners2", 10, "I4", (0, 0, 0, 0), 7.25249054811),
    ("erf", "corners2", 10, "I4", (0, 1, 2, 3), 0.679946099921),
    ("erf", "corners2", 100, "I4", (0, 0, 0, 0), 545.887399603),
    ("erf", "corners2", 100, "I4", (0, 1, 2, 3), 129.024507454),
    ("erf", "corners3", 10, "I4", (0, 0, 0, 0), 76.96766592),
    ("erf", "corners3", 10, "I4", (0, 1, 2, 3), -3.209031763),
    ("erf", "corners3", 100, "I4", (0, 0, 0, 0), 56992.48353),
    ("erf", "corners3", 100, "I4", (0, 1, 2, 3), 1994.540808),
    ("gauss", "gauss", 1, "I4", (0, 0, 0, 0), 1.19623387741),
    ("gauss", "gauss", 1, "I4", (0, 1, 2, 3), 1.1962315016),
    ("gauss", "gauss", 1, "I4_y2", (0, 1, 2, 3), 0.23140125376),
    ("gauss", "gauss", 1, "A", (0, 1), 1.49359520317),
    ("gauss", "gauss", np.inf, "I4", (0, 0, 0, 0), 1.25331413732),
    ("gauss", "gauss", np.inf, "I4", (0, 1, 2, 3), 1.25326400575),
    ("gauss", "gauss", np.inf, "I4_y2", (0, 1, 2, 3), 0.313336053662),
    ("gauss", "gauss", np.inf, "A", (0, 1), 1.7724467611),
]
SETS = [
    ("relu", "relu3", 0.0), ("relu", "relu2", 0.5), ("erf", "corners2", 1.0), ("erf", "corners3", 1.0),
    ("gauss", "corners2", 1.0), ("gauss", "corners3", 1.0), ("sin", "ray", 0.3), ("linear", "ray", 1.0),
]  # fmt: skip


def whole_box(activation, sigma_b, x, cutoff, nodes):
    """All (a, b, c, d) components of int |y|^2k KKKK, k = 0 and 1, by one unsplit Gauss-Legendre rule."""
    t, w = leggauss(nodes)
    axes = np.meshgrid(*[cutoff * t] * x.shape[1], indexing="ij")
    weights = np.prod(np.meshgrid(*[cutoff * w] * x.shape[1], indexing="ij"), axis=0).ravel()
    y = np.stack(axes, axis=-1).reshape(-1, x.shape[1])
    k = np.prod(leg_kernel(activation, 1.0, sigma_b, x, y)[multisets(len(x), 4)], axis=1)
    return k @ weights, k @ (weights * np.sum(y**2, axis=1))


@pytest.mark.parametrize(("activation", "points", "cutoff", "name", "legs", "value"), TABLE)
def test_reference_table(oracle, activation, points, cutoff, name, legs, value):
    x = oracle.points[points]
    sigma_b = 0.0 if activation == "relu" else 1.0
    found = vertex_integrals(activation, 1.0, sigma_b, x, [cutoff])[name][0, oracle.component(len(x), *legs)]
    assert found == pytest.approx(value, rel=1e-8 if x.shape[1] < 3 else 1e-6)


def test_a_leg_that_keeps_the_output_bias_fails_the_table(oracle):
    t, w = leggauss(200)
    with_bias = leg_kernel("erf", 1, 1, oracle.points["unit"][:1], 10 * t[:, None])[0] + 1
    assert abs(10 * with_bias**4 @ w / 0.923499343367 - 1) > 1


def test_relu_in_one_dimension_is_closed_form():
    x, cutoffs, sigma_w = np.array([[0.3], [-0.5], [1.2], [0.7]]), np.array([0.5, 7.0]), 1.4
    found = vertex_integrals("relu", sigma_w, 0.0, x, cutoffs)
    for name, legs, factor, power in (("I4", 4, 80, 5), ("I4_y2", 4, 112, 7), ("A", 2, 12, 3)):
        points = x[multisets(4, legs), 0]
        same_side = np.abs(np.sign(points).sum(axis=1)) == legs
        unit = same_side * sigma_w ** (4 * legs) * np.abs(points.prod(axis=1)) / factor
        np.testing.assert_allclose(found[name], np.outer(cutoffs**power, unit), rtol=1e-12)
        np.testing.assert_allclose(found["d" + name], power * np.outer(cutoffs ** (power - 1), unit), rtol=1e-12)


def test_gauss_in_two_and_three_dimensions(oracle):
    for points, value in (("corners2", 3.14096439789), ("corners3", 10.2276260048)):
        found = vertex_integrals("gauss", 1.0, 1.0, 0.01 * oracle.points[points], [np.inf])
        assert found["I4"][0, oracle.component(4, 0, 1, 2, 3)] == pytest.approx(value, rel=1e-10)
        assert not found["dI4"].any()
        assert not found["dI4_y2"].any()


@pytest.mark.parametrize(("activation", "points", "sigma_b", "accuracy"), [
    ("gauss", "corners2", 1.0, 1e-12), ("gauss", "corners3", 1.0, 1e-9), ("relu", "relu2", 0.0, 1e-6),
    ("relu", "relu2", 0.5, 1e-6), ("erf", "corners2", 1.0, 1e-9), ("cos", "corners2", 0.3, 1e-9),
])  # fmt: skip
def test_integrals_equal_unsplit_quadrature(oracle, activation, points, sigma_b, accuracy):
    x = oracle.points[points]
    found = vertex_integrals(activation, 1.0, sigma_b, x, [2.0])
    for name, reference in zip(("I4", "I4_y2"), whole_box(activation, sigma_b, x, 2.0, 120 // x.shape[1]), strict=True):
        np.testing.assert_allclose(found[name][0], reference, rtol=0, atol=accuracy * np.abs(reference).max())


def test_any_smooth_activation_by_quadrature():
    x = np.array([[-0.5], [1.0]])

    def integrand(y):
        return float(np.prod(leg_kernel("tanh", 1.0, 0.5, x[[0, 0, 1, 1]], [[y]])))

    found = vertex_integrals("tanh", 1.0, 0.5, x, [3.0])["I4"][0, 2]
    assert found == pytest.approx(quad(integrand, -3, 3, epsabs=1e-12, epsrel=1e-11)[0], rel=1e-9)


@pytest.mark.parametrize(("activation", "points", "sigma_b"), SETS)
def test_the_surface_term_is_the_derivative_in_the_cutoff(oracle, activation, points, sigma_b):
    x, cutoff, h = oracle.points[points], 1.7, 0.005
    stencil = cutoff * (1 + h * np.array([-2, -1, 1, 2]))
    found = vertex_integrals(activation, 1.0, sigma_b, x, [cutoff, *stencil])
    weights = np.array([1, -8, 8, -1]) / (12 * h * cutoff)
    for name in ("I4", "I4_y2", "A"):
        slope = found["d" + name][0]
        np.testing.assert_allclose(slope, weights @ found[name][1:], rtol=0, atol=1e-6 * np.abs(slope).max())
    columns = design(found, COUPLINGS)
    exact, difference = design_slope(found, COUPLINGS)[0], np.einsum("c,cqm->qm", weights, columns[1:])
    np.testing.assert_allclose(exact, difference, rtol=0, atol=1e-6 * np.abs(exact).max())


def test_columns_of_the_design(oracle):
    x = oracle.points["unit"]
    found = vertex_integrals("erf", 1.0, 1.0, x, [10.0, 100.0])
    columns = design(found, ("lambda_nl", "lambda_0"))
    c, a = oracle.component, found["A"]
    pairs = [((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2))]
    by_hand = -8 * sum(a[:, c(6, *p)] * a[:, c(6, *q)] for p, q in pairs)
    assert columns.shape == (2, 126, 2)
    np.testing.assert_allclose(columns[:, c(6, 0, 1, 2, 3), 0], by_hand, rtol=1e-13)
    np.testing.assert_array_equal(columns[..., 1], -24 * found["I4"])
    with pytest.raises(ValueError, match="a model is a list of couplings"):
        design(found, ["lambda_3"])
    with pytest.raises(ValueError, match="need the integrals I4_y4"):
        design(found, ["lambda_0", "lambda_4"])


def cpu_seconds(function):
    """Least processor time of three calls."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def test_all_components_cost_less_than_a_few_by_adaptive_quadrature(oracle):
    """The usual way integrates component by component: all 126, with weights, at six cutoffs, for less than eight."""
    x = oracle.points["unit"]

    def integrand(y):
        return float(np.prod(leg_kernel("erf", 1.0, 1.0, x[:4], np.array([[y]]))))

    ours = cpu_seconds(lambda: vertex_integrals("erf", 1.0, 1.0, x, [7, 10, 20, 50, 100, 1000]))
    one = cpu_seconds(lambda: quad(integrand, -100, 100, limit=200))
    assert ours < 8 * one


def test_bad_input_is_refused():
    x = np.ones((2, 1))
    with pytest.raises(ValueError, match="infinite cutoff"):
        vertex_integrals("erf", 1, 1, x, [np.inf])
    with pytest.raises(ValueError, match="positive"):
        vertex_integrals("erf", 1, 1, x, [1.0, -1.0])
    with pytest.raises(ValueError, match="d_in = 1, 2 or 3"):
        vertex_integrals("erf", 1, 1, np.ones((2, 4)), [1.0])
    with pytest.raises(ValueError, match="one hidden layer only"):
        vertex_integrals("erf", 1, 1, x, [1.0], depth=3)


@pytest.mark.parametrize(("activation", "sigma_b"), [("relu", 0.0), ("relu", 0.5), ("erf", 0.5), ("gauss", 1.0)])
def test_selected_components_have_the_same_integrals(activation, sigma_b):
    x, cutoffs = np.array([[-1.0], [-0.4], [0.1], [0.3], [0.8], [1.5]]), [3.0, 9.0]
    chosen = select(6, (2, 4), ("aabb",), (), ((0, 1, 4, 5),))
    everything = vertex_integrals(activation, 1.0, sigma_b, x, cutoffs)
    found = selected_integrals(activation, 1.0, sigma_b, x, cutoffs, chosen)
    assert set(found) == set(everything)
    where = rank(multisets(chosen, 4), 6)
    for whole, part in ((design, design), (design_slope, design_slope)):
        wanted = whole(everything, COUPLINGS)[:, where]
        scale = np.abs(wanted).max(axis=1, keepdims=True)
        np.testing.assert_allclose(part(found, COUPLINGS, chosen) / scale, wanted / scale, rtol=0, atol=1e-10)
