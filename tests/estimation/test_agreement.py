import numpy as np
import pytest
from scipy import stats

from nnqft.estimation.agreement import agreement, combined_p, look_elsewhere
from nnqft.estimation.jackknife import covariance

TRIALS = 400


def spectrum(kind, q):
    """A factor L of the covariance L L^T of q components."""
    i = np.arange(q)
    if kind == "one mode":
        return np.linspace(0.5, 3.0, q)[:, None]
    if kind == "flat":
        return np.eye(q)
    if kind == "autoregressive":
        return np.linalg.cholesky(0.9 ** np.abs(i[:, None] - i))
    eigenvalues, modes = np.linalg.eigh(np.exp(-((i[:, None] - i) ** 2) / (2 * (q / 10) ** 2)))
    return modes * np.sqrt(np.maximum(eigenvalues, 0))


def sample(rng, factor, replicates, shift=0.0):
    """Mean of `replicates` correlated Gaussian groups and its leave-one-out estimates; the truth is zero."""
    groups = rng.standard_normal((replicates, factor.shape[1])) @ factor.T + shift
    return groups.mean(axis=0), (groups.sum(axis=0) - groups) / (replicates - 1)


def trials(factor, replicates, seed=1, shift=0.0, compare=agreement):
    rng = np.random.default_rng(seed)
    return [compare(*sample(rng, factor, replicates, shift), np.zeros(len(factor))) for _ in range(TRIALS)]


@pytest.mark.parametrize("kind", ["one mode", "flat", "autoregressive", "smooth"])
@pytest.mark.parametrize(("q", "replicates"), [(6, 8), (10, 48), (60, 16), (60, 48)])
def test_p_values_are_uniform_and_chi2_has_the_mean_it_claims(kind, q, replicates):
    found = trials(spectrum(kind, q), replicates)
    p, chi2, modes = (np.array([getattr(a, key) for a in found]) for key in ("p_value", "chi2", "modes"))
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert (
        stats.kstest(stats.norm.isf(np.array([combined_p(part) for part in p.reshape(-1, 10)])), "norm").pvalue > 1e-3
    )
    if replicates >= 48:  # with few groups T^2 has no variance to speak of a mean with
        assert chi2.sum() / modes.sum() == pytest.approx(1.0, abs=5 * np.sqrt(2.5 / modes.sum()))
    assert (modes <= max(1, replicates * 3 // 16)).all()


def naive(values, replicates, prediction):
    """Modes and their variances from the same groups, which is what the method avoids."""
    R = len(replicates)
    eigenvalues, modes = np.linalg.eigh(covariance(replicates))
    keep = np.argsort(eigenvalues)[::-1][: R // 4]
    T2 = (((values - prediction) @ modes[:, keep]) ** 2 / eigenvalues[keep]).sum()
    m = len(keep)
    return stats.f.sf(T2 * (R - m) / (m * (R - 1)), m, R - m)


@pytest.mark.parametrize("kind", ["flat", "autoregressive"])
def test_modes_chosen_from_the_groups_that_measure_them_would_not_be_uniform(kind):
    p = np.array(trials(spectrum(kind, 60), 32, compare=naive))
    assert stats.kstest(p, "uniform").pvalue < 1e-12
    assert p.mean() > 0.6


def test_pulls_are_of_unit_size():
    pulls = np.array([a.pulls for a in trials(spectrum("autoregressive", 20), 64)])
    assert pulls.mean() == pytest.approx(0.0, abs=0.1)
    assert pulls.std() == pytest.approx(np.sqrt(63 / 61), rel=0.05)


@pytest.mark.parametrize("kind", ["one mode", "flat", "smooth"])
def test_a_wrong_prediction_is_found(kind):
    factor = spectrum(kind, 60)
    far = trials(
        factor, 64, shift=factor @ np.ones(factor.shape[1])
    )  # one standard deviation of a group, eight of the mean
    assert np.median([a.p_value for a in far]) < 1e-6


def test_copies_of_a_component_are_one_mode():
    rng = np.random.default_rng(4)
    values, replicates = sample(rng, spectrum("one mode", 1), 32)
    copied = agreement(np.repeat(values, 50), np.repeat(replicates, 50, axis=1), np.zeros(50))
    single = agreement(values, replicates, np.zeros(1))
    assert copied.modes == single.modes == 1
    assert copied.p_value == pytest.approx(single.p_value, rel=1e-9)
    assert (copied.components, single.components) == (50, 1)


def test_units_of_the_components_do_not_matter():
    rng = np.random.default_rng(5)
    values, replicates = sample(rng, spectrum("autoregressive", 12), 64)
    units = 10.0 ** rng.uniform(-8, 8, 12)
    plain, scaled = (
        agreement(values, replicates, np.zeros(12)),
        agreement(values * units, replicates * units, np.zeros(12)),
    )
    np.testing.assert_allclose(scaled.pulls, plain.pulls, rtol=1e-12)
    assert scaled.p_value == pytest.approx(plain.p_value, rel=1e-6)


def test_what_has_no_prediction_is_left_out():
    rng = np.random.default_rng(6)
    values, replicates = sample(rng, spectrum("flat", 5), 32)
    prediction = np.array([0.0, np.nan, 0.0, np.nan, 0.0])
    found = agreement(values, replicates, prediction)
    assert np.isnan(found.pulls).tolist() == [False, True, False, True, False]
    seen = ~np.isnan(prediction)
    assert found.p_value == agreement(values[seen], replicates[:, seen], np.zeros(3)).p_value
    nothing = agreement(values, replicates, np.full(5, np.nan))
    assert nothing.components == nothing.modes == 0
    assert np.isnan([nothing.worst, nothing.chi2, nothing.p_value]).all()


def test_components_without_scatter_must_be_right_to_rounding():
    replicates = np.tile([2.0, 3.0, 0.0], (16, 1)) * (1 + 1e-16)
    right = agreement(np.array([2.0, 3.0, 0.0]), replicates, np.array([2.0, 3.0 + 1e-15, 0.0]))
    assert (right.worst, right.modes) == (0.0, 0)
    wrong = agreement(np.array([2.0, 3.0, 0.0]), replicates, np.array([2.0, 3.0, 1e-3]))
    assert wrong.pulls.tolist() == [0.0, 0.0, np.inf]
    assert wrong.worst == np.inf


@pytest.mark.parametrize("replicates", [2, 5])
def test_too_few_replicates_have_pulls_but_no_chi2(replicates):
    rng = np.random.default_rng(7)
    found = agreement(*sample(rng, spectrum("flat", 4), replicates), np.zeros(4))
    assert np.isfinite(found.pulls).all()
    assert np.isnan([found.chi2, found.p_value]).all()
    assert found.modes == 0


def test_fishers_combination_is_uniform_and_leaves_missing_ones_out():
    rng = np.random.default_rng(8)
    p = np.array([combined_p(rng.random(7)) for _ in range(2000)])
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    assert combined_p(np.array([0.3, np.nan])) == pytest.approx(0.3)
    assert np.isnan(combined_p(np.array([np.nan])))
    assert combined_p(np.zeros(3)) < 1e-200


def test_look_elsewhere_knows_students_tails():
    rng = np.random.default_rng(9)
    worst = np.abs(rng.standard_t(15, (4000, 50))).max(axis=1)
    p = np.array([look_elsewhere(w, 50, 15) for w in worst])
    assert stats.kstest(p, "uniform").pvalue > 1e-3
    normal = np.array([look_elsewhere(w, 50) for w in worst])
    assert stats.kstest(normal, "uniform").pvalue < 1e-12
    assert look_elsewhere(np.inf, 3) == 0.0
    assert look_elsewhere(0.0, 3) == 1.0
    assert np.isnan([look_elsewhere(np.nan, 3), look_elsewhere(1.0, 0)]).all()
