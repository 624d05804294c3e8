"""Deep networks: the recursion of covariances at large N, and what is exact at every N (linear nets; relu on a ray)."""

import numpy as np
import pytest

from nnqft.core.packing import multisets
from nnqft.predictions.outputs import theory
from nnqft.sampling.groups import measure
from nnqft.spec.grid import architecture

PLANE = [[1.0, 0.5], [-0.3, 0.8], [0.6, -1.0]]
RAY = [[0.4], [1.0], [1.3]]
LAYERS = 4


@pytest.mark.parametrize(
    ("activation", "sigma_w", "sigma_b"),
    [("erf", 1.2, 0.3), pytest.param("tanh", 1.3, 0.3, marks=pytest.mark.slow), ("relu", 1.4, 0.1)],
)
def test_leading_order_with_the_next_one_extrapolated_away(activation, sigma_w, sigma_b):
    """G4c(N) = V / N + W / N^2 + ...: (4 N' G4c(N') - N G4c(N)) / 3 at N' = 4 N is V up to O(1/N^2)."""
    net = architecture(PLANE, activation, LAYERS, sigma_w, sigma_b)
    widths, found, error = (64, 256), {}, {}
    for seed, width in enumerate(widths):
        estimate = measure(net, width, 6144, seed, max_order=4)
        assert estimate.trusted[4]
        found[width], error[width] = width * estimate.values["G4c"], width * estimate.stderr["G4c"]
    leading = theory(net, [widths[1]], (2, 4))
    assert leading.prediction[4] == "leading-1/N"
    V = widths[1] * leading.values["G4c"][0]
    size = np.abs(V).max()
    extrapolated = (4 * found[256] - found[64]) / 3
    bar = np.hypot(4 * error[256], error[64]) / 3
    assert bar.max() < 0.03 * size
    assert np.all(np.abs(extrapolated - V) < 4 * bar + 0.01 * size)
    shallow = architecture(PLANE, activation, LAYERS - 1, sigma_w, sigma_b)  # the recursion stopped a layer early
    wrong = widths[1] * theory(shallow, [widths[1]], (2, 4)).values["G4c"][0]
    assert np.abs((extrapolated - wrong) / bar).max() > 5


@pytest.mark.parametrize("width", [2, 5, 16])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_linear_networks_at_every_width(kind, width):
    """G4c = C_W^{2 L} [(1 + 2/N)^L - 1] (A + B + C) of the first kernel, without biases."""
    sigma_w = 1.1
    how = {"network": "linear"} if kind == "linear" else {"activation": "linear"}
    net = architecture(PLANE, depth=LAYERS, sigma_w=sigma_w, **how)
    estimate = measure(net, width, 32_768, 7, max_order=4)
    x = np.array(PLANE)
    K = sigma_w**2 * x @ x.T / 2 * sigma_w ** (2 * LAYERS)
    a, b, c, d = multisets(3, 4).T
    pairings = K[a, b] * K[c, d] + K[a, c] * K[b, d] + K[a, d] * K[b, c]
    exact = ((1 + 2 / width) ** LAYERS - 1) * pairings
    assert np.abs((estimate.values["G4c"] - exact) / estimate.stderr["G4c"]).max() < 4.5
    assert np.median(estimate.stderr["G4c"] / np.abs(exact)) < 0.2
    a, b = multisets(3, 2).T
    assert np.abs((estimate.values["G2"] - K[a, b]) / estimate.stderr["G2"]).max() < 4.5


@pytest.mark.parametrize("width", [6, 16])
def test_relu_on_a_ray_at_every_width(width):
    """Khat = K prod_l k_l with E k = 1, E k^2 = 1 + 5/N, E k^3 = 1 + 15/N + 44/N^2 in every layer."""
    depth, sigma_w = 3, 1.3
    net = architecture(RAY, "relu", depth, sigma_w)
    estimate = measure(net, width, 65_536, 3)
    second, third = (1 + 5 / width) ** depth, (1 + 15 / width + 44 / width**2) ** depth
    x = np.array(RAY)[:, 0] * sigma_w * (sigma_w**2 / 2) ** (depth / 2)
    four = 3 * (second - 1) * x[multisets(3, 4)].prod(axis=1)
    six = 15 * (third - 3 * second + 2) * x[multisets(3, 6)].prod(axis=1)
    assert np.abs((estimate.values["G4c"] - four) / estimate.stderr["G4c"]).max() < 4.5
    assert np.median(estimate.stderr["G4c"] / four) < 0.1
    assert np.abs((estimate.values["G6c"] - six) / estimate.stderr["G6c"]).max() < 4.5
    assert estimate.trusted[4]
