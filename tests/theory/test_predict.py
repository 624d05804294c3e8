"""The assembled prediction: qualities, widths, full correlators from connected ones."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from nnqft.core.packing import multisets, rank
from nnqft.core.selection import select
from nnqft.nets.maps import CLOSED
from nnqft.predictions.outputs import theory
from nnqft.spec.grid import architecture

SPREAD = np.array([-1, -0.6, -0.2, 0.2, 0.6, 1])[:, None]
RAY = np.array([0.2, 0.4, 0.6, 0.8, 1.0, 1.2])[:, None]
SQUARE = np.array([(0.5, 0.5), (0.5, 1), (1, 0.5), (1, 1)])
CUBE = np.array([(0.2, 0.2, 0.2), (1, 1, 0.2), (0.2, 1, 1), (1, 0.2, 1)])


def predict(activation, depth, sigma_w, sigma_b, x, widths):
    """Predictions as attributes."""
    found = theory(architecture(x, activation, depth, sigma_w, sigma_b), widths)
    return SimpleNamespace(**found.values, prediction=found.prediction, reason=found.reason)


WIDTHS = [2, 3, 4, 5, 10, 20, 50, 100, 500, 1000]


def test_relu_net_of_hms():
    """m_4 = 5/N for every component and G6 = prod x (1.875 + 28.125 / N + 82.5 / N^2)."""
    found = predict("relu", 1, 1.0, 0.0, RAY, WIDTHS)
    widths = np.array(WIDTHS)[:, None]
    np.testing.assert_allclose(found.G4 / found.G4_gp - 1, 5 / widths + 0 * found.G4, rtol=1e-10)
    monomials = RAY[multisets(6, 6), 0].prod(axis=1)
    np.testing.assert_allclose(found.G6, monomials * (1.875 + 28.125 / widths + 82.5 / widths**2), rtol=1e-11)
    np.testing.assert_allclose(found.G6_gp, 1.875 * monomials, rtol=1e-12)
    assert found.prediction == {2: "exact", 4: "exact", 6: "exact"}
    assert found.G2.shape == (10, 21)
    assert found.G4c.shape == found.G4.shape == (10, 126)
    assert found.G6c.shape == found.G6.shape == (10, 462)


@pytest.mark.parametrize(
    ("activation", "sigma_b", "x", "width", "free", "with_quartic"),
    [
        ("relu", 0.0, RAY, 20, 0.53763441, 0.94086022),
        ("relu", 0.0, SQUARE, 20, 0.540370, 0.941440),
        ("relu", 0.0, CUBE, 20, 0.551536, 0.943922),
        ("erf", 1.0, RAY / 100, 5, 0.96723797, 0.99992803),
        ("erf", 1.0, SPREAD, 5, 0.96708320, 0.99974135),
        ("gauss", 1.0, 0.01 * SPREAD, 1000, 0.94293132, 0.98083536),
    ],
)
def test_shares_of_the_six_point_function(activation, sigma_b, x, width, free, with_quartic):
    """Means over components of the partial sums KKK and KKK + 15 K G4c over the whole."""
    found = predict(activation, 1, 1.0, sigma_b, x, [width])
    assert np.mean(found.G6_gp / found.G6[0]) == pytest.approx(free, abs=1e-6)
    assert np.mean((found.G6 - found.G6c)[0] / found.G6[0]) == pytest.approx(with_quartic, abs=1e-6)


def test_full_correlators_of_a_single_point():
    """One point: G4 = G4c + 3 G2^2, G6 = G6c + 15 G2 G4c + 15 G2^3."""
    found = predict("erf", 1, 1.0, 1.0, SPREAD[:1], [7])
    G2, G4c, G6c = found.G2[0, 0], found.G4c[0, 0], found.G6c[0, 0]
    assert found.G4[0, 0] == pytest.approx(G4c + 3 * G2**2, rel=1e-14)
    assert found.G6[0, 0] == pytest.approx(G6c + 15 * G2 * G4c + 15 * G2**3, rel=1e-14)


@pytest.mark.parametrize("activation", ["relu", "erf", "gauss"])
def test_large_width_is_the_free_theory(activation):
    found = predict(activation, 1, 1.0, 0.5, SPREAD[:4], [10**12])
    np.testing.assert_allclose(found.G4[0], found.G4_gp, rtol=1e-8)
    np.testing.assert_allclose(found.G6[0], found.G6_gp, rtol=1e-8)


def test_deep_nets_have_leading_order_and_no_sixth():
    found = predict("tanh", 2, 1.3, 0.3, SPREAD[:3], [10, 100])
    assert found.prediction == {2: "leading-1/N", 4: "leading-1/N", 6: "none"}
    assert found.reason[4] == ""
    assert "order 6" in found.reason[6]
    assert np.all(np.isnan(found.G6c))
    assert np.all(np.isnan(found.G6))
    assert np.all(np.isfinite(found.G6_gp))
    assert np.all(np.isfinite(found.G4))
    shift = found.G2 - found.G2_gp
    np.testing.assert_allclose(shift[0], 10 * shift[1], rtol=1e-9)
    assert np.max(np.abs(shift)) > 1e-4


def test_five_input_dimensions_keep_order_four():
    x = np.random.default_rng(1).normal(size=(5, 6))
    found = predict("erf", 1, 1.0, 0.3, x, [10])
    assert found.prediction == {2: "exact", 4: "quadrature", 6: "none"}
    assert "dimensions" in found.reason[6]
    four = predict("erf", 1, 1.0, 0.3, x[:4], [10])
    assert four.prediction[6] == "quadrature"
    position = rank(np.array([0, 1, 2, 3]), 5), rank(np.array([0, 1, 2, 3]), 4)
    assert found.G4c[0, position[0]] == pytest.approx(four.G4c[0, position[1]], rel=1e-9)


def test_what_quadrature_cannot_do_is_missing_with_a_reason():
    x = 1e5 * np.random.default_rng(1).normal(size=(4, 4))
    shallow, deep = (predict("erf", depth, 1.0, 0.3, x, [10]) for depth in (1, 2))
    assert shallow.prediction == {2: "exact", 4: "none", 6: "none"}
    assert "nodes" in shallow.reason[4]
    assert np.all(np.isfinite(shallow.G2))
    assert np.all(np.isnan(shallow.G4c))
    assert deep.prediction == {2: "none", 4: "none", 6: "none"}
    assert np.all(np.isnan(deep.G2))
    assert np.all(np.isfinite(deep.G4_gp))


def test_three_dimensional_erf_net():
    """Corner points, with bias: four dimensions. All pairs are alike, so are the components of one pattern."""
    x = np.array([(1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)], dtype=float)
    found = predict("erf", 1, 1.0, 1.0, x, [1])
    quads = multisets(4, 4)
    patterns = np.sort(np.stack([(quads == a).sum(axis=1) for a in range(4)], axis=1), axis=1)
    for pattern in np.unique(patterns, axis=0):
        same = found.G4c[0, np.all(patterns == pattern, axis=1)]
        np.testing.assert_allclose(same, same[0], rtol=1e-9)
    line = predict("erf", 1, 1.0, 1.0, np.array([[1.0], [-1 / 3]]), [1])
    assert found.G4c[0, 0] == pytest.approx(line.G4c[0, 0], rel=1e-10)


def test_double_precision_whatever_the_default():
    reference = predict("tanh", 1, 1.0, 0.3, SPREAD[:2], [10])
    with jax.enable_x64(False):
        single = predict("tanh", 1, 1.0, 0.3, SPREAD[:2], [10])
    np.testing.assert_array_equal(single.G6, reference.G6)


@pytest.mark.parametrize("activation", ["linear", "relu", "erf", "tanh", "sin", "cos", "gelu", "softplus", "gauss"])
def test_every_activation_has_a_prediction(activation):
    found = predict(activation, 1, 1.1, 0.4, SPREAD[:2], [5])
    assert all(np.all(np.isfinite(getattr(found, name))) for name in ("G2", "G4", "G6", "G4c", "G6c"))
    assert found.prediction[2] == ("exact" if activation in CLOSED else "quadrature")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation": "swish"}, "no activation"),
        ({"activation": "gauss", "depth": 2}, "infinite"),
        ({"depth": 0}, "at least 1"),
        ({"sigma_w": 0.0}, "sigma_w"),
        ({"sigma_b": -1.0}, "sigma_b"),
        ({"x": np.array([[np.nan]])}, "finite"),
        ({"widths": [0]}, "widths"),
    ],
)
def test_refusals(change, message):
    arguments = {"activation": "erf", "depth": 1, "sigma_w": 1.0, "sigma_b": 0.0, "x": SPREAD, "widths": [2]}
    with pytest.raises(ValueError, match=message):
        predict(**(arguments | change))


@pytest.mark.parametrize(("activation", "depth", "orders"), [("relu", 1, (2, 4, 6)), ("erf", 2, (2, 4))])
def test_selected_components_have_the_same_predictions(activation, depth, orders):
    a, chosen = (
        architecture(SQUARE, activation, depth, 1.1, 0.3),
        select(4, orders, ("aabb", "aaabbb")[: len(orders) - 1]),
    )
    everything, found = theory(a, [5, 50], orders), theory(a, [5, 50], orders, chosen)
    assert found.prediction == everything.prediction
    assert not any(found.reason.values())
    for k in orders:
        where = rank(multisets(chosen, k), 4)
        for name in ("G2", "G2_gp") if k == 2 else (f"G{k}_gp", f"G{k}c", f"G{k}"):
            wanted = everything.values[name][..., where]
            np.testing.assert_allclose(found.values[name], wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())


def test_few_points_have_predictions_that_many_have_not():
    a = architecture(np.random.default_rng(0).normal(size=(6, 6)), "tanh", 1, 1.0, 0.5)
    found = theory(a, [10], (2, 4, 6), select(6, (2, 4, 6), ("aaabbb",), (), ((0, 1, 2, 3, 4, 4),)))
    assert found.prediction[6] == "quadrature"
    assert np.isnan(found.values["G6c"]).sum() == 1
    assert np.isfinite(found.values["G4c"]).all()
    assert "more than 4 dimensions" in found.reason[6]


def test_too_many_subsets_leave_the_kernel_and_say_why(monkeypatch):
    monkeypatch.setattr("nnqft.predictions.selected.MOST_PARTS", 5)
    found = theory(architecture(SQUARE, "relu"), [10], (2, 4), select(4, (2, 4), ("aabb",)))
    assert np.isfinite(found.values["G2"]).all()
    assert np.isnan(found.values["G4c"]).all()
    assert found.prediction == {2: "exact", 4: "none"}
    assert "10 subsets of the points" in found.reason[4]
