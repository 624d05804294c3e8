"""Sine, cosine and error function against NumPy and SciPy, and their derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from nnqft.core.elementary import cos, erf, sin

EXACT = {sin: np.sin, cos: np.cos}


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def arguments(top, dtype):
    """Uniform in [-top, top], with the neighbourhoods of multiples of pi / 4."""
    z = np.random.default_rng(0).uniform(-top, top, 2**17)
    return np.concatenate([z, np.round(z[: 2**14] / (np.pi / 4)) * (np.pi / 4)]).astype(dtype)


@pytest.mark.parametrize(("dtype", "error"), [(np.float32, 1.2e-7), (np.float64, 2.5e-16)])
@pytest.mark.parametrize("function", [sin, cos], ids=["sin", "cos"])
def test_sine_and_cosine(function, dtype, error):
    compiled = jax.jit(function)
    for top in (1.0, 30.0, 1e3, 1e4):
        z = arguments(top, dtype)
        found = np.asarray(compiled(z))
        assert found.dtype == dtype
        assert np.abs(found - EXACT[function](z.astype(np.longdouble))).max() < error
        assert np.abs(found).max() <= 1


def test_sine_is_odd_and_right_for_small_numbers():
    z = np.logspace(-30, -1, 1000)
    for dtype, error in ((np.float32, 1.5e-7), (np.float64, 3e-16)):
        found = np.asarray(jax.jit(sin)(z.astype(dtype)))
        np.testing.assert_allclose(found, np.sin(z.astype(dtype).astype(float)), rtol=error)
        assert (np.asarray(jax.jit(sin)(-z.astype(dtype))) == -found).all()


def test_error_function():
    z = np.concatenate(
        [np.random.default_rng(0).uniform(-7, 7, 2**17), np.logspace(-300, 0, 1000), [0.0, np.inf, -np.inf]]
    )
    np.testing.assert_allclose(jax.jit(erf)(z), special.erf(z), rtol=6e-16)
    np.testing.assert_allclose(jax.jit(erf)(z.astype(np.float32)), special.erf(z), rtol=1e-6, atol=1e-38)


def test_not_a_number_stays_one():
    for function in (sin, cos, erf):
        assert jnp.isnan(function(jnp.nan))


def test_derivatives_up_to_the_fourth():
    z = np.linspace(-3, 3, 101)
    derivatives = {
        sin: [np.sin(z), np.cos(z), -np.sin(z), -np.cos(z), np.sin(z)],
        cos: [np.cos(z), -np.sin(z), -np.cos(z), np.sin(z), np.cos(z)],
    }
    slope = 2 / np.sqrt(np.pi) * np.exp(-(z**2))
    hermite = [1, -2 * z, 4 * z**2 - 2, -8 * z**3 + 12 * z]
    derivatives[erf] = [special.erf(z), *(h * slope for h in hermite)]
    for function, expected in derivatives.items():
        for order, exact in enumerate(expected):
            np.testing.assert_allclose(jax.jit(jax.vmap(function))(z), exact, atol=1e-14, err_msg=f"order {order}")
            function = jax.grad(function)
