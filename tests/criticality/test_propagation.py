"""The kernel that draws deep perceptrons: exact answers, responses against differences, independence of tiling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from propagated import block

from nnqft.criticality import propagation
from nnqft.criticality.averages import length_averages, line_averages, resolved
from nnqft.criticality.propagation import PropagationSpec, propagation_block, reference
from nnqft.criticality.propagation_layer import series
from nnqft.criticality.propagation_reference import tables
from nnqft.nets.activations import ACTIVATIONS

PAIR = np.array([[1.0, 0.5], [0.5, 0.8]])
"""One compilation for most tests: two points, width 8, 5 layers."""


def narrow(activation, networks=8192):
    return PropagationSpec(activation, 2, 8, 5, networks, 16)


def derivative(entry, change, row):
    """Sums of K_entry of a row, differentiated along a change of K^(1) with the same normals."""
    step, found = 1e-3, []
    for sign in (1, -1):
        moved, known = block(narrow("tanh"), 1.8, 0.1, PAIR + sign * step * change)
        found.append(moved["shift"][:, row, entry] + 512 * known.centre[row, entry])
    return (found[0] - found[1]) / (2 * step)


def test_responses_are_derivatives_along_the_same_normals():
    sums, known = block(narrow("tanh"), 1.8, 0.1, PAIR, burn=0, window=4)
    rate = known.tables.rate**4
    np.testing.assert_allclose(sums["par_W"] * rate[0], derivative(0, np.diag([1.0, 0.0]), 4), rtol=1e-3)
    np.testing.assert_allclose(sums["pair_W"] * rate[2], derivative(1, 1 - np.eye(2), 4), rtol=1e-3)
    assert sums["par_count"].sum() == sums["pair_count"].sum() == 8192
    assert sums["pair_clamped"].sum() == 0


def test_gradients_of_explicit_weights():
    """d_l / d_1 is the mean squared gradient of an output by the first preactivations."""
    spec, C_W, C_b, networks = narrow("tanh", 16_384), 1.7, 0.2, 16_384
    sums, _ = block(spec, C_W, C_b, PAIR)
    groups = sums["tangent"][:, -1] / spec.counts

    def output(first, weights, biases):
        z = first
        for W, b in zip(weights, biases, strict=True):
            z = b + W @ jnp.tanh(z)
        return z[0]

    rng = np.random.default_rng(3)
    first = rng.standard_normal((networks, 8), dtype=np.float32)
    weights = np.float32(np.sqrt(C_W / 8)) * rng.standard_normal((networks, 5, 8, 8), dtype=np.float32)
    biases = np.float32(np.sqrt(C_b)) * rng.standard_normal((networks, 5, 8), dtype=np.float32)
    size = np.sum(np.asarray(jax.jit(jax.vmap(jax.grad(output)))(first, weights, biases)) ** 2, axis=1)
    error = np.hypot(np.std(groups) / np.sqrt(15), np.std(size) / np.sqrt(networks))
    assert error < 0.03 * groups.mean()
    assert groups.mean() == pytest.approx(float(size.mean()), abs=4 * error)


@pytest.mark.parametrize(("activation", "C_W"), [("tanh", 1.5), ("relu", 1.0)])
def test_next_factors_are_expected_without_bias(activation, C_W):
    """Four factors from layer 1 on against three and what is expected of the fourth, at a width where all terms count:
    without 2 X' p^2 / d the second rate of tanh is off by 20 errors."""
    spec = narrow(activation, 65_536)
    four, known = block(spec, C_W, 0.1, PAIR, burn=0, window=4)
    three, later = (block(spec, C_W, 0.1, PAIR, burn=burn, window=3)[0] for burn in (0, 1))
    rates = ("par", "perp", "pair")
    grown = np.stack([four[f"{rate}_W"] * known.tables.rate[k] for k, rate in enumerate(rates)])
    ahead = np.stack([three[f"{rate}_GW"] - later[f"{rate}_GW"] for rate in rates])
    difference = (grown - ahead) / spec.counts
    error = difference.std(axis=1) / np.sqrt(15)
    assert np.all(np.abs(difference.mean(axis=1)) < 4 * error + 1e-7)
    assert np.all(error < 0.01)


def test_tables():
    for name in ("tanh", "erf"):
        phi = resolved(name)
        coefficients, span = tables(phi, 0.418)
        q = np.exp(np.linspace(*span, 301))
        _, slope, derivative = length_averages(phi, q)
        change = line_averages(phi, q, lambda z, f: [f[1] ** 2 * (z**2 - 1)], 1)[0] / (2 * q)
        np.testing.assert_allclose(series(coefficients, span, q), [derivative, slope, change], rtol=0, atol=1e-9)
    coefficients, span = tables(resolved("relu"), np.nan)
    np.testing.assert_allclose(series(coefficients, span, np.array([1e-9, 3.0, 1e9])), [[0.5] * 3, [0.5] * 3, [0] * 3])


@pytest.mark.slow
def test_networks_do_not_depend_on_their_company(monkeypatch):
    spec, half = narrow("tanh"), PropagationSpec("tanh", 2, 8, 5, 4096, 8)
    sums, _ = block(spec, 1.5, 0.1, PAIR, burn=0, window=4)
    assert {name: part.shape for name, part in sums.items()} == {k: (16, *shape) for k, shape in spec.layout.items()}
    monkeypatch.setattr(propagation, "TILE", 16 * 200)
    tiled, _ = block(half, 1.5, 0.1, PAIR, burn=0, window=4)
    assert propagation.tile_lanes(half) == 192
    for name, part in sums.items():
        np.testing.assert_allclose(tiled[name], part[:8], rtol=1e-9, atol=1e-9)


def test_one_compilation_for_a_plane():
    for C_W, C_b, networks in ((1.0, 0.1, 8192), (1.4, 0.05, 8192), (2.0, 0.3, 8192 + 5)):
        spec = PropagationSpec(ACTIVATIONS["tanh"], 2, 8, 5, networks, 16)
        assert propagation.canonical(spec) == propagation.canonical(narrow("tanh"))
        block(spec, C_W, C_b, PAIR)
    kernel = propagation._compiled(propagation.canonical(narrow("tanh")), propagation.tile_lanes(narrow("tanh")))
    assert kernel._cache_size() == 1


def test_dead_and_parallel_neurons_stay_finite():
    """Some relu networks of 8 neurons die; points merge."""
    sums, _ = block(narrow("relu", 65_536), 2.0, 0.0, PAIR, burn=0, window=4)
    assert all(np.all(np.isfinite(part)) for part in sums.values())
    assert sums["perp_log"].sum() < -65_536
    for apart in (1e-5, 1e-15, 0.0):
        sums, _ = block(narrow("tanh"), 0.6, 0.3, [[1.0, 1.0 - apart], [1.0 - apart, 1.0]], burn=0, window=4)
        assert all(np.all(np.isfinite(part)) for part in sums.values())
        assert sums["pair_clamped"].sum() == 5 * 8192
        np.testing.assert_allclose(sums["correlation"] / 512, 1, atol=2 * apart + 1e-12)


def test_refusals():
    spec = PropagationSpec("tanh", 1, 8, 3, 16, 4)
    known = reference(spec, 1.0, 0.1, 1.0)
    args = np.zeros(2, dtype=np.uint32), np.ones((1, 1)), known.centre, 1.0, 0.1
    with pytest.raises(ValueError, match="windows must be"):
        propagation_block(spec, *args, known.burn, np.array([8, 33, 8]), known.tables)
    with pytest.raises(ValueError, match="positive semidefinite"):
        propagation_block(spec, args[0], -args[1], *args[2:], known.burn, known.window, known.tables)
    with pytest.raises(ValueError, match="sub-batch"):
        PropagationSpec("tanh", 1, 8, 3, 3, 4)
