"""The mean coupling over components, against the table of exact values."""

import numpy as np
import pytest

from nnqft.couplings.components import component_mean
from nnqft.couplings.vertices import vertex_integrals
from nnqft.predictions.outputs import theory
from nnqft.spec.grid import architecture

RAY = np.array([[-1.0], [-0.6], [-0.2], [0.2], [0.6], [1.0]])
RELU_2D = np.array([[0.5, 0.5], [0.5, 1.0], [1.0, 0.5], [1.0, 1.0]])
RELU_3D = np.array([[0.2, 0.2, 0.2], [1.0, 1.0, 0.2], [0.2, 1.0, 1.0], [1.0, 0.2, 1.0]])
SMALL = np.arange(1, 7)[:, None] * 0.002


@pytest.mark.parametrize(
    ("activation", "sigma_b", "x", "cutoff", "power", "mean", "spread"),
    [
        ("relu", 0.0, RELU_2D, 10.0, 6, -17.3638892, 0.0352),
        ("relu", 0.0, RELU_3D, 10.0, 7, -14.94297689, 0.0797),
        ("gauss", 1.0, 0.01 * RAY, 20.0, 0, -5.34568038, 1.12e-4),
        ("erf", 1.0, SMALL, 100.0, 0, -0.1854420673, 2.0e-4),
    ],
)
def test_exact_means_and_spreads(activation, sigma_b, x, cutoff, power, mean, spread):
    exact = theory(architecture(x, activation, 1, 1.0, sigma_b), [1]).values["G4c"][0]
    I4 = vertex_integrals(activation, 1.0, sigma_b, x, [cutoff])["I4"][0]
    replicates = exact * (1 + 0.01 * np.linspace(-1, 1, 8)[:, None])
    found = component_mean(exact, replicates, I4)
    assert found.mean * cutoff**power == pytest.approx(mean, rel=1e-8)
    assert found.spread == pytest.approx(spread, rel=0.02)
    error = np.sqrt(7 / 8 * np.sum((0.01 * np.linspace(-1, 1, 8)) ** 2))
    assert found.stderr == pytest.approx(error * abs(found.mean), rel=1e-9)


def test_components_without_an_integral_are_left_out():
    found = component_mean(np.array([1.0, 5.0]), np.ones((4, 2)), np.array([0.5, 0.0]))
    assert found.mean == pytest.approx(-1 / 12)
    assert np.isnan(component_mean(np.ones(2), np.ones((4, 2)), np.zeros(2)).mean)
