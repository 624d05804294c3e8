"""Gradient descent against gradients taken otherwise, closed forms of linear networks, and mean-field theory."""

from dataclasses import replace

import numpy as np
import pytest

from nnqft.core.errors import InputError
from nnqft.core.hashing import block_key
from nnqft.criticality import mean_field
from nnqft.nets.activations import ACTIVATIONS
from nnqft.training.datasets import dataset
from nnqft.training.descent import (
    TrainingSpec,
    descend,
    gradient_rate,
    gradient_ratio,
    initial,
    initial_gradients,
    training_block,
)

KEY = block_key({"test": "training"}, 0)
SPEC = TrainingSpec("clusters", "tanh", 64, 3, 6, (0.05, 0.005), 3, 4)
"""One width and one number of steps in this file: compiling is what takes its time."""
DATA = dataset("clusters")
SLOPES = {"tanh": lambda z: 1 / np.cosh(z) ** 2, "linear": np.ones_like}
VALUES = {"tanh": np.tanh, "linear": lambda z: z}


def wide(parameters):
    """The same parameters in float64, as a list of (W, b)."""
    first_w, first_b, hidden_w, hidden_b, last_w, last_b = (np.array(p, dtype=np.float64) for p in parameters)
    return [(first_w, first_b), *zip(hidden_w, hidden_b, strict=True), (last_w, last_b)]


def by_hand(layers, rate, activation, steps=SPEC.steps):
    """Losses, the last accuracy, and of the first step |dE_a / dz_a|^2 of hidden layers and dE/d(W, b), in NumPy.

    With e = softmax - one-hot: delta^(l) = (delta^(l+1) W^T) phi'(z^(l)), dE/dW^(l+1) = phi(z^(l))^T delta^(l+1).
    """
    x, y, phi, slope = DATA.x_train, DATA.y_train, VALUES[activation], SLOPES[activation]
    losses, squares, first = [], [], []
    for step in range(steps + 1):
        inputs, z = [x], []
        for w, b in layers:
            z.append(inputs[-1] @ w + b)
            inputs.append(phi(z[-1]))
        p = np.exp(z[-1]) / np.exp(z[-1]).sum(axis=1, keepdims=True)
        losses.append(-np.mean(np.log(p[np.arange(len(y)), y])))
        right = np.mean(np.argmax(z[-1], axis=1) == y)
        delta, gradients = p - np.eye(4)[y], []
        for i in range(len(layers) - 1, -1, -1):
            gradients.insert(0, (inputs[i].T @ delta / len(y), delta.mean(axis=0)))
            if i:
                delta = (delta @ layers[i][0].T) * slope(z[i - 1])
                if step == 0:
                    squares.insert(0, np.sum(delta**2))
        first = first or gradients
        layers = [(w - rate * g, b - rate * h) for (w, b), (g, h) in zip(layers, gradients, strict=True)]
    return np.array(losses), right, np.array(squares), first


def trained(start, rate, activation):
    x, x_test = DATA.x_train.astype(np.float32), DATA.x_test.astype(np.float32)
    return descend(ACTIVATIONS[activation], SPEC.steps, start, x, DATA.y_train, x_test, DATA.y_test, np.float32(rate))


@pytest.mark.parametrize(("activation", "depth"), [("tanh", 3), ("linear", 1)])
def test_descent_is_that_of_gradients_by_hand(activation, depth):
    """The linear network of one hidden layer: dE/dW_2 = (x W_1)^T e / points, dE/dW_1 = x^T e W_2^T / points."""
    start = initial(replace(SPEC, activation=activation, depth=depth), KEY, 0, 1.4, 0.3)
    losses, right, squares, _ = by_hand(wide(start), 0.1, activation)
    found, accuracy, test_accuracy = trained(start, 0.1, activation)
    assert losses[-1] < losses[0] - 0.1
    np.testing.assert_allclose(found, losses, rtol=2e-6)
    assert found.dtype == np.float32
    assert float(accuracy) == pytest.approx(right, abs=1e-6)
    assert 0 <= float(test_accuracy) <= 1
    gradients = initial_gradients(start, DATA.x_train, DATA.y_train, ACTIVATIONS[activation])
    np.testing.assert_allclose(gradients, squares, rtol=1e-10)


def test_the_gradient_by_hand_is_that_of_finite_differences():
    """One entry of every weight and bias."""
    layers = wide(initial(SPEC, KEY, 1, 1.2, 0.2))
    gradients = by_hand(layers, 0.1, "tanh", 0)[3]
    for (w, b), (slope_w, slope_b) in zip(layers, gradients, strict=True):
        for values, slope, entry in ((w, slope_w, (3, 1)), (b, slope_b, (2,))):
            kept, around = values[entry], []
            for shift in (1e-5, -1e-5):
                values[entry] = kept + shift
                around.append(by_hand(layers, 0.1, "tanh", 0)[0][0])
            values[entry] = kept
            assert (around[0] - around[1]) / 2e-5 == pytest.approx(slope[entry], rel=1e-6, abs=1e-10)


def test_the_rate_of_gradients_is_that_of_the_deeper_half():
    squares = np.array([7.0, 7.0, 7.0, 8.0, 4.0, 2.0, 1.0])
    assert gradient_rate(squares) == pytest.approx(np.log(2))
    assert gradient_ratio(squares) == 7
    assert np.isnan(gradient_rate(np.ones(1)))
    assert np.isnan(gradient_ratio(np.array([0.0, 1.0])))


def test_lengths_of_the_initial_network_follow_mean_field_theory():
    """q^(l+1) = C_b + C_W <phi^2>_(q^l) at every layer, averaged over networks, within 4 standard errors."""
    C_W, C_b, networks, points = 1.5, 0.05, 24, 8
    spec = replace(SPEC, depth=8)
    x = DATA.x_train[:points]
    lengths = np.empty((networks, spec.depth))
    for i in range(networks):
        z = x
        for layer, (w, b) in enumerate(wide(initial(spec, KEY, i, C_W**0.5, C_b**0.5))[:-1]):
            z = (z if layer == 0 else np.tanh(z)) @ w + b
            lengths[i, layer] = np.mean(z**2)
    q = C_b + C_W * np.mean(x**2, axis=1)
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    for layer in range(spec.depth):
        scatter = lengths[:, layer].std(ddof=1) / np.sqrt(networks)
        shift = 0.25 / spec.width if layer else 0.0  # at order 1/n, below a standard error
        assert abs(lengths[:, layer].mean() - np.mean(q)) < 4 * scatter + shift
        assert scatter < 0.05 * np.mean(q)
        q = C_b + C_W * (np.tanh(np.sqrt(q)[:, None] * nodes) ** 2) @ weights / weights.sum()
    assert np.mean(q) == pytest.approx(mean_field("tanh", C_W**0.5, C_b**0.5).q_star, rel=0.01)


def test_weights_and_biases_have_their_variances():
    layers = wide(initial(SPEC, KEY, 0, 1.5, 0.4))
    for fan_in, (w, b) in zip((10, 64, 64, 64), layers, strict=True):
        assert w.shape[0] == fan_in
        assert np.mean(w**2) * fan_in == pytest.approx(1.5**2, rel=5 * np.sqrt(2 / w.size))
        assert np.mean(b**2) == pytest.approx(0.4**2, rel=5 * np.sqrt(2 / b.size))
    numbers = np.concatenate([w.ravel()[:40] * np.sqrt(w.shape[0]) for w, _ in layers])
    assert len(np.unique(numbers)) == len(numbers)


def test_a_network_depends_on_its_key_and_number_alone():
    together = training_block(SPEC, KEY, 1.2, 0.2)
    fewer = training_block(replace(SPEC, seeds=2), KEY, 1.2, 0.2)
    again = training_block(SPEC, KEY, 1.2, 0.2)
    other = training_block(SPEC, block_key({"test": "training"}, 1), 1.2, 0.2)
    for name, shape in SPEC.layout.items():
        assert together[name].shape == (SPEC.seeds, *shape)
        assert together[name].dtype == np.float64
        np.testing.assert_array_equal(together[name], again[name])
        np.testing.assert_array_equal(together[name][:2], fewer[name])
    assert len(np.unique(together["loss"][:, 0])) == SPEC.seeds
    assert not np.intersect1d(together["loss"], other["loss"]).size
    deep, shallow = (wide(initial(replace(SPEC, depth=d), KEY, 0, 1.2, 0.2)) for d in (5, 3))
    np.testing.assert_array_equal(deep[2][0], shallow[2][0])


def test_the_best_rate_has_the_smallest_final_loss():
    """A huge rate overflows: the finite rate wins, and where none is finite the network is flagged."""
    both = training_block(SPEC, KEY, 1.2, 0.2)
    np.testing.assert_array_equal(both["rate"], np.argmin(both["final_losses"], axis=1))
    found = training_block(replace(SPEC, rates=(3e38, 0.05)), KEY, 1.2, 0.2)
    assert np.all(found["rate"] == 1)
    assert np.all(found["finite"] == 1)
    assert np.all(np.isnan(found["final_losses"][:, 0]))
    np.testing.assert_array_equal(found["final_losses"][:, 1], both["final_losses"][:, 0])
    np.testing.assert_array_equal(found["final_losses"][:, 1], found["loss"][:, -1])
    lost = training_block(replace(SPEC, rates=(3e38,)), KEY, 1.2, 0.2)
    assert np.all(lost["finite"] == 0)
    assert np.all(lost["accuracy"] == 0.25)


@pytest.mark.parametrize(("steps", "record"), [(400, 20), (5, 6), (7, 2), (1, 2), (30, 29), (10**5, 40)])
def test_recorded_steps(steps, record):
    found = replace(SPEC, steps=steps, record=record).recorded
    assert len(found) == record
    assert found[0] == 0
    assert found[-1] == steps
    assert np.all(np.diff(found) >= 1)


@pytest.mark.parametrize(
    "change",
    [
        {"data": "mnist"},
        {"activation": "gauss"},
        {"activation": "tahn"},
        {"width": 0},
        {"rates": ()},
        {"rates": (0.1, -1.0)},
        {"record": 8},
        {"depth": 0},
        {"seeds": 0},
    ],
)
def test_senseless_specifications_are_refused(change):
    with pytest.raises(InputError, match=next(iter(change))):
        replace(SPEC, **change)
