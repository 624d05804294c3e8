import numpy as np
import pytest

from nnqft.couplings.invariance import extent, kernel_length, rotation, scaling, translation
from nnqft.couplings.kernels import leg_kernel
from nnqft.nets.registry import law
from nnqft.spec.grid import architecture

LINE = np.linspace(-1, 1, 5)[:, None]
RAY = np.linspace(0.2, 1.0, 5)[:, None]
SQUARE = np.array([[0.5, 0.5], [0.5, 1.0], [1.0, 0.5], [1.0, 1.2]])


def leg(activation, sigma_w=1.0, sigma_b=0.0):
    return lambda x, y: leg_kernel(activation, sigma_w, sigma_b, x, y)


def square(x, y):
    return ((x[:, None] - y[None]) ** 2).sum(axis=-1)


def gaussian(x, y):
    return np.exp(-square(x, y) / 2)


def cosine(x, y):
    net = law(architecture(x, network="cosine", sigma_w=1.3), 1)
    return net.gp_kernel(np.concatenate([x, y]), 1.3, 0.0)[: len(x), len(x) :]


@pytest.mark.parametrize("x", [RAY, LINE, SQUARE], ids=["ray", "line", "square"])
def test_relu_legs_rotate_and_scale_but_do_not_shift(x):
    kernel = leg("relu")
    assert not translation(kernel, x).holds
    assert rotation(kernel, x).holds
    assert scaling(kernel, x).degree == pytest.approx(2.0, abs=1e-12)  # degree 1 in each argument


@pytest.mark.parametrize("x", [LINE, 0.01 * LINE, SQUARE], ids=["line", "tiny", "square"])
@pytest.mark.parametrize("kernel", [leg("gauss", 1.4, 1.0), cosine], ids=["gauss", "cosine"])
def test_gauss_and_cosine_legs_shift_and_rotate_but_do_not_scale(kernel, x):
    assert translation(kernel, x).holds
    assert rotation(kernel, x).holds
    found = scaling(kernel, x)
    assert not found.holds
    assert np.isnan(found.degree)


@pytest.mark.parametrize("activation", ["erf", "sin", "cos", "gelu", "linear"])
def test_other_legs_do_not_shift(activation):
    assert translation(leg(activation, 1.0, 0.5), LINE).violation > 0.1


def test_nearby_points_do_not_make_the_erf_net_invariant():
    found = translation(leg("erf", 1.0, 1.0), 0.01 * LINE)
    assert not found.holds
    assert found.here < 1e-3 < 0.1 < found.violation
    assert kernel_length(leg("erf", 1.0, 1.0), 0.01 * LINE) > 50 * extent(0.01 * LINE)


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-9])
def test_a_planted_small_violation_is_seen(size):
    def planted(x, y):
        return gaussian(x, y) + size * np.cos(3 * (x + y.T))

    assert translation(gaussian, LINE).holds
    found = translation(planted, LINE)
    assert not found.holds
    assert 0.1 * size < found.violation < 2 * size


def test_the_change_is_relative_to_the_larger_of_the_variances():
    # K = x y at x = 1 and 2, shifts by c: (1 + c)^2 - 1 over the larger, and so on; length by doubling from the extent
    x = np.array([[1.0], [2.0]])
    shifts = [s * size for s in (0.37, 1.0) for size in (1.0, -1.0)]
    worst = 0.0
    for c in shifts:
        for a in (1.0, 2.0):
            for b in (1.0, 2.0):
                scale = max(a, abs(a + c)) * max(b, abs(b + c))
                worst = max(worst, abs((a + c) * (b + c) - a * b) / scale)
    assert translation(lambda x, y: x @ y.T, x).here == pytest.approx(worst, rel=1e-12)


def test_rotations_are_not_only_reflections():
    def anisotropic(x, y):
        return gaussian(x * [1.0, 1.1], y * [1.0, 1.1])

    assert translation(anisotropic, SQUARE).holds
    assert not rotation(anisotropic, SQUARE).holds
    assert not rotation(lambda x, y: gaussian(x, y) * np.exp(0.1 * (x + y.T)), LINE).holds


def test_degrees_of_homogeneous_kernels():
    assert scaling(lambda x, y: (x @ y.T) ** 3, SQUARE).degree == pytest.approx(6, abs=1e-12)
    assert scaling(lambda x, y: np.ones((len(x), len(y))), SQUARE).degree == pytest.approx(0, abs=1e-12)
    almost = scaling(lambda x, y: (x @ y.T) * (1 + 1e-7 * x @ y.T), SQUARE)
    assert not almost.holds


def test_length_is_where_the_correlation_has_halved():
    half = np.sqrt(2 * np.log(2))
    for x in (LINE, 1e-4 * LINE, 100 * LINE):
        assert half <= kernel_length(gaussian, x) <= 2 * half
    assert kernel_length(lambda x, y: np.ones((len(x), len(y))), LINE) == np.inf


def test_the_noise_of_the_evaluation_is_no_violation():
    far = 1e5 + LINE  # k(x, x) ~ 1e10: the closed form of the Gauss-net loses ten digits
    found = translation(leg("gauss", 1.0, 1.0), far)
    assert found.violation > 1e-6
    assert found.holds
    assert translation(leg("gauss", 1.0, 1.0), LINE).tolerance == 1e-10


def test_what_has_no_answer():
    for test in (rotation, scaling):
        found = test(gaussian, np.zeros((1, 2)))
        assert not found.holds
        assert np.isnan(found.violation)
        assert "origin" in found.reason
    with pytest.raises(ValueError, match="finite"):
        translation(gaussian, [[np.nan]])
