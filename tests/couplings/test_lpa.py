"""Local-potential flow: printed tables, other integrators, the exact integral in d = 0, errors, ends of flows."""

import re
import subprocess
import sys
from fractions import Fraction
from math import exp, factorial, gamma, pi, prod

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from nnqft.couplings.conventions import gauss_field, potential_start
from nnqft.couplings.lpa import loop_volume, potential_beta, potential_flow
from nnqft.couplings.vertices import vertex_integrals

SCALES = [10.0, 5.0, 1.0, 0.1]
TABLE = {
    "from u6 = 0": [
        [2, 1, 0],
        [2.02901370594, 0.99621168497, 0.00139405305],
        [2.12347313209, 0.92332564105, 0.17613928814],
        [2.13681339984, 0.89914151829, 0.28449055893],
    ],
    "u4 < 0": [
        [2, -0.5, 1],
        [1.98586816891, -0.47169455876, 1.00911658568],
        [1.94283921647, -0.37813532701, 1.19931256633],
        [1.93654325582, -0.36278635082, 1.28172009842],
    ],
}


def barred(log_k, u, d):
    """The equations of arXiv:2108.01403 as printed, in ubar."""
    k, volume = exp(log_k), 1 / (2**d * pi ** (d / 2) * gamma(d / 2 + 1))
    b2, b4, b6 = u[0] / k**2, u[1] * k ** (d - 4), u[2] * k ** (2 * d - 6)
    return [
        -volume * k**2 * b4 / (1 + b2) ** 2,
        volume * k ** (4 - d) * (6 * b4**2 / (1 + b2) - b6) / (1 + b2) ** 2,
        volume * k ** (6 - 2 * d) * b4 * (30 * b6 - 90 * b4**2 / (1 + b2)) / (1 + b2) ** 3,
    ]


@pytest.mark.parametrize("table", TABLE.values(), ids=TABLE.keys())
def test_tables_of_one_dimension(table):
    flow = potential_flow(table[0], None, SCALES, 1)
    np.testing.assert_allclose(flow.values, table, rtol=0, atol=1e-10)
    assert flow.complete
    assert (flow.reason, flow.reached) == ("", 0.1)


def test_passive_flow_from_the_infrared():
    flow = potential_flow([2, 1, 0], None, [1e-10, 100], 1)
    np.testing.assert_allclose(flow.values[-1], [1.7938514946, 1.2948660725, -0.98709828029], rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["DOP853", "Radau"])
@pytest.mark.parametrize("scales", [[10.0, 3.0, 0.3], [0.05, 0.7, 2.0]])
@pytest.mark.parametrize("dimension", [0, 1, 2, 3, 4])
def test_other_integrators_agree(method, scales, dimension):
    rng = np.random.default_rng(dimension)
    start = np.array([2.0, 0.3, 0.0]) + rng.uniform(0, 0.2, size=3)
    logs = np.log(scales)
    tolerance = {"rtol": 1e-12, "atol": 1e-13} if method == "DOP853" else {"rtol": 1e-10, "atol": 1e-11}
    other = solve_ivp(barred, logs[[0, -1]], start, method, logs, args=(dimension,), **tolerance)
    np.testing.assert_allclose(potential_flow(start, None, scales, dimension).values, other.y.T, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dimension", range(5))
def test_beta_functions_are_the_taylor_coefficients(dimension):
    """Of k dV/dk = V_d k^(d+2) / (k^2 + V''), to phi^6."""
    phi, k, *u = sympy.symbols("phi k u2 u4 u6")
    V = u[0] * phi**2 / 2 + u[1] * phi**4 / 24 + u[2] * phi**6 / 720
    flow = k ** (dimension + 2) / (k**2 + sympy.diff(V, phi, 2))
    point = {
        k: sympy.Rational(3, 2),
        u[0]: sympy.Rational(2, 3),
        u[1]: sympy.Rational(-5, 7),
        u[2]: sympy.Rational(4, 9),
    }
    exact = [float(sympy.diff(flow, phi, n).subs(phi, 0).subs(point)) * loop_volume(dimension) for n in (2, 4, 6)]
    found = potential_beta([2 / 3, -5 / 7, 4 / 9], 1.5, dimension)
    np.testing.assert_allclose(found, exact, rtol=1e-13)
    assert found.dtype == np.float64


def shift_ratio(u4):
    """(u - u(bare)) of the flow from k = 1e6 to k = 1 over the exact 1PI couplings' of one variable, d = 0, u2 = 1.

    The moments of exp(-f^2 - u4 f^4 / 24) are their asymptotic series, good to 40 digits and more at u4 <= 0.01.
    """
    start = [Fraction(1), Fraction(str(u4)), Fraction(0)]
    free = [Fraction(prod(range(1, 2 * i, 2)), 2**i) for i in range(84)]  # <f^(2 i)> of variance 1 / 2
    series = [(-start[1] / 24) ** j / factorial(j) for j in range(40)]
    norm, *moments = (sum(s * free[2 * j + i] for j, s in enumerate(series)) for i in range(4))
    m2, m4, m6 = (m / norm for m in moments)
    c4, c6 = m4 - 3 * m2**2, m6 - 15 * m4 * m2 + 30 * m2**3
    vertices = [1 / m2 - 1, -c4 / m2**4, -c6 / m2**6 + 10 * c4**2 / m2**7]
    shift = [float(v - s) for v, s in zip(vertices, start, strict=True)]
    bare = np.array(start, dtype=np.float64)
    return (potential_flow(bare, None, [1e6, 1.0], 0).values[-1] - bare) / shift


def test_zero_dimensions_against_the_exact_integral():
    """V_0 = 1 makes k dV/dk = k^2 / (k^2 + V'') exact; all that is missing is u8, at relative order u4 in u6.

    The printed ratios are float64 differences from a start at k = 3e3: 2e-7 in u2, 1e-13 / 1.9e-9 in u6.
    """
    weak, strong = shift_ratio(1e-3), shift_ratio(1e-2)
    np.testing.assert_array_less(np.abs(weak - [0.9999998, 0.99999986, 1.00047]), [2.1e-7, 1e-7, 6e-5])
    assert strong[2] == pytest.approx(1.005, abs=5e-4)
    np.testing.assert_allclose((strong - 1)[1:] / (weak - 1)[1:], [100, 10], rtol=0.03)
    assert weak[0] == pytest.approx(1, abs=1e-10)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("sigma_w", [0.7, 1.5])
def test_tree_level_scaling_of_measured_couplings(oracle, dimension, sigma_w):
    """Bare lambda ~ sigma_w^(d-4), canonical u4 ~ sigma_w^(4-d), on points that scale with 1 / sigma_w."""
    x = np.zeros((4, dimension))
    x[:, 0] = [-0.01, -0.002, 0.006, 0.01]
    exact, start = oracle.G4c("gauss", x * np.sqrt(dimension), 1.0), {}
    for scale in (1.0, sigma_w):
        points = x * np.sqrt(dimension) / scale
        i4 = vertex_integrals("gauss", scale, 1.0, points, [60.0 / scale])["I4"][0]
        coupling = np.mean(-exact * scale**4 / (24 * i4))
        start[scale] = coupling, potential_start(coupling, 0.0, gauss_field(scale, dimension))
    assert start[sigma_w][0] == pytest.approx(start[1.0][0] * sigma_w ** (dimension - 4), rel=1e-9)
    assert start[sigma_w][1][1] == pytest.approx(start[1.0][1][1] * sigma_w ** (4 - dimension), rel=1e-9)
    assert start[sigma_w][1][0] == pytest.approx(2 * sigma_w**2 / dimension)


def test_forward_and_passive_flows_undo_each_other():
    down = potential_flow([2, 1, 0.5], None, [10, 0.1], 2)
    up = potential_flow(down.values[-1], None, [0.1, 10], 2)
    np.testing.assert_allclose(up.values[-1], [2, 1, 0.5], rtol=1e-9)


def test_errors_of_measured_couplings_flow_with_them():
    """Jackknife replicates through the flow against the Jacobian, by differences, of the flow itself."""
    rng, field = np.random.default_rng(5), gauss_field(1.0, 1)
    groups = np.array([0.001, 1e-4]) * (1 + 0.05 * rng.normal(size=(40, 2)))
    leave_out = (groups.sum(axis=0) - groups) / 39
    start, replicates = potential_start(*groups.mean(axis=0), field), potential_start(*leave_out.T, field)
    flow = potential_flow(start, replicates, SCALES, 1)
    assert flow.replicates.shape == (40, 4, 3)
    np.testing.assert_allclose(flow.replicates[:, 0], replicates)
    steps = 1e-4 * start * np.eye(3)
    jacobian = [
        (potential_flow(start + h, None, SCALES, 1).values - potential_flow(start - h, None, SCALES, 1).values)
        / (2 * h.max())
        for h in steps
    ]
    covariance = np.cov(potential_start(*groups.T, field).T) / 40
    expected = np.sqrt(np.einsum("ink,ij,jnk->nk", jacobian, covariance, jacobian))
    np.testing.assert_allclose(flow.stderr, expected, rtol=1e-2)
    assert flow.stderr[0, 0] == 0
    assert flow.stderr[-1, 0] > 0


@pytest.mark.parametrize(
    ("start", "scales", "reason"),
    [
        ([1, -5, 0], [10, 1, 0.1], "singular: k\\^2 \\+ u2 vanishes or a coupling diverges near k = 1.69"),
        ([2, 10, 0], [0.1, 1, 10], "diverges near k = 1.037"),
        ([-0.5, 0, 0], [10, 1, 0.1], "diverges near k = 0.6"),
        ([-200, 1, 0], [10, 1], "singular at the start: k\\^2 \\+ u2 = -100"),
    ],
)
def test_a_flow_that_ends_says_where(start, scales, reason):
    flow = potential_flow(start, None, scales, 1)
    assert not flow.complete
    assert re.search(reason, flow.reason)
    seen = np.isfinite(flow.values).all(axis=1)
    travelled, end = np.abs(np.log(flow.scales / scales[0])), abs(np.log(flow.reached / scales[0]))
    np.testing.assert_array_equal(seen, (travelled < end) & ("start" not in reason) | ((travelled == 0) & (end > 0)))


def test_the_end_is_where_another_integrator_finds_it():
    def huge(log_k, u, d):
        return abs(u[1]) - 1e7

    huge.terminal = True
    ended = potential_flow([1, -5, 0], None, [10, 0.1], 1)
    logs = np.log([10, 0.1])
    other = solve_ivp(barred, logs, [1, -5, 0], "DOP853", events=huge, args=(1,), rtol=1e-11, atol=1e-11)
    assert ended.reached == pytest.approx(exp(other.t[-1]), rel=1e-5)


@pytest.mark.parametrize("scales", [[10.0, 0.1], [0.1, 10.0]])
def test_no_flow_jumps_over_its_end(scales):
    """Random starts, a third of which diverge: another integrator gets to the end exactly where this one does."""

    def alive(log_k, u, d):
        return min(1 + u[0] * exp(-2 * log_k) - 1e-6, 1 - abs(u[1]) / 1e12)

    alive.terminal = True
    starts = np.random.default_rng(1).uniform([-0.005, -6, -6], [2, 6, 6], size=(40, 3))
    flows = potential_flow([1, 0, 0], starts, scales, 1).replicates[:, -1]
    others = [
        solve_ivp(barred, np.log(scales), u, "DOP853", events=alive, args=(1,), rtol=1e-12, atol=1e-13) for u in starts
    ]
    arrived = np.array([other.status == 0 for other in others])
    assert 5 < arrived.sum() < 35
    np.testing.assert_array_equal(np.isfinite(flows).all(axis=1), arrived)
    np.testing.assert_allclose(flows[arrived], [o.y[:, -1] for o in others if o.status == 0], rtol=1e-7, atol=1e-9)


def test_replicates_that_become_singular_take_the_error_with_them():
    replicates = [[2.0, -0.5, 1.0], [2.0, -0.6, 1.0], [1.0, -5.0, 0.0], [-200.0, 1.0, 0.0]]
    flow = potential_flow([2, -0.5, 1], replicates[:3], [10, 5, 0.1], 1)
    assert flow.complete
    assert flow.reason == "1 of 3 replicates become singular: no error can be given there"
    assert np.isfinite(flow.stderr[:2]).all()
    assert np.isnan(flow.stderr[2]).all()
    assert np.isnan(potential_flow([2, -0.5, 1], replicates, [10, 5, 0.1], 1).stderr).all()


@pytest.mark.parametrize(
    ("start", "replicates", "scales", "dimension", "message"),
    [
        ([2, 1, 0], None, [1.0], 1, "strictly falling"),
        ([2, 1, 0], None, [1.0, 2.0, 2.0], 1, "strictly falling"),
        ([2, 1, 0], None, [1.0, 0.0], 1, "positive scales"),
        ([2, 1], None, [1.0, 2.0], 1, "starts at"),
        ([2, 1, 0], [[1.0, 2.0]], [1.0, 2.0], 1, "starts at"),
        ([2, np.nan, 0], None, [1.0, 2.0], 1, "not finite"),
        ([2, 1, 0], None, [1.0, 2.0], -1, "dimension"),
    ],
)
def test_bad_input_is_refused(start, replicates, scales, dimension, message):
    with pytest.raises(ValueError, match=message):
        potential_flow(start, replicates, scales, dimension)


def test_the_solver_is_imported_only_where_it_is_used():
    code = "import nnqft.couplings.lpa, sys; print('diffrax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
