"""Estimates from deep perceptrons against exact answers and the theory at order 1/n; errors against scatter."""

import numpy as np
import pytest
from propagated import measured, pull

from nnqft.criticality import corrected, finite_width
from nnqft.criticality.propagation import PropagationSpec, reference
from nnqft.criticality.propagation_decay import NO_SCALE, NO_SIGNAL, decay_scale, fit_window
from nnqft.criticality.propagation_estimates import MERGED, estimates
from nnqft.criticality.scale_invariant import kernel_moments, relative_variance
from nnqft.estimation.jackknife import stderr

BIAS = 0.05
PAIR = np.array([[1.0, 0.5], [0.5, 0.8]])


def test_relu_to_all_orders():
    """Item by item: Var Khat^(2) = S / n = 0.15625 at n = 32, then (1 + 5/n)^m - 1; the third cumulant too."""
    found = measured("relu", 2.0, 0.0, 1.0, width=32, depth=5, networks=30_000)
    assert found["V"].value[1, 0, 0] / 32 == pytest.approx(0.15625, abs=4 * found["V"].stderr[1, 0, 0] / 32)
    expected = 32 * relative_variance("relu", np.arange(6), 32)
    assert np.all(np.abs(pull(found["V"], expected[1:], (slice(1, None), 0, 0))) < 4)
    assert found["V"].stderr[1, 0, 0] < 0.02 * expected[1]
    one, two, three = kernel_moments("relu", [32], 3)[1:]
    assert abs(pull(found["U"], 32**2 * (three - 3 * two + 2 * one), (1, 0))) < 4
    assert np.all(np.abs(pull(found["G1"], 0.0, slice(1, None))) < 4)
    np.testing.assert_allclose(found["gradient"].value[-1], 1, atol=4 * found["gradient"].stderr[-1])
    assert found["gradient_log"].value[-1] < -4 * found["gradient_log"].stderr[-1]


def test_one_layer_is_exact_at_any_width():
    """V, G1 = 0 and U of the second layer; then what has no value, and why."""
    theory = finite_width("tanh", np.sqrt(1.76), np.sqrt(BIAS), PAIR, 1)
    found = measured("tanh", 1.76, BIAS, PAIR, width=8, depth=5, networks=30_000, subbatches=16)
    for name, values in (("V", theory.V), ("G1", theory.G1), ("U", theory.U)):
        assert np.all(np.abs(pull(found[name], values[1], 1)) < 4)
    assert found["V"].stderr[1, 0, 0] < 0.02 * theory.V[1, 0, 0]
    np.testing.assert_allclose(found["K"].value[:2], theory.K, atol=5 * found["K"].stderr[1].max())
    np.testing.assert_allclose(found["V"].value[0], 0, atol=1e-12)
    np.testing.assert_allclose(found["correlation"].value[0], 0.5 / np.sqrt(0.8), rtol=1e-12)
    assert found["lambda_perp"].reason == "depth 5 leaves no layer after the first 19"
    assert np.isnan(found["lambda_perp"].value)
    assert found["lambda_pair"].reason == MERGED


def test_rates_of_narrow_networks():
    """n (lambda - chi) at n = 40, extrapolated with the values of n = 20 to 320 (test_propagation_widths.py)."""
    at = corrected("tanh", np.sqrt(1.5), np.sqrt(BIAS))
    found = measured("tanh", 1.5, BIAS, float(at.q_star), width=40, depth=45, networks=20_000)
    for name, infinite, shift, second in (
        ("par", at.chi_par, at.d_par, -0.49),
        ("perp", at.chi_perp, at.d_perp, -0.44),
    ):
        rate = found[f"lambda_{name}"]
        assert rate.trusted
        assert 40 * rate.stderr < 0.05 * shift
        assert abs(pull(rate, infinite + (shift + second / 40) / 40, allowance=0.002 / 40)) < 4
        assert (rate.value - infinite) / rate.stderr > 20
    assert found["xi_c"].value == pytest.approx(-1 / np.log(found["lambda_perp"].value))
    assert found["xi_c"].stderr == pytest.approx(
        found["xi_c"].value ** 2 * found["lambda_perp"].stderr / found["lambda_perp"].value, rel=0.05
    )
    assert found["lyapunov"].value < found["lyapunov_annealed"].value
    slope = found["gradient_log"].value
    assert found["lyapunov"].value == pytest.approx((slope[-1] - slope[25]) / 40, abs=4 * found["lyapunov"].stderr)


def synthetic(rng, groups=24):
    """Sums of a spec of 2 points, 2 layers from Gaussian d and weights: what is estimated is known."""
    spec = PropagationSpec("tanh", 2, 10, 1, groups * 50, groups)
    d = rng.standard_normal((groups, 50, 3)) @ np.array([[1.0, 0.3, 0.0], [0.0, 0.7, 0.2], [0.0, 0.0, 0.5]])
    d = d + np.array([0.7, 0.0, -0.4])
    left, right = np.triu_indices(3)
    sums = {name: np.zeros((groups, *shape)) for name, shape in spec.layout.items()}
    sums["shift"][:, 1] = d.sum(axis=1)
    sums["product"][:, 1] = (d[..., left] * d[..., right]).sum(axis=1)
    sums["cube"][:, 1] = (d[..., [0, 2]] ** 3).sum(axis=1)
    W, G = np.exp(0.5 * rng.standard_normal((groups, 50))), 0.9 + 0.1 * rng.standard_normal((groups, 50))
    for rate in ("par", "perp", "pair"):
        parts = W, (G + 0.1 * W) * W, W**2, np.ones_like(W)
        sums |= {f"{rate}_{k}": v.sum(axis=1) for k, v in zip(("W", "GW", "WW", "count"), parts, strict=True)}
    sums |= {f"{r}_{k}": np.full(groups, 50.0) for r in ("par", "perp") for k in ("log", "log_count")}
    return estimates(spec, sums, spec.counts, reference(spec, np.sqrt(2.5), np.sqrt(BIAS), PAIR))


def test_errors_are_scatter():
    rng = np.random.default_rng(4)
    runs = [synthetic(rng) for _ in range(150)]
    mixing = np.array([[1.0, 0.3, 0.0], [0.0, 0.7, 0.2], [0.0, 0.0, 0.5]])
    # E W^2 / E W = e^{3/8} of W = e^{x / 2}; share = e^{-1/4}
    expected = {
        "V": 10 * mixing.T @ mixing,
        "U": 0.0,
        "lambda_perp": 0.9 + 0.1 * np.exp(0.375),
        "share_pair": np.exp(-0.25),
    }
    for name, value in expected.items():
        at = (1,) if name in "VU" else ()
        values = np.array([run[name].value[at] for run in runs])
        errors = np.array([run[name].stderr[at] for run in runs])
        scatter = values.std(axis=0, ddof=1)
        np.testing.assert_allclose(np.sqrt((errors**2).mean(axis=0)), scatter, rtol=0.3)
        assert np.all(np.abs(values.mean(axis=0) - value) < 4 * scatter / np.sqrt(150) + 1e-3 * (name == "share_pair"))
    assert runs[0]["lambda_pair"].trusted
    assert runs[0]["V"].replicates.shape == (24, 2, 3, 3)


def test_decays():
    """y = y_inf + A e^{-l / xi} with a faster mode that is gone at 3 xi, and with noise."""
    depth = np.arange(41.0)
    pure = np.exp(-depth / 5.0)
    layers = fit_window(5.0, pure, 1.0)
    assert layers == range(15, 31)
    assert fit_window(5.0, pure, None) == range(15, 41)
    assert fit_window(1.2, np.exp(-depth / 1.2), 1.0) == range(4, 10)
    assert fit_window(8.0, np.exp(-depth / 8.0), None) == "depth 40 is below the 48 layers that a fit needs"
    lingering = fit_window(5.0, pure / (pure + 0.4), None)
    assert 20 <= lingering.start <= 25
    assert fit_window(np.inf, pure, None) == NO_SCALE
    clean = np.tile(0.4 + 0.5 * np.exp(-depth / 5.5) + 2 * np.exp(-depth / 0.4), (9, 1))
    scale, reason = decay_scale(clean + 1e-15 * np.arange(9)[:, None], layers, 5.0, None)
    np.testing.assert_allclose(scale, 5.5, rtol=1e-5)
    assert reason == ""
    np.testing.assert_allclose(decay_scale(clean + 0.6, layers, 5.0, 1.0)[0], 5.5, rtol=1e-5)
    rng = np.random.default_rng(2)
    pulls = []
    for _ in range(30):
        groups = clean[:1] + 2e-3 * rng.standard_normal((20, 41))
        left_out = (groups.sum(axis=0) - groups) / 19
        scale, reason = decay_scale(np.concatenate([groups.mean(axis=0)[None], left_out]), layers, 5.0, None)
        assert reason == ""
        pulls.append((scale[0] - 5.5) / stderr(scale[1:]))
    assert 0.6 < np.std(pulls) < 1.5
    assert abs(np.mean(pulls)) < 0.8
    noise = 1 + rng.standard_normal((10, 41))
    assert decay_scale(noise, layers, 5.0, None)[1] == NO_SIGNAL
