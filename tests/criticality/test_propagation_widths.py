"""Deep perceptrons of many widths against theory: minutes."""

import numpy as np
import pytest
from propagated import measured, pull

from nnqft.criticality import corrected, finite_width, mean_field
from nnqft.criticality.scale_invariant import linear_second_moments

pytestmark = pytest.mark.slow
BIAS = 0.05
PAIR = np.array([[1.0, 0.5], [0.5, 0.8]])
WIDTHS = 20, 40, 80, 160, 320


def extrapolated(values, errors, widths, powers=2):
    """Limit n -> infinity of values a + b / n (+ c / n^2), its error and chi^2."""
    design = np.power.outer(1 / np.asarray(widths, dtype=np.float64), np.arange(powers)) / errors[:, None]
    inverse = np.linalg.inv(design.T @ design)
    found = inverse @ design.T @ (values / errors)
    return found[0], np.sqrt(inverse[0, 0]), float(np.sum((design @ found - values / errors) ** 2))


def test_rates_at_all_widths():
    """Uncorrected rates fail at every width, corrected ones below n = 160; their limit is that of n (lambda - chi)."""
    at = corrected("tanh", np.sqrt(1.5), np.sqrt(BIAS))
    runs = [measured("tanh", 1.5, BIAS, float(at.q_star), n, 60, 40_000, seed=n) for n in WIDTHS]
    for rate, infinite, shift in (("par", at.chi_par, at.d_par), ("perp", at.chi_perp, at.d_perp)):
        found = [run[f"lambda_{rate}"] for run in runs]
        values = np.array([n * (each.value - infinite) for n, each in zip(WIDTHS, found, strict=True)])
        errors = np.array([n * each.stderr for n, each in zip(WIDTHS, found, strict=True)])
        print(rate, values, errors, (values / errors) ** 2, ((values - shift) / errors) ** 2)
        assert all(each.trusted for each in found)
        assert np.all(values / errors > 15)
        assert np.all(np.abs(values[3:] - shift) < 4 * errors[3:])
        limit, error, chi2 = extrapolated(values, errors, WIDTHS)
        assert error < 0.03 * shift
        assert limit == pytest.approx(shift, abs=4 * error)
        assert chi2 < 15


def test_erf():
    at = corrected("erf", np.sqrt(1.2), np.sqrt(BIAS))
    found = measured("erf", 1.2, BIAS, float(at.q_star), 160, 60, 60_000)
    for rate, infinite, shift in (("par", at.chi_par, at.d_par), ("perp", at.chi_perp, at.d_perp)):
        assert abs(pull(found[f"lambda_{rate}"], infinite + shift / 160, allowance=0.03 * shift / 160)) < 3.5


def test_chaotic_phase():
    """chi_c = exp(-1 / 11.796) at infinite width, from the response and from the decay of correlations."""
    at = mean_field("tanh", np.sqrt(2.5), np.sqrt(BIAS))
    kernel = float(at.q_star) * np.array([[1.0, 0.9], [0.9, 1.0]])
    widths, rates, errors = (300, 1000), [], []
    for width in widths:
        found = measured("tanh", 2.5, BIAS, kernel, width, 110, 5000, seed=width)
        rates.append(found["lambda_pair"].value)
        errors.append(found["lambda_pair"].stderr)
        assert found["lambda_pair"].trusted
        decay = found["xi_c_decay"]
        print(found["xi_c"].value, decay.value, decay.stderr)
        assert decay.stderr < 0.25 * decay.value
        assert abs(pull(decay, found["xi_c"].value)) < 3.5
    limit, error, _ = extrapolated(np.array(rates), np.array(errors), widths)
    assert error < 5e-4
    assert limit == pytest.approx(float(at.chi_c), abs=4 * error)


def test_decay_of_lengths_and_of_merging_points():
    at = mean_field("tanh", 1.0, np.sqrt(BIAS))
    found = measured("tanh", 1.0, BIAS, [[1.0, 0.5], [0.5, 1.0]], 200, 40, 60_000)
    for scale, expected in (("xi_q", at.xi_q), ("xi_c", at.xi_c)):
        decay = found[f"{scale}_decay"]
        assert decay.stderr < 0.2 * decay.value
        assert abs(pull(decay, found[scale].value, allowance=0.03 * expected)) < 3.5
        assert found[scale].value == pytest.approx(float(expected), rel=0.02)


def test_cumulants_of_kernels_at_large_width():
    """V, G1 and U of the sixth layer, extrapolated, against the recursion at leading order."""
    widths = 25, 50, 100, 200
    for activation, C_W, C_b in (("tanh", 1.76, BIAS), ("relu", 2.0, 0.0)):
        theory = finite_width(activation, np.sqrt(C_W), np.sqrt(C_b), PAIR, 5)
        runs = [measured(activation, C_W, C_b, PAIR, n, 5, 40_000, seed=n) for n in widths]
        for name, expected in (("V", theory.V[-1]), ("G1", theory.G1[-1]), ("U", theory.U[-1])):
            for index in np.ndindex(expected.shape):
                values = np.array([run[name].value[-1][index] for run in runs])
                errors = np.array([run[name].stderr[-1][index] for run in runs])
                limit, error, _ = extrapolated(values, errors, widths, 3 if activation == "relu" else 2)
                assert limit == pytest.approx(expected[index], abs=4 * error), (activation, name, index)
                assert activation == "relu" or name != "V" or error < 0.03 * expected[index]


def test_linear_networks():
    found = measured("linear", 1.0, 0.0, PAIR, 8, 3, 100_000)
    packed = PAIR[np.triu_indices(2)]
    expected = 8 * (linear_second_moments(PAIR, 3, 8) - np.outer(packed, packed))
    assert np.all(np.abs(pull(found["V"], expected, -1)) < 4)


def test_gradients_grow_as_chi():
    """chi_1^20 = 4.03e-3, .282, 12.3 at infinite width."""
    for C_W, expected in ((1.0, 4.03e-3), (1.5, 0.282), (2.5, 12.3)):
        q = float(mean_field("tanh", np.sqrt(C_W), np.sqrt(BIAS)).q_star)
        widths = 64, 128, 256
        runs = [measured("tanh", C_W, BIAS, q, width, 20, 16_000)["gradient"] for width in widths]
        values, errors = (np.array([getattr(run, name)[-1] for run in runs]) for name in ("value", "stderr"))
        limit, error, _ = extrapolated(values, errors, widths)
        assert error < 0.04 * expected
        assert limit == pytest.approx(expected, abs=4 * error)
