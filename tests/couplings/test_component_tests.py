from itertools import permutations, product

import numpy as np
import pytest
from scipy.stats import kstest

from nnqft.core.packing import multisets
from nnqft.couplings.component_tests import (
    EXACT,
    UNRELATED,
    class_violation,
    equal_components,
    explained,
    orthogonal_classes,
    proportional_components,
    translation_classes,
)
from nnqft.couplings.gaussian import gaussian_integrals
from nnqft.predictions.predict import predict
from nnqft.spec.grid import architecture

LINE = np.linspace(-1, 1, 5)[:, None]
GRID = np.array([[a, b] for a in (0.0, 0.3, 0.6) for b in (-0.1, 0.2)])
R = 64


def exact(x, **kind):
    return predict(architecture(x, **kind), [1], [2, 4]).values["G4c"][0]


def noisy(values, generator, relative):
    """An estimate and its jackknife replicates from R groups with a shared and a private fluctuation."""
    groups = values * (1 + relative * np.sqrt(R) * generator.standard_normal((R, 1)))
    groups += 0.1 * relative * np.sqrt(R) * np.abs(values) * generator.standard_normal((R, len(values)))
    mean = groups.mean(axis=0)
    return mean, (R * mean - groups) / (R - 1)


def gauss_by_hand(x, sigma_w, sigma_b):
    """N G4c = sigma_w^4 sum over pairings (m4 - m2 m2), m4 = exp(4 sigma_b^2 + a ((sum x)^2 - 2 sum x^2) / 2)."""
    legs = x[multisets(len(x), 4)]
    a = sigma_w**2 / x.shape[1]
    m4 = np.exp(4 * sigma_b**2 + a / 2 * ((legs.sum(axis=1) ** 2).sum(-1) - 2 * (legs**2).sum(axis=(1, 2))))
    pairs = 0.0
    for i, j, k, m in ((0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2)):
        r = ((legs[:, i] - legs[:, j]) ** 2).sum(-1) + ((legs[:, k] - legs[:, m]) ** 2).sum(-1)
        pairs = pairs + np.exp(-a * r / 2)
    return sigma_w**4 * (3 * m4 - pairs)


@pytest.mark.parametrize("x", [LINE, LINE[[0, 1, 2, 4]] + 0.3, GRID], ids=["line", "uneven", "grid"])
def test_translates_by_brute_force(x):
    legs = multisets(len(x), 4)
    labels = translation_classes(x, legs)
    lookup = {tuple(np.round(p, 9)) for p in x}
    for c in {tuple(np.round(p - q, 9)) for p in x for q in x}:
        for row, label in zip(legs, labels, strict=True):
            moved = x[row] + np.array(c)
            if all(tuple(np.round(p, 9)) in lookup for p in moved):
                there = sorted(int(np.argmin(((x - p) ** 2).sum(-1))) for p in moved)
                assert labels[np.flatnonzero((legs == there).all(axis=1))[0]] == label
    assert len(np.unique(labels)) == len({frozenset_of_differences(x[row]) for row in legs})


def frozenset_of_differences(points):
    return tuple(sorted(tuple(np.round(p - points.min(axis=0), 9)) for p in points))


def test_rotated_legs_on_a_square():
    x = np.array([[1.0, 0.2], [-0.2, 1.0], [-1.0, -0.2], [0.2, -1.0]])  # turned: no coordinate is special
    legs = multisets(4, 4)
    turns = [p for p in permutations(range(4)) if np.allclose(x[list(p)] @ x[list(p)].T, x @ x.T)]
    assert len(turns) == 8
    orbits = {min(tuple(sorted(p[i] for i in row)) for p in turns) for row in legs}
    assert len(np.unique(orthogonal_classes(x, legs))) == len(orbits)


def test_reflected_legs_on_a_line():
    legs = multisets(5, 4)
    labels = orthogonal_classes(LINE, legs)
    mirrored = np.sort(4 - legs, axis=1)
    where = [int(np.flatnonzero((legs == row).all(axis=1))[0]) for row in mirrored]
    np.testing.assert_array_equal(labels, labels[where])
    assert len(np.unique(labels)) == len({tuple(sorted((i, j))) for i, j in enumerate(where)})


def test_only_the_cosine_network_is_invariant_in_every_correlator():
    legs = multisets(5, 4)
    violations = {
        scale: class_violation(exact(scale * LINE, activation="gauss", sigma_b=1.0), translation_classes(LINE, legs))
        for scale in (0.01, 1.0)
    }
    assert 1e-4 < violations[0.01] < 1e-3
    assert violations[1.0] > 0.9
    assert class_violation(exact(LINE, network="cosine"), translation_classes(LINE, legs)) < 1e-12
    np.testing.assert_allclose(exact(GRID, activation="gauss", sigma_w=1.2, sigma_b=0.4), gauss_by_hand(GRID, 1.2, 0.4))


def test_p_values_of_an_invariant_network_are_uniform_and_the_gauss_net_is_rejected():
    labels = translation_classes(LINE, multisets(5, 4))
    generator = np.random.default_rng(3)
    invariant, broken = exact(LINE, network="cosine"), exact(LINE, activation="gauss", sigma_b=1.0)
    p = [equal_components(*noisy(invariant, generator, 0.01), labels).p_value for _ in range(150)]
    assert kstest(p, "uniform").pvalue > 0.01
    assert equal_components(*noisy(broken, generator, 0.01), labels).p_value < 1e-10


def test_p_values_of_a_constant_coupling_are_uniform_and_one_that_varies_is_rejected():
    x = 0.4 * LINE
    I4 = gaussian_integrals(1.0, x, np.array([5.0]), ["I4"])["I4"][0]
    generator = np.random.default_rng(4)
    p = [proportional_components(*noisy(-24 * 0.3 * I4, generator, 0.01), I4).p_value for _ in range(150)]
    assert kstest(p, "uniform").pvalue > 0.01
    centre = x[multisets(5, 4)].mean(axis=(1, 2))
    varying = I4 * (1 + 0.05 * centre)
    assert proportional_components(*noisy(varying, generator, 0.01), I4).p_value < 1e-6


def test_differences_see_what_values_do_not():
    """A common fluctuation of 10% hides a difference of 1e-4 in the values; it drops out of the differences."""
    generator = np.random.default_rng(5)
    values = np.array([1.0, 1.0 + 1e-4, 1.0 - 1e-4])
    groups = values * (1 + 0.1 * generator.standard_normal((R, 1))) + 1e-5 * generator.standard_normal((R, 3))
    mean = groups.mean(axis=0)
    found = equal_components(mean, (R * mean - groups) / (R - 1), np.zeros(3, dtype=int))
    assert found.p_value < 1e-6


def test_without_noise_and_without_relations():
    values, samples = np.ones(4), np.ones((R, 4))
    assert equal_components(values, samples, np.arange(4)).reason == UNRELATED
    found = equal_components(values, samples, np.zeros(4, dtype=int))
    assert (found.reason, np.isnan(found.p_value)) == (EXACT, True)
    different = np.array([1.0, 1.0, 1.0, 1.1])
    assert equal_components(different, samples * different, np.zeros(4, dtype=int)).p_value == 0.0
    assert "proportions" in proportional_components(values, samples, np.zeros(4)).reason


def test_share_explained_at_nearby_points():
    """Cosine: G4c ~ 1 - (2 a / 3) S against I4 ~ 1 - (a / 2) S, S = sum (x - mean)^2; what is left is (1 / 4)^2."""
    x = 0.01 * LINE
    I4 = gaussian_integrals(1.0, x, np.array([9.0]), ["I4"])["I4"][0]
    G4c = exact(x, network="cosine")
    assert explained(G4c, I4, np.ones(70)) == pytest.approx(15 / 16, abs=1e-3)
    assert explained(-3 * I4, I4, np.ones(70)) == pytest.approx(1.0, abs=1e-9)
    assert explained(G4c, np.ones(70), np.ones(70)) == pytest.approx(0.0, abs=1e-9)
    size = np.array([np.prod(row) for row in product((1.0, 2.0), repeat=3)])
    assert np.isnan(explained(3 * size, size**2, size))
