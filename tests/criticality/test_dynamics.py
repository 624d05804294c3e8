"""The measurement of recurrent networks against mean-field theory and exact results at finite width."""

from dataclasses import replace
from math import log

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import digamma

from nnqft.core.errors import InputError
from nnqft.core.normals import subkey
from nnqft.criticality.dynamics import (
    DynamicsSpec,
    canonical,
    compiled,
    draws,
    dynamics_block,
    fresh_products,
    kaplan_yorke,
    lagged_products,
)
from nnqft.criticality.dynamics_estimates import estimates, theory

KEY = np.array([2020, 819], dtype=np.uint32)
TANH = DynamicsSpec("tanh", 100, 300, 100, networks=128, subbatches=64, noisy=True)
LAYERED = DynamicsSpec("linear", 8, 60, 0, networks=4096, subbatches=512, times=4, horizon=2, tied=False)
SPECTRUM = DynamicsSpec("linear", 6, 400, 20, networks=32, subbatches=32, times=2, spectrum=True)


def measured(spec, *law, key=KEY, rate=0.0):
    return estimates(spec, dynamics_block(spec, key, *law, rate=rate), spec.counts, rate)


def test_layout_and_counts():
    spec = replace(SPECTRUM, subbatches=5)
    sums = dynamics_block(spec, KEY, 1.0)
    assert {name: values.shape for name, values in sums.items()} == {n: (5, *s) for n, s in spec.layout.items()}
    assert all(values.dtype == np.float64 for values in sums.values())
    assert list(spec.counts) == [6, 6, 7, 6, 7]
    single = dynamics_block(SPECTRUM, KEY, 1.0)
    for name, values in sums.items():
        np.testing.assert_allclose(values[1], single[name][6:12].sum(axis=0), rtol=1e-12)


def test_correlators_and_exponents_in_one_compilation():
    """N = 100: shifts of order 1 / N, largest with a leak; typical exponents lie below annealed ones."""
    laws = (1.5, 0.2, 0.1), (1.0, 0.0, 0.2), (1.0, 0.0, 0.2, 0.5)
    for law in laws:
        found, known = measured(TANH, *law), theory("tanh", *law)
        assert found["lyapunov"].stderr < 0.003
        assert abs(found["lyapunov"].value - known["lyapunov_theory"]) < 0.03
        difference = found["correlator"].value - known["correlator"]
        assert np.all(np.abs(difference) < 4 * found["correlator"].stderr + 0.04)
        assert np.abs(found["autocorrelation"].value - known["autocorrelation"]).max() < (0.1 if len(law) == 3 else 0.3)
        assert found["lyapunov"].value < found["lyapunov_annealed"].value
        assert found["lyapunov_annealed"].trusted
    assert compiled(canonical(TANH))._cache_size() == 1


def test_same_networks_from_the_same_key():
    first, again, other = (dynamics_block(SPECTRUM, key, 1.0)["exponent"] for key in (KEY, KEY, KEY + 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_layered_linear_networks_exactly():
    """|v|^2 is multiplied by sigma_w^2 chi^2_N / N: annealed ln sigma_w, quenched + [psi(N/2) + ln(2/N)] / 2."""
    found = measured(LAYERED, 0.7, rate=log(0.7))
    quenched = log(0.7) + (digamma(4) - log(4)) / 2
    assert abs(found["lyapunov"].value - quenched) < 4 * found["lyapunov"].stderr < 0.005
    annealed = found["lyapunov_annealed"]
    assert abs(annealed.value - log(0.7)) < 4 * annealed.stderr < 0.005
    assert annealed.trusted
    assert annealed.share == pytest.approx((1 + 2 / 8) ** -2, rel=0.1)  # E delta^2 = (1 + 2 / N)^2 (E delta)^2
    variance = 0.49 ** np.arange(5)
    np.testing.assert_allclose(np.diagonal(found["correlator"].value), variance, atol=0.03)
    plain = measured(LAYERED, 0.7)["lyapunov_annealed"]
    assert plain.value == pytest.approx(annealed.value, abs=1e-12)


def test_products_with_fresh_weights_have_the_covariance_of_the_vectors():
    rows = jnp.asarray(np.random.default_rng(4).normal(size=(2, 9)))
    for given in (rows, rows.at[0].set(0.0), rows.at[1].set(rows[0])):
        factor = fresh_products(given, jnp.eye(2))
        np.testing.assert_allclose(factor @ factor.T, given @ given.T, atol=1e-6)


def test_windows_that_few_carry_are_not_trusted():
    """Log-normal delta of variance v: share exp(-v); its mean needs about exp(v) samples."""
    growth = np.random.default_rng(3).normal(size=(4096, LAYERED.windows))
    names = dict.fromkeys(LAYERED.layout, np.zeros(4096))
    for spread, trusted in ((0.5, True), (2.5, False)):
        delta = np.exp(spread * growth)
        sums = names | {"window": delta.sum(axis=1), "window_square": (delta**2).sum(axis=1)}
        found = estimates(LAYERED, sums, 1, 0.1)["lyapunov_annealed"]
        assert found.trusted is trusted
        if trusted:
            assert found.share == pytest.approx(np.exp(-(spread**2)), rel=0.05)
            assert abs(found.value - 0.1 - spread**2 / 8) < 4 * found.stderr < 0.002


def test_jackknife_errors_cover_the_scatter():
    """256 runs of 16 sub-batches of one network each."""
    sums = dynamics_block(replace(LAYERED, subbatches=4096), KEY, 0.7)
    cuts = [slice(i, i + 16) for i in range(0, 4096, 16)]
    runs = [estimates(LAYERED, {name: values[cut] for name, values in sums.items()}, 1) for cut in cuts]
    for name in ("lyapunov", "lyapunov_annealed"):
        scatter = np.std([run[name].value for run in runs])
        assert np.mean([run[name].stderr ** 2 for run in runs]) ** 0.5 == pytest.approx(scatter, rel=0.2)
    assert runs[0]["lyapunov"].replicates.shape == (16,)
    alone = estimates(LAYERED, {name: values[:1] for name, values in sums.items()}, 1)["correlator"]
    assert np.isnan(alone.stderr).all()
    assert np.isfinite(alone.value).all()


def test_sum_of_the_spectrum_is_the_logarithm_of_the_determinant():
    sums = dynamics_block(SPECTRUM, KEY, 0.9)
    for i in range(4):
        W = draws(SPECTRUM, subkey(jnp.asarray(KEY), i))[1][:6] * 0.9 / np.sqrt(6)
        assert sums["spectrum"][i].sum() == pytest.approx(np.linalg.slogdet(W)[1], abs=1e-9)
        moduli = np.sort(np.log(np.abs(np.linalg.eigvals(W))))[::-1]
        np.testing.assert_allclose(sums["spectrum"][i], moduli, atol=0.03)


def test_spectra_of_tied_networks():
    found = measured(SPECTRUM, 1.3)
    assert found["spectrum"].value[0] == pytest.approx(found["lyapunov"].value, abs=2e-3)
    assert found["spectrum"].stderr.shape == (6,)
    assert found["entropy"].value > found["spectrum"].value[0] > 0
    assert 0 < found["dimension"].value <= 6


def test_spectra_of_layered_linear_networks():
    """Newman, Commun. Math. Phys. 103 (1986) 121: lambda_i = [psi((N - i + 1)/2) + ln(2 sigma_w^2 / N)] / 2."""
    found = measured(replace(SPECTRUM, width=4, tied=False), 1.3)["spectrum"]
    exact = (digamma((4 - np.arange(4)) / 2) + log(2 * 1.3**2 / 4)) / 2
    assert np.all(np.abs(found.value - exact) < 4 * found.stderr + 1e-3)
    assert np.all(found.stderr < 0.02)


def test_dimension_of_kaplan_and_yorke():
    spectra = jnp.array([[0.5, 0, -2], [-1, -2, -3], [1, 0.5, 0.1], [0.3, -0.3, -1]])
    np.testing.assert_allclose(jax.jit(jax.vmap(kaplan_yorke))(spectra), [2.25, 0, 3, 2])


def test_lagged_products():
    """All pairs but those that begin in the last window; 3 states that fill no window are left out."""
    path = np.random.default_rng(5).normal(size=(23, 7)).astype(np.float32)
    exact = [np.mean([path[t] @ path[t + lag] / 7 for t in range(15)]) for lag in range(5)]
    np.testing.assert_allclose(lagged_products(jnp.asarray(path), 4), exact, rtol=1e-5)


def test_bad_numbers_are_refused():
    for wrong in ({"horizon": 400}, {"subbatches": 200}, {"times": 500}, {"width": 0}):
        with pytest.raises(InputError):
            replace(TANH, **wrong)
    with pytest.raises(InputError, match="noisy"):
        dynamics_block(SPECTRUM, KEY, 1.0, 0.0, 0.1)


def test_theory_says_what_is_missing():
    known = theory("relu", 2.0, 0.1, 0.1)
    assert known["lyapunov_theory"] == pytest.approx(log(2) / 2)
    assert np.isnan(known["autocorrelation"]).all()
    assert np.isnan(known["q_star"])
    assert "variance" in known["reasons"]["q_star"]
    assert known["correlator"].shape == (13, 13)


@pytest.mark.slow
@pytest.mark.parametrize("law", [(1.5, 0, 0), (2.0, 0, 0), (1.5, 0.2, 0.1), (1.0, 0, 0.2)])
def test_exponents_of_the_table(law):
    found = measured(replace(TANH, width=500, steps=1000, networks=24, subbatches=24), *law)["lyapunov"]
    assert abs(found.value - theory("tanh", *law)["lyapunov_theory"]) < 0.01
    assert found.stderr < 0.003


@pytest.mark.slow
def test_leaky_correlator():
    """gamma = 1/2, sigma_w = 1 of wide networks, from h_0 on."""
    spec = replace(TANH, width=400, steps=60, burn=0, networks=400, subbatches=50, times=8)
    found = measured(spec, 1.0, 0.0, 0.0, 0.5)["correlator"]
    known = theory("tanh", 1.0, gamma=0.5, times=8)["correlator"]
    assert np.abs(found.value - known).max() < 0.025
    assert found.stderr.max() < 0.02
