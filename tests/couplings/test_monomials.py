"""Position-dependent couplings lambda_2k |y|^2k, and legs of another strength: independent quadrature, closed forms."""

import re
from itertools import pairwise

import numpy as np
import pytest
from numpy.polynomial.legendre import leggauss
from scipy.integrate import quad

from nnqft.core.packing import multisets, rank
from nnqft.core.selection import select
from nnqft.couplings.kernels import leg_kernel
from nnqft.couplings.vertices import (
    COUPLING_PATTERN,
    QUARTIC,
    design,
    design_slope,
    is_coupling,
    quartic_names,
    selected_integrals,
    vertex_integrals,
)

X1 = np.array([[-0.5], [0.3], [1.1]])
X2 = np.array([[0.4, -0.3], [0.2, 0.9]])


def by_quad(activation, sigma_b, cutoff, power, kinks=()):
    """int y^2k K_a K_b K_c K_d of all components, one after the other, on the line."""

    def component(legs):
        def integrand(y):
            return y ** (2 * power) * float(np.prod(leg_kernel(activation, 1.2, sigma_b, X1[legs], [[y]])))

        edges = [-cutoff, *sorted([0.0, *kinks]), cutoff]
        return sum(quad(integrand, *e, epsabs=0, epsrel=1e-11)[0] for e in pairwise(edges))

    return np.array([component(legs) for legs in multisets(3, 4)[::2]])


@pytest.mark.parametrize(("activation", "sigma_b", "power"), [
    ("relu", 0.0, 2), ("relu", 0.5, 2), ("erf", 1.0, 2), ("erf", 1.0, 5), ("gauss", 1.0, 2), ("gauss", 1.0, 9),
])  # fmt: skip
def test_powers_equal_adaptive_quadrature(activation, sigma_b, power):
    reference = by_quad(activation, sigma_b, 2.0, power, X1[:, 0] if activation == "relu" else ())
    found = vertex_integrals(activation, 1.2, sigma_b, X1, [2.0], names=(f"I4_y{2 * power}",))
    np.testing.assert_allclose(found[f"I4_y{2 * power}"][0, ::2], reference, rtol=1e-9)


def test_powers_of_an_activation_without_a_closed_kernel():
    (t, w), cutoff = leggauss(24), 0.8
    k = np.prod(leg_kernel("tanh", 1.2, 0.5, X1[:2], cutoff * t[:, None])[multisets(2, 4)], axis=1)
    found = vertex_integrals("tanh", 1.2, 0.5, X1[:2], [cutoff], names=("I4_y4",))["I4_y4"]
    np.testing.assert_allclose(found[0], k @ (cutoff * w * (cutoff * t) ** 4), rtol=1e-9)


@pytest.mark.parametrize(("activation", "region"), [("gauss", "box"), ("gauss", "ball"), ("erf", "box")])
def test_powers_in_two_dimensions_equal_plain_quadrature(activation, region):
    """Polar in the ball, Cartesian in the box; all powers of the box in one call."""
    (t, w), cutoff = leggauss(70), 1.7
    if region == "box":
        y = cutoff * np.stack(np.meshgrid(t, t, indexing="ij"), axis=-1).reshape(-1, 2)
        weights = cutoff**2 * np.multiply.outer(w, w).ravel()
    else:
        r, angle = cutoff * (1 + t) / 2, 2 * np.pi * np.arange(70) / 70
        y = np.stack([np.multiply.outer(r, f(angle)) for f in (np.cos, np.sin)], axis=-1).reshape(-1, 2)
        weights = np.repeat(r * w * cutoff / 2 * 2 * np.pi / 70, 70)
    k = np.prod(leg_kernel(activation, 1.2, 0.7, X2, y)[multisets(2, 4)], axis=1)
    names = ("I4_y4", "I4_y6", "I4_y12")
    found = vertex_integrals(activation, 1.2, 0.7, X2, [cutoff], names=names, region=region)
    for name, power in zip(names, (2, 3, 6), strict=True):
        reference = k @ (weights * np.sum(y**2, axis=1) ** power)
        np.testing.assert_allclose(found[name][0], reference, rtol=0, atol=1e-10 * np.abs(reference).max())


def test_powers_of_gauss_in_small_boxes_and_without_a_cutoff():
    """At the origin: Lambda^(2k + 1) exp(...) -> moments of the uniform; moments (2k - 1)!! / b^k of a Gaussian."""
    x, small = np.zeros((1, 1)), 1e-3
    for k, moment in ((2, 3), (3, 15), (9, 34459425)):
        found = vertex_integrals("gauss", 1.0, 1.0, x, [small, np.inf], names=(f"I4_y{2 * k}",))
        value, slope = (found[f"{d}I4_y{2 * k}"][:, 0] for d in ("", "d"))
        series = 2 * small ** (2 * k + 1) * (1 / (2 * k + 1) - 2 * small**2 / (2 * k + 3))
        np.testing.assert_allclose(value, [series, np.sqrt(np.pi / 2) * moment / 4**k], rtol=1e-11)
        np.testing.assert_allclose(slope, [2 * small ** (2 * k) * np.exp(-2 * small**2), 0], rtol=1e-12)
    shifted = vertex_integrals("gauss", 1.0, 1.0, x + 1.5, [np.inf], names=("I4_y4",))["I4_y4"]
    assert shifted[0, 0] == pytest.approx(np.sqrt(np.pi / 2) * (1.5**4 + 6 * 1.5**2 / 4 + 3 / 16), rel=1e-13)


def test_powers_of_relu_are_closed_forms_and_scale():
    x, cutoffs = np.array([[0.3], [-0.5], [1.2]]), np.array([0.5, 7.0])
    points = x[multisets(3, 4), 0]
    unit = (np.abs(np.sign(points).sum(axis=1)) == 4) * 1.4**16 * np.abs(points.prod(axis=1)) / 16
    for k in (2, 3, 9):
        name, degree = f"I4_y{2 * k}", 5 + 2 * k
        found = vertex_integrals("relu", 1.4, 0.0, x, cutoffs, names=(name,))
        np.testing.assert_allclose(found[name], np.outer(cutoffs**degree / degree, unit), rtol=1e-12)
        np.testing.assert_allclose(found["d" + name], np.outer(cutoffs ** (degree - 1), unit), rtol=1e-12)
    for region in ("box", "ball"):
        found = vertex_integrals("relu", 1.0, 0.0, X2, [1.0, 2.0], names=("I4", "I4_y4"), region=region)
        np.testing.assert_allclose(found["I4_y4"][1], 2**10 * found["I4_y4"][0], rtol=1e-12)
        if region == "ball":  # |y|^4 is one on the unit sphere
            np.testing.assert_allclose(found["I4_y4"][0] / found["I4"][0], 6 / 10, rtol=1e-11)


@pytest.mark.parametrize(("activation", "sigma_b", "x", "region"), [
    ("relu", 0.5, X1, "box"), ("erf", 1.0, X2, "ball"), ("gauss", 1.0, X2, "box"), ("gauss", 1.0, X2, "ball"),
    ("relu", 0.0, X2, "box"),
])  # fmt: skip
def test_the_surface_term_is_the_derivative_in_the_cutoff(activation, sigma_b, x, region):
    model, h, cutoff = ("lambda_4", "lambda_nl", "lambda_6"), 0.005, 1.7
    stencil = cutoff * (1 + h * np.array([-2, -1, 1, 2]))
    names = quartic_names([model])
    found = vertex_integrals(activation, 1.1, sigma_b, x, [cutoff, *stencil], names=names, region=region)
    difference = np.einsum("c,cqm->qm", np.array([1, -8, 8, -1]) / (12 * h * cutoff), design(found, model)[1:])
    slope = design_slope(found, model)[0]
    np.testing.assert_allclose(slope / np.abs(slope).max(axis=0), difference / np.abs(slope).max(axis=0), atol=2e-6)
    np.testing.assert_array_equal(design(found, model)[..., 2], -24 * found["I4_y6"])


def test_names():
    assert quartic_names([["lambda_0"], ["lambda_0", "lambda_2"], ["lambda_nl"]]) == QUARTIC
    assert quartic_names([("lambda_10", "lambda_4"), ("lambda_4",)]) == ("I4_y4", "I4_y10")
    for name in ("lambda_0", "lambda_nl", *(f"lambda_{p}" for p in range(2, 19, 2))):
        assert is_coupling(name)
        assert re.match(COUPLING_PATTERN, name)
    for name in (
        "lambda_20",
        "lambda_3",
        "lambda_",
        "lambda_00",
        "lambda_02",
        "kappa",
        "I4",
        "lambda_nl2",
        "lambda_0\n",
    ):
        assert not is_coupling(name)
    with pytest.raises(ValueError, match="a model is a list of couplings"):
        quartic_names([["lambda_0"], ["lambda_20"]])
    for name in ("I4_y0", "I4_y3", "I4_y20", "I4_y", "dI4"):
        with pytest.raises(ValueError, match="integrals are"):
            vertex_integrals("erf", 1.0, 1.0, X1, [2.0], names=(name,))


def test_selected_components_have_the_same_powers():
    chosen, names = select(3, (2, 4), ("aabb",), (), ()), ("I4_y6",)
    everything = vertex_integrals("erf", 1.0, 1.0, X1, [3.0], names=names, strength=1.5)
    found = selected_integrals("erf", 1.0, 1.0, X1, [3.0], chosen, names=names, strength=1.5)
    where = rank(multisets(chosen, 4), 3)
    for name, values in found.items():
        np.testing.assert_allclose(values, everything[name][:, where], rtol=1e-9)


def test_strength_is_that_of_the_kernel_of_cosine_networks():
    """K = amplitude^2 / 2 exp(-sigma_w^2 (x - y)^2 / 2), by plain quadrature of products of K itself."""
    amplitude, sigma_w, cutoff, (t, w) = 1.5, 1.3, 2.0, leggauss(60)
    y, weights = cutoff * t, cutoff * w
    k = amplitude**2 / 2 * np.exp(-(sigma_w**2) * (X1 - y) ** 2 / 2)
    propagator = amplitude**2 / 2 * np.exp(-(sigma_w**2) * (y[:, None] - y) ** 2 / 2)
    strength = amplitude**2 / (2 * sigma_w**2)
    names = ("I4", "I4_y4", "A", "I6", "tree")
    found = vertex_integrals("gauss", sigma_w, 0.0, X1, [cutoff], names=names, strength=strength)
    products = {legs: np.prod(k[multisets(3, legs)], axis=1) for legs in (2, 3, 4, 6)}
    for name, legs, power in (("I4", 4, 0), ("I4_y4", 4, 4), ("A", 2, 0), ("I6", 6, 0)):
        np.testing.assert_allclose(found[name][0], products[legs] @ (weights * y**power), rtol=1e-11)
    tree = (products[3] * weights) @ propagator @ (products[3] * weights).T
    np.testing.assert_allclose(found["tree"][0, 0], tree[0, 0], rtol=1e-11)
    for key, power in (("dI4", 4), ("dtree", 7)):
        unit = vertex_integrals("gauss", sigma_w, 0.0, X1, [cutoff], names=names)[key]
        np.testing.assert_allclose(found[key], strength**power * unit, rtol=1e-13)
    with pytest.raises(ValueError, match="strength of the legs"):
        vertex_integrals("gauss", 1.0, 0.0, X1, [1.0], strength=0.0)
