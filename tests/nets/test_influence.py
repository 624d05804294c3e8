"""Leading 1/N from influence functions, against quadrature of the same order and against references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnqft.core.packing import multisets, pack, rank, unpack
from nnqft.nets.activations import ACTIVATIONS
from nnqft.nets.base import NotKnownError
from nnqft.nets.influence import gaussian_paths, leading, moment_fluctuation, quartic, sum_over_pairings
from nnqft.nets.maps import second_moment
from nnqft.nets.mlp import MLP

X = np.array([(1, 0.5), (-0.3, 0.8), (0.6, -1)])
SIGMA = np.sqrt(1.5), np.sqrt(0.1)
LISTED = rank(np.array([(0, 0, 0, 0), (0, 0, 1, 1), (0, 0, 1, 2), (0, 1, 1, 2)]), 3)
KEY = jnp.array([1, 2], dtype=jnp.uint32)


def mlp(activation="erf", depth=1, width=64, **options):
    return MLP(ACTIVATIONS[activation], depth, width, options=MLP.Options(**options))


def by_quadrature(net):
    return net.known(X, *SIGMA, np.array([[float(net.width)]])).values[4][0] * net.width


@pytest.mark.parametrize(
    ("activation", "depth", "options"),
    [
        ("erf", 2, {}),
        ("tanh", 2, {}),
        ("relu", 2, {}),
        ("erf", 3, {"layer_widths": (1, 0.25, 2)}),
        ("softplus", 2, {"norm": "rms", "layer_widths": (0.5, 2)}),
    ],
)
def test_perceptrons_agree_with_the_recursion_of_covariances(activation, depth, options):
    """V' = S / f + J V J^T, evaluated by quadrature."""
    net = mlp(activation, depth, **options)
    value, error = quartic(net, X, *SIGMA)
    expected = by_quadrature(net)
    assert np.all(np.abs(value - expected) < 4 * error)
    assert np.all(error < 0.01 * np.max(np.abs(expected)))


def test_one_hidden_layer_and_layer_norm_in_the_tables():
    value, error = quartic(mlp(), X, *SIGMA)
    reference = np.array([0.82372496, 0.80048925, -0.62123394, -0.01560799])
    assert np.all(np.abs(value[LISTED] - reference) < 4 * error[LISTED])
    value, error = quartic(mlp(depth=2, norm="layer"), X, *SIGMA)
    pulls = (value[LISTED] - [0.330, 1.479, -0.862, 0.297]) / np.hypot(error[LISTED], [0.002, 0.003, 0.003, 0.002])
    assert np.all(np.abs(pulls) < 4)
    assert np.all(np.abs(value[LISTED[:3]] / [0.330, 1.479, -0.862] - 1) < 0.01)


def test_only_the_law_decides_the_draws():
    value, error = quartic(mlp(depth=2), X, *SIGMA, paths=2**12)
    again = quartic(MLP(ACTIVATIONS["erf"], 2, 7, "weights", "float32"), X, *SIGMA, paths=2**12)
    np.testing.assert_array_equal([value, error], again)
    other, _ = quartic(mlp(depth=2), X, SIGMA[0] * (1 + 1e-9), SIGMA[1], paths=2**12)
    assert np.all(other != value)


def test_standard_error_is_honest():
    """Independent repetitions scatter by it around the truth: mean squared pull 1 within 4 of its own deviations."""
    net, shifts = mlp(), 1 + 1e-10 * np.arange(40)
    pulls = []
    for shift in shifts:
        value, error = quartic(net, X, SIGMA[0] * shift, SIGMA[1], paths=2**13)
        pulls.append((value - by_quadrature(net))[LISTED] / error[LISTED])
    assert np.mean(np.square(pulls)) == pytest.approx(1, abs=4 * np.sqrt(2 / 40))


def test_sum_over_pairings():
    covariance = np.cov(np.random.default_rng(1).normal(size=(6, 50)))
    legs, pair = multisets(3, 4), lambda a, b: rank(np.array([a, b]), 3)
    expected = [
        covariance[pair(a, b), pair(c, d)] + covariance[pair(a, c), pair(b, d)] + covariance[pair(a, d), pair(b, c)]
        for a, b, c, d in legs
    ]
    np.testing.assert_allclose(sum_over_pairings(covariance, 3), expected, rtol=1e-14)


def test_paths_have_the_covariance_asked_for_also_without_full_rank():
    factor = np.array([[1.0, 0.2], [0.5, -0.3], [1.5, -0.1]])
    draws = np.asarray(gaussian_paths(KEY, jnp.arange(2**16, dtype=jnp.uint32), jnp.asarray(factor @ factor.T)))
    error = np.sqrt((np.outer(*[np.diag(factor @ factor.T)] * 2) + (factor @ factor.T) ** 2) / 2**16)
    assert np.all(np.abs(np.cov(draws.T) - factor @ factor.T) < 4 * error)
    np.testing.assert_allclose(draws[:, 2], draws[:, 0] + draws[:, 1], atol=1e-7)
    some = gaussian_paths(KEY, jnp.array([5, 3], dtype=jnp.uint32), jnp.asarray(factor @ factor.T))
    np.testing.assert_allclose(some, draws[[5, 3]], rtol=1e-12)


@pytest.mark.parametrize("name", ["relu", "erf"])
def test_jacobian_of_a_layer_is_the_derivative_of_its_moments(name):
    unit, kernel = ACTIVATIONS[name], jnp.array([[1.0, 0.4], [0.4, 0.7]])
    average, psi, jacobian = moment_fluctuation(unit, kernel, jnp.array([[0.5, -0.2], [0.1, 0.3]]))
    change = unpack(np.array([[0.3, -0.2, 0.1], [1.0, 0.5, 2.0]]), 2)
    step = 1e-5
    slope = [(second_moment(unit, kernel + step * c) - second_moment(unit, kernel - step * c)) for c in change]
    np.testing.assert_allclose(jacobian(jnp.asarray(change)), np.array(slope) / (2 * step), atol=1e-9)
    np.testing.assert_allclose(average, second_moment(unit, kernel), atol=1e-14)
    phi = np.array([0.5, -0.2])
    np.testing.assert_allclose(psi[0], np.outer(phi, phi) - average, atol=1e-14)


def test_influence_functions_average_to_zero():
    net, paths = mlp("relu", 2), jnp.arange(2**16, dtype=jnp.uint32)
    psi = pack(np.asarray(jax.jit(net.influence)(KEY, paths, jnp.asarray(X), *map(jnp.float64, SIGMA))))
    assert np.all(np.abs(psi.mean(axis=0)) < 4 * psi.std(axis=0) / np.sqrt(len(psi)))


def test_prediction_falls_as_one_over_width():
    known = leading(mlp(depth=2), X, *SIGMA, np.array([[4.0], [16.0]]))
    assert known.quality == {4: "leading-1/N"}
    assert known.reason
    value, error = quartic(mlp(depth=2), X, *SIGMA)
    np.testing.assert_allclose(known.values[4], [value / 4, value / 16], rtol=1e-14)
    np.testing.assert_allclose(known.errors[4], [error / 4, error / 16], rtol=1e-14)


def test_what_influence_functions_leave_out_is_refused():
    with pytest.raises(NotKnownError, match="readout of sign weights"):
        quartic(mlp(depth=2, readout_law="sign"), X, *SIGMA)
    with pytest.raises(NotKnownError, match="first-layer weights of the law sign"):
        quartic(mlp(depth=2, first_law="sign"), X, *SIGMA)
