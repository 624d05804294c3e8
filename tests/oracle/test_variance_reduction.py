"""Integrating the last layer (the default) against products of outputs: the same correlators, far less variance."""

import numpy as np
import pytest

from nnqft import architecture, measure

REPLICATES = 512
"""Groups: a ratio of two variances is known to sqrt(4 / 511) = 9%."""


def both(activation, width, depth, **scales):
    a = architecture([[1.0]], activation, depth=depth, **scales)
    return [measure(a, width, 2**20, seed=2, estimator=e, replicates=REPLICATES) for e in ("product", "marginal")]


def ratios(direct, better):
    found = {}
    for name in ("G4c", "G6c"):
        error = np.hypot(direct.stderr[name], better.stderr[name])
        assert abs(direct.values[name] - better.values[name]).item() < 4 * error.item()
        found[name] = (direct.stderr[name] / better.stderr[name]).item() ** 2
    return found


@pytest.mark.parametrize(("width", "depth"), [(16, 1), (32, 3)])
def test_linear_networks_have_the_exact_ratio(width, depth):
    """G4c: variances of f^4 - 6 f^2 and of 3 K^2 - 6 K, f = sqrt(K) g, E K^p = prod_(k<p) (1 + 2k/n)^depth."""

    def moment(p):
        return np.prod([1 + 2 * k / width for k in range(p)]) ** depth

    def outputs(p):
        return np.prod(np.arange(1.0, 2 * p, 2)) * moment(p)

    direct = outputs(4) - 12 * outputs(3) + 36 * outputs(2) - (outputs(2) - 6) ** 2
    better = 9 * moment(4) - 36 * moment(3) + 36 * moment(2) - (3 * moment(2) - 6) ** 2
    found = ratios(*both("linear", width, depth))
    assert found["G4c"] == pytest.approx(direct / better, rel=0.45)  # heavy tails: 4 x 11%
    assert min(found["G6c"], direct / better) > 50


@pytest.mark.slow
def test_deep_tanh_networks_gain_a_thousand():
    found = ratios(*both("tanh", 64, 4, sigma_w=1.76095464**0.5, sigma_b=0.05**0.5))
    assert min(found.values()) > 1000, found
