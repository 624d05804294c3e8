"""Data sets, errors of accuracies, trainable depths; and, slow, the experiment itself."""

import sys

import numpy as np
import pytest
from scipy.stats import binomtest

from nnqft.core.errors import InputError
from nnqft.core.hashing import block_key
from nnqft.criticality import mean_field
from nnqft.criticality.averages import length_averages, resolved
from nnqft.criticality.fixed_points import length_map
from nnqft.training import TrainingSpec, dataset, estimates, trainable_depth, training_block
from nnqft.training.trainability import ALL, EDGE, NONE, resolution, wilson

C_B = 0.05
DEPTHS = [5.0, 10.0, 20.0, 40.0, 80.0]


def test_clusters():
    data = dataset("clusters")
    assert data.x_train.shape == data.x_test.shape == (160, 10)
    assert np.mean(data.x_train**2) == pytest.approx(1, rel=1e-12)
    assert np.all(np.bincount(data.y_train) == 40)
    assert not data.x_train.flags.writeable
    design = np.column_stack([data.x_train, np.ones(160)])
    readout = np.linalg.lstsq(design, np.eye(4)[data.y_train], rcond=None)[0]
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert np.all(np.argmax(np.column_stack([x, np.ones(160)]) @ readout, axis=1) == y)
    assert data.x_train[0, 0] == pytest.approx(-0.15076888, rel=1e-6)


def test_digits(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    dataset.cache_clear()
    with pytest.raises(InputError, match="scikit-learn"):
        dataset("digits")
    monkeypatch.undo()
    pytest.importorskip("sklearn")
    small, full = dataset("digits"), dataset("digits-full")
    assert small.x_train.shape == small.x_test.shape == (500, 64)
    assert len(full.x_train) + len(full.x_test) == 1797
    for data in (small, full):
        assert np.mean(data.x_train**2) == pytest.approx(1, rel=1e-12)
        assert np.abs(data.x_train.mean(axis=0)).max() < 1e-12
        counts = np.bincount(data.y_train)
        assert counts.max() - counts.min() <= 8
        rows = {row.tobytes() for row in np.round(data.x_train - data.x_train.min(axis=0), 6)}
        assert len(rows) == len(data.x_train)


def test_wilson_against_scipy():
    for k, n in ((0, 4), (3, 4), (4, 4), (17, 40)):
        expected = binomtest(k, n).proportion_ci(confidence_level=0.6826894921370859, method="wilson")
        np.testing.assert_allclose(wilson(k / n, n), (expected.low, expected.high), atol=1e-12)
    assert resolution(1.0, 640) == pytest.approx(1 / 641)
    assert resolution(0.0, 640) == pytest.approx(1 / 641)
    assert resolution(0.5, 640) == pytest.approx(np.sqrt(0.25 / 640), rel=1e-2)


def test_estimates():
    rng = np.random.default_rng(3)
    values = {
        "accuracy": np.array([1.0, 1.0, 0.96, 0.25]),
        "test_accuracy": np.ones(4),
        "loss": rng.normal(size=(4, 6)),
        "final_losses": np.array([[1.0, np.nan], [2.0, np.nan], [3.0, 5.0], [4.0, np.nan]]),
        "rate": np.zeros(4),
        "finite": np.array([1.0, 0.0, 1.0, 1.0]),
    }
    found = estimates(values, 160, 160)
    assert found["accuracy_stderr"] == pytest.approx(values["accuracy"].std(ddof=1) / 2)
    assert found["test_accuracy"] == 1
    assert found["test_accuracy_stderr"] == pytest.approx(1 / 641)
    np.testing.assert_allclose(found["loss_stderr"], values["loss"].std(axis=0, ddof=1) / 2)
    assert found["final_losses"][1] == 5
    assert np.isnan(found["final_losses_stderr"][1])
    assert found["trained"] == 0.5
    assert 0 < found["trained_low"] < 0.5 < found["trained_high"] < 1
    assert "rate" not in found
    one = estimates({name: value[:1] for name, value in values.items()}, 160, 160)
    assert one["accuracy_stderr"] == pytest.approx(1 / 161)
    assert np.all(np.isnan(one["loss_stderr"]))


def test_trainable_depth_is_where_the_accuracy_falls():
    table = np.repeat([[1.0], [1.0], [0.9], [0.3], [0.25]], 4, axis=1)
    found = trainable_depth(DEPTHS, table, 160)
    assert found.depth == pytest.approx(20 * 2 ** (0.4 / 0.6))
    assert (found.low, found.high, found.status) == (20, 40, "")
    slope = np.log(2) / 0.6
    errors = resolution(np.array([0.9, 0.3]), 640) * np.array([1 / 3, 2 / 3])
    assert found.stderr == pytest.approx(found.depth * slope * np.hypot(*errors), rel=0.1)
    ratio = found.over(5.0)
    assert (ratio.depth, ratio.stderr) == (found.depth / 5, found.stderr / 5)
    assert np.isnan(found.over(np.inf).depth)
    assert found.over(np.inf).status
    everywhere, nowhere = trainable_depth(DEPTHS, np.ones((5, 4)), 160), trainable_depth(DEPTHS, np.zeros((5, 4)), 160)
    assert (everywhere.low, everywhere.high, everywhere.status) == (80, np.inf, ALL)
    assert (nowhere.low, nowhere.high, nowhere.status) == (0, 5, NONE)
    assert np.isnan(everywhere.depth)
    assert np.isnan(nowhere.depth)
    with pytest.raises(InputError, match="depths"):
        trainable_depth(DEPTHS[::-1], table, 160)
    with pytest.raises(InputError, match="accuracy"):
        trainable_depth(DEPTHS, table.T, 160)


def test_the_bootstrap_error_is_the_scatter_of_repetitions():
    """60 repetitions of 12 networks a depth, which train with these chances."""
    rng = np.random.default_rng(11)
    chance = np.array([1.0, 0.97, 0.8, 0.2, 0.0])[:, None]
    found = [trainable_depth(DEPTHS, np.where(rng.random((5, 12)) < chance, 1.0, 0.25), 160) for _ in range(60)]
    assert {f.status for f in found} <= {"", EDGE}
    assert np.mean([f.stderr for f in found]) == pytest.approx(np.std([f.depth for f in found]), rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("C_W", [1.0, 1.5, 2.5])
def test_initial_gradients_fall_as_chi(C_W):
    """20 layers, 24 networks of width 256. The ratio is the product of C_W <phi'^2>_q along the path of q to q*."""
    spec = TrainingSpec("clusters", "tanh", 256, 20, 1, (1e-6,), 24, 2)
    found = training_block(spec, block_key({"test": "gradients"}, int(10 * C_W)), C_W**0.5, C_B**0.5)
    chi = mean_field("tanh", C_W**0.5, C_B**0.5).chi_perp
    rate = found["gradient_rate"]
    assert abs(rate.mean() - np.log(chi)) < 4 * rate.std(ddof=1) / np.sqrt(24) + 0.002
    q, product = C_B + C_W * np.mean(dataset("clusters").x_train ** 2, axis=1), 1.0
    for _ in range(19):
        _, slope, _ = length_averages(resolved("tanh"), q)
        product, q = product * C_W * slope, length_map("tanh", q, C_W**0.5, C_B**0.5)
    ratio = found["gradient_ratio"]
    assert abs(ratio.mean() / np.mean(product) - 1) < 4 * ratio.std(ddof=1) / ratio.mean() / np.sqrt(24) + 0.05


LISTED = {1.0: (5, 10), 1.5: (5, 10, 20, 40), 1.76: (5, 10, 20, 40, 80), 2.5: (5, 10, 20, 40), 4.0: (5, 10, 20)}
"""C_W and depths of at most 4 xi_c."""


def accuracy(C_W, depth, seeds=3):
    spec = TrainingSpec("clusters", "tanh", 64, depth, 400, (0.05, 0.005), seeds, 2)
    key = block_key({"test": "item 19", "C_W": C_W, "depth": depth}, 0)
    return training_block(spec, key, C_W**0.5, C_B**0.5)["accuracy"].mean()


@pytest.mark.slow
@pytest.mark.parametrize(("C_W", "depth"), [(C_W, depth) for C_W, depths in LISTED.items() for depth in depths])
def test_networks_train_up_to_four_correlation_lengths(C_W, depth):
    """At C_W = 1.76, nearly critical, 80 layers too."""
    assert depth <= 4 * mean_field("tanh", C_W**0.5, C_B**0.5).xi_c
    assert accuracy(C_W, depth) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(("C_W", "trains"), [(1.0, False), (1.5, True), (4.0, False)])
def test_eighty_layers_train_near_criticality_alone(C_W, trains):
    found = accuracy(C_W, 80)
    assert found > 0.95 if trains else found < 0.6
