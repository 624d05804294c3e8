"""Networks that die, vanish or blow up leave finite statistics, and are counted."""

import numpy as np
import pytest

from nnqft.criticality.dynamics import DynamicsSpec, dynamics_block
from nnqft.criticality.dynamics_estimates import estimates
from nnqft.criticality.propagation import PropagationSpec, propagation_block, reference
from nnqft.spec.load import parse_scan
from nnqft.training.cells import statistics, training_cell

KEY = np.array([3, 4], np.uint32)


def test_dead_networks_are_counted_and_left_out():
    """Layered relu networks of two neurons die when both are off: with probability 1/4 in every step."""
    spec = DynamicsSpec("relu", 2, 12, 0, networks=512, subbatches=16, times=1, horizon=2, tied=False)
    sums = dynamics_block(spec, KEY, 1.4)
    assert all(np.isfinite(value).all() for value in sums.values())
    lost = sums["lost"].sum()
    assert lost / 512 == pytest.approx(1 - 0.75**12, abs=0.04)
    found = estimates(spec, sums, spec.counts)
    assert not found["lyapunov"].trusted
    assert found["lyapunov"].reason == f"{int(lost)} of 512 networks died or overflowed"
    np.testing.assert_allclose(found["lyapunov"].value, sums["exponent"].sum() / (512 - lost))
    nothing = {name: np.zeros_like(value) for name, value in sums.items()} | {"lost": spec.counts.astype(float)}
    assert np.isnan(estimates(spec, nothing, spec.counts)["lyapunov"].value)


def test_lengths_may_vanish():
    spec, K = PropagationSpec("tanh", 2, 2, 60, 256), 0.09 * np.array([[0.5, 0.3], [0.3, 0.5]])
    known = reference(spec, 0.3, 0.0, K)
    law = K, known.centre, 0.3, 0.0, known.burn, known.window, known.tables
    sums = propagation_block(spec, KEY, *law)
    assert all(np.isfinite(value).all() for value in sums.values())
    assert sums["shift"][:, -1, 0].sum() / 256 + known.centre[-1, 0] < 1e-40


def test_what_training_misses_is_stored_as_missing():
    """One hidden layer has no rate of gradients, and no loss survives such a learning rate."""
    scan = {
        "name": "x", "seed": 1, "points": {"p": [[1.0]]}, "architectures": {"a": {"activation": "erf", "points": "p"}},
        "widths": [4], "trainability": {"t": {"sigma_w": [1.0], "depth": [1], "width": 4, "steps": 4, "rates": [1e38]}},
    }  # fmt: skip
    cell = training_cell(parse_scan(scan), "t", 1.0, 1)
    moments = cell.draw(0, np.zeros(0), np.zeros(0)).moments
    assert np.isfinite(moments).all()
    assert np.isnan(statistics(moments)).sum() > 1
