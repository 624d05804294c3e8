"""The line between order and chaos, and universality classes."""

from pkgutil import iter_modules

import jax.numpy as jnp
import numpy as np
import pytest

from nnqft import criticality
from nnqft.criticality import boundary, branches, mean_field, universality
from nnqft.criticality.averages import length_averages, resolved
from nnqft.criticality.roots import bracketed_roots
from nnqft.nets.activations import Activation

BIASES = np.array([0.0, 0.01, 0.05, 0.1, 1.0])
TABLE = {
    "tanh": ([0, 0.27330091, 0.57004788, 0.80579918, 3.03639639], [1, 1.42420529, 1.76095464, 1.98607264, 3.44321091]),
    "erf": (
        [0, 0.25320966, 0.51717684, 0.72635923, 2.74489093],
        [np.pi / 4, 1.11428006, 1.37583901, 1.55211786, 2.71838135],
    ),
    "sin": ([0, 0.31477326, 0.55207010, 0.71181155, 1.96117975], [1, 1.30477326, 1.50207010, 1.61181155, 1.96117975]),
}


@pytest.mark.parametrize("name", TABLE)
def test_boundary(name):
    q, sigma_w = boundary(name, np.sqrt(BIASES))
    np.testing.assert_allclose(q, TABLE[name][0], atol=1e-8)
    np.testing.assert_allclose(sigma_w**2, TABLE[name][1], atol=1e-8)
    found = mean_field(name, sigma_w, np.sqrt(BIASES))
    np.testing.assert_allclose(found.chi_perp, 1, atol=1e-12)
    np.testing.assert_allclose(found.q_star, q, rtol=1e-10, atol=1e-12)
    assert np.isinf(found.xi_c).all()
    assert (found.c_star == 1).all()


def test_sin_in_closed_form():
    q, sigma_w = boundary("sin", 0.4)
    assert q - np.tanh(q) == pytest.approx(0.16, abs=1e-14)
    assert sigma_w**2 == pytest.approx(2 / (1 + np.exp(-2 * q)), rel=1e-14)


def test_unstable_branch_of_gelu():
    for bias, q, C_W, chi in ((0.05, 0.722036, 2.302520, 1.085), (0.1, 1.632426, 2.076676, 1.037)):
        found = branches("gelu", np.sqrt(bias))
        assert len(found) == 1
        assert found[0].q_star == pytest.approx(q, abs=1e-6)
        assert found[0].sigma_w ** 2 == pytest.approx(C_W, abs=1e-6)
        assert found[0].chi_par == pytest.approx(chi, abs=1e-3)


def test_universality_classes():
    for name, sigma_w, a_1 in (("tanh", 1, -2), ("erf", np.sqrt(np.pi) / 2, -2), ("sin", 1, -1)):
        found = universality(name)
        assert (found.kind, found.q_star, found.sigma_b) == ("K*=0", 0, 0)
        assert (found.sigma_w, found.a_1) == pytest.approx((sigma_w, a_1), rel=1e-12)
    assert universality("relu").kind == universality("linear").kind == "scale-invariant"
    assert universality("relu").sigma_w == pytest.approx(np.sqrt(2))
    assert universality("softplus").kind == universality("cos").kind == "none"


def test_curvature_of_the_length_map_at_zero():
    mixed = Activation("mixed", lambda z, _: jnp.sin(z) + 0.3 * (1 - jnp.cos(z)))
    K = 1e-4
    slope = length_averages(mixed, np.array([0.0, K]))[2]
    assert universality(mixed).kind == "K*=0"
    assert universality(mixed).a_1 == pytest.approx((slope[1] - slope[0]) / (2 * K), rel=1e-3)


def test_gelu_is_half_stable():
    found = universality("gelu")
    assert found.kind == "half-stable"
    assert found.q_star == pytest.approx((3 + np.sqrt(17)) / 2, abs=1e-10)
    assert found.sigma_w**2 == pytest.approx(1.98305826, abs=1e-8)
    assert found.sigma_b**2 == pytest.approx(0.17292239, abs=1e-8)
    _, slope, derivative = length_averages(resolved("gelu"), found.q_star)
    assert found.sigma_w**2 * slope == pytest.approx(1, abs=1e-10)
    assert found.sigma_w**2 * derivative == pytest.approx(1, abs=1e-10)
    assert found.a_1 < 0


def test_no_boundary_is_nan():
    assert np.isnan(boundary("relu", 0.3)).all()
    q, sigma_w = boundary("relu", [0.0, 0.3])
    np.testing.assert_allclose(sigma_w, [np.sqrt(2), np.nan])
    assert np.isnan(q).all()
    assert branches("softplus", 0.1) == []


def test_roots_to_rounding():
    power = np.array([1.0, 3.0, 9.0, 0.2])
    target = np.array([1e-9, 0.3, 0.9, 1.7])
    found = bracketed_roots(lambda i, x: x ** power[i] - target[i], np.zeros(4), np.full(4, 20.0))
    np.testing.assert_allclose(found, target ** (1 / power), rtol=1e-14)


def test_no_module_hides_a_public_name():
    """Importing a module sets it as an attribute of its package, before any lazy name."""
    assert not {module.name for module in iter_modules(criticality.__path__)} & set(criticality._HOMES)
    assert all(callable(getattr(criticality, name)) for name in criticality._HOMES)
