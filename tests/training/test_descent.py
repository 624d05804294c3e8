"""Gradient descent against gradients taken otherwise, closed forms of linear networks, and mean-field theory."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnqft.core.errors import InputError
from nnqft.core.hashing import block_key
from nnqft.criticality import mean_field
from nnqft.nets.activations import ACTIVATIONS
from nnqft.training.datasets import dataset
from nnqft.training.descent import Parameters, TrainingSpec, descend, initial, initial_gradients, training_block

KEY = block_key({"test": "training"}, 0)
TANH = ACTIVATIONS["tanh"]
SPEC = TrainingSpec("clusters", "tanh", 16, 3, 6, (0.05, 0.005), 3, 4)
DATA = dataset("clusters")
SETS = [np.asarray(a) for a in (DATA.x_train, DATA.y_train, DATA.x_test, DATA.y_test)]


def wide(parameters):
    """The same parameters in float64, as NumPy lists of (W, b)."""
    first_w, first_b, hidden_w, hidden_b, last_w, last_b = (np.asarray(p, dtype=np.float64) for p in parameters)
    return [(first_w, first_b), *zip(hidden_w, hidden_b, strict=True), (last_w, last_b)]


def loss(layers, x, y):
    """Written again, in NumPy: the mean of -ln of the right class's probability."""
    z = x
    for i, (w, b) in enumerate(layers):
        z = (z if i == 0 else np.tanh(z)) @ w + b
    probability = np.exp(z - z.max(axis=1, keepdims=True))
    probability /= probability.sum(axis=1, keepdims=True)
    return -np.mean(np.log(probability[np.arange(len(y)), y]))


def stepped(start, steps, rate, unit=TANH, sets=SETS):
    return descend(unit, steps, start, *sets, np.asarray(rate, dtype=np.asarray(start.first_w).dtype))


def float64(parameters):
    return Parameters(*(jnp.asarray(np.asarray(p, dtype=np.float64)) for p in parameters))


def test_a_small_step_gains_the_square_of_the_gradient():
    """E(p - r g) = E - r |g|^2 + r^2 g.H g / 2: |g|^2 by finite differences in every parameter."""
    spec = replace(SPEC, width=4)
    start = float64(initial(spec, KEY, 0, 1.4, 0.3))
    layers = wide(start)
    square, h = 0.0, 1e-6
    for w_or_b in (part for pair in layers for part in pair):
        for index in np.ndindex(w_or_b.shape):
            kept = w_or_b[index]
            values = []
            for shift in (h, -h):
                w_or_b[index] = kept + shift
                values.append(loss(layers, DATA.x_train, DATA.y_train))
            w_or_b[index] = kept
            square += ((values[0] - values[1]) / (2 * h)) ** 2
    rate = 1e-5
    before, after = np.asarray(stepped(start, 1, rate)[0])
    assert before == pytest.approx(loss(layers, DATA.x_train, DATA.y_train), rel=1e-12)
    assert (before - after) / rate == pytest.approx(square, rel=1e-4)


def test_float32_follows_float64():
    start = initial(SPEC, KEY, 1, 1.2, 0.2)
    narrow, wider = stepped(start, 20, 0.1)[0], stepped(float64(start), 20, 0.1)[0]
    assert narrow.dtype == jnp.float32
    assert wider.dtype == jnp.float64
    assert np.abs(np.asarray(narrow) - np.asarray(wider)).max() < 2e-5


def test_two_steps_of_a_linear_network_in_closed_form():
    """z = x W1 W2: dE/dW2 = (x W1)^T e, dE/dW1 = x^T e W2^T with e = (softmax - one-hot) / points."""
    x, y = DATA.x_train, DATA.y_train
    spec = replace(SPEC, activation="linear", depth=1, width=5)
    start = float64(initial(spec, KEY, 0, 1.0, 0.1))
    (w1, b1), (w2, b2) = wide(start)
    rate, expected = 0.2, []
    for _ in range(3):
        h = x @ w1 + b1
        z = h @ w2 + b2
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        expected.append(-np.mean(np.log(p[np.arange(len(y)), y])))
        e = (p - np.eye(4)[y]) / len(y)
        w1, b1, w2, b2 = (
            w1 - rate * x.T @ e @ w2.T,
            b1 - rate * (e @ w2.T).sum(axis=0),
            w2 - rate * h.T @ e,
            b2 - rate * e.sum(axis=0),
        )
    found, right, right_test = stepped(start, 2, rate, ACTIVATIONS["linear"])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    start_error = np.mean(np.argmax(z, axis=1) == y)
    assert float(right) == start_error
    assert 0 <= float(right_test) <= 1


def test_initial_gradients_are_those_of_offsets_of_the_preactivations():
    spec = replace(SPEC, width=6)
    start = float64(initial(spec, KEY, 2, 1.5, 0.2))
    x, y = jnp.asarray(DATA.x_train), jnp.asarray(DATA.y_train)

    def total(offsets):
        z = x
        for i, (w, b) in enumerate(wide(start)):
            z = (z if i == 0 else jnp.tanh(z)) @ w + b
            if i < spec.depth:
                z = z + offsets[i]
        return -jnp.sum(jax.nn.log_softmax(z)[jnp.arange(len(y)), y])

    slopes = jax.grad(total)(jnp.zeros((spec.depth, len(y), spec.width)))
    expected = np.sum(np.asarray(slopes) ** 2, axis=(1, 2))
    np.testing.assert_allclose(initial_gradients(start, x, y, TANH), expected, rtol=1e-10)


def test_lengths_of_the_initial_network_follow_mean_field_theory():
    """q^(l+1) = C_b + C_W <phi^2>_(q^l) at every layer, averaged over networks, within 4 standard errors."""
    C_W, C_b, networks, points = 1.5, 0.05, 24, 8
    spec = replace(SPEC, width=64, depth=8)
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
    spec = replace(SPEC, width=64, depth=3)
    layers = wide(initial(spec, KEY, 0, 1.5, 0.4))
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
    """relu with a huge rate diverges: the finite rate wins, and where none is finite the network is flagged."""
    spec = replace(SPEC, activation="relu", rates=(1e20, 0.05), seeds=2)
    found = training_block(spec, KEY, 1.4, 0.0)
    assert np.all(found["rate"] == 1)
    assert np.all(found["finite"] == 1)
    assert np.all(np.isnan(found["final_losses"][:, 0]))
    np.testing.assert_array_equal(found["final_losses"][:, 1], found["loss"][:, -1])
    lost = training_block(replace(spec, rates=(1e20,)), KEY, 1.4, 0.0)
    assert np.all(lost["finite"] == 0)
    assert np.all(lost["accuracy"] == 0.25)
    both = training_block(SPEC, KEY, 1.2, 0.2)
    np.testing.assert_array_equal(both["rate"], np.argmin(both["final_losses"], axis=1))


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
