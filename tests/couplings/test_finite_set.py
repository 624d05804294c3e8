"""The action on a finite set of points against exact densities, exact cumulants and the formulas written out."""

import actions
import numpy as np
import pytest

import nnqft
from nnqft.core.packing import multisets, number, pack, rank, unpack
from nnqft.couplings import finite_set
from nnqft.couplings.finite_set import condition, couplings, expansion, principal, transform, whitening
from nnqft.estimation.jackknife import stderr
from nnqft.fieldtheory import couplings_from_cumulants

ORDERS = (2, 4, 6)
TABLE = {  # width 80: exact g2, NLO; exact g4, LO, NLO; exact g6, its leading order
    "unit": (0.99066438, 0.99066406, 0.01830319, 0.01875, 0.01830078, 0.00188566, 0.00195312),
    "gauss": (1.00961714, 1.00960937, -0.02005734, -0.01875, -0.01998047, 0.00406000, 0.00351562),
}


def one_point(net, width):
    k2, k4, k6 = actions.ONE_POINT[net]
    return couplings_from_cumulants(k2, k4 / width, k6 / width**2)


def two_points(width, x=1.0, leading=False):
    k2, k4, k6 = actions.two_point_cumulants(x)
    return couplings(k2, k4 / width, None if leading else k6 / width**2, n=2)


@pytest.mark.parametrize("net", TABLE)
def test_one_point_numbers(net):
    exact, found, want = actions.one_point_exact(net, 80), one_point(net, 80), TABLE[net]
    np.testing.assert_allclose([e[0] for e in exact], [want[0], want[2], want[5]], atol=1e-8)
    np.testing.assert_allclose([found.g2, found.g4, found.g6], [want[1], want[4], want[6]], atol=1e-8)
    k2, k4, _ = actions.ONE_POINT[net]
    leading = couplings(np.array([k2]), np.array([k4 / 80]), n=1)
    assert (leading.g2[0], leading.g4[0], leading.g6) == (1.0, pytest.approx(want[3], abs=1e-12), None)


@pytest.mark.parametrize(("net", "limit"), [("unit", 1.21), ("gauss", -37.5)])
def test_what_is_left_out_is_of_order_three(net, limit):
    """N^3 (exact - NLO) tends to a constant."""
    near, far = (
        width**3 * (np.array([e[0] for e in actions.one_point_exact(net, width)]) - one_point(net, width))
        for width in (160, 320)
    )
    np.testing.assert_allclose(far, near, rtol=0.03)
    assert far[1] == pytest.approx(near[1], rel=0.02)
    assert far[1] == pytest.approx(limit, rel=0.02)


def test_two_point_numbers():
    exact, found, leading = actions.two_point_exact(80, 1.0), two_points(80), two_points(80, leading=True)
    np.testing.assert_allclose([exact[0][1], exact[1][0], exact[2][3]], [-1.0180602851, -0.1868241400, -0.1935322116],
                               atol=1e-9)  # fmt: skip
    np.testing.assert_allclose([leading.g4[0], found.g4[0]], [-0.1505005, -0.1814362], atol=1e-7)
    np.testing.assert_allclose([found.g2[1], found.g6[3]], [-1.0177898, -0.1263880], atol=1e-7)


def test_two_points_approach_the_exact_action_at_the_promised_rate():
    remainders = {}
    for width in (320, 640):
        exact = actions.two_point_exact(width, 1.0)
        full, leading = two_points(width), two_points(width, leading=True)
        remainders[width] = [
            np.linalg.norm(g - e) for g, e in zip((*full, *leading[:2]), (*exact, *exact[:2]), strict=True)
        ]
    powers = np.log2(np.divide(remainders[320], remainders[640]))
    np.testing.assert_allclose(powers, [3, 3, 3, 1, 2], atol=0.12)


def round_trip(n, size, leading=False):
    """Couplings of order `size` and size^2 on n points, and what is recovered from their exact cumulants."""
    rng = np.random.default_rng(n)
    shape = np.eye(n) + 0.5 * rng.normal(size=(n, n))
    a = rng.normal(size=(3, n))  # a sum of positive powers, so that exp(-S) is a density
    a = (a / np.linalg.norm(a, axis=1, keepdims=True)) @ shape.T
    planted = [pack(shape @ shape.T)] + [
        strength * sum(row[multisets(n, k)].prod(-1) for row in a) for k, strength in ((4, size), (6, size**2))
    ]
    G2, G4c, G6c = actions.cumulants_of_action(*planted, n)
    found = couplings(G2, G4c, None if leading else G6c, n=n)
    return [np.linalg.norm(f - p) for f, p in zip(found[: 2 if leading else 3], planted, strict=False)]


@pytest.mark.parametrize("n", [1, 2, 3])
def test_planted_couplings_come_back(n):
    """The residual falls with the third power of the coupling; at leading order with the first (g2) and second (g4)."""
    for leading, powers in ((False, [3, 3, 3]), (True, [1, 2])):
        residual = [round_trip(n, size, leading) for size in (0.01, 0.005)]
        np.testing.assert_allclose(np.log2(np.divide(*residual)), powers, atol=0.3)


@pytest.mark.parametrize("name", finite_set.DIAGRAMS)
@pytest.mark.parametrize("factor", [0.0, 2.0])
def test_a_wrong_symmetry_factor_is_seen(name, factor, monkeypatch):
    right = round_trip(2, 0.01)
    changed = dict(finite_set.DIAGRAMS) | {name: factor * finite_set.DIAGRAMS[name]}
    monkeypatch.setattr(finite_set, "DIAGRAMS", changed)
    order = ("g2", "g4", "g6").index(name[:2])
    assert round_trip(2, 0.01)[order] > 3 * right[order]


def written_out(G, G4, G6):
    """The formulas of the module in the coordinates of the points, on whole tensors."""
    inverse = np.linalg.inv(G)
    A4 = np.einsum("abcd,ai,bj,ck,dl->ijkl", G4, *[inverse] * 4)
    A6 = np.einsum("abcdef,ai,bj,ck,dl,em,fn->ijklmn", G6, *[inverse] * 6, optimize=True)
    T = np.einsum("abef,ef->ab", A4, G)
    bubble = np.einsum("abef,eg,fh,cdgh->abcd", A4, G, G, A4)
    leg = np.einsum("abce,ef,fd->abcd", A4, G, T)
    g4 = -A4 + np.einsum("abcdef,ef->abcd", A6, G) / 2
    g4 -= (bubble + np.einsum("acbd->abcd", bubble) + np.einsum("adcb->abcd", bubble)) / 2
    g4 -= (leg + np.einsum("abdc->abcd", leg) + np.einsum("adcb->abcd", leg) + np.einsum("dbca->abcd", leg)) / 2
    g2 = inverse + T / 2 - np.einsum("abcdef,cd,ef->ab", A6, G, G) / 8
    g2 += np.einsum("aefg,eh,fi,gj,bhij->ab", A4, G, G, G, A4, optimize=True) / 6
    g2 += np.einsum("abef,eg,fh,gh->ab", A4, G, G, T) / 4 + T @ G @ T / 4
    exchange, g6 = np.einsum("abcg,gh,defh->abcdef", A4, G, A4), -A6
    for i, j in ((1, 2), (1, 3), (1, 4), (1, 5), (2, 3), (2, 4), (2, 5), (3, 4), (3, 5), (4, 5)):
        rest = [k for k in range(1, 6) if k not in (i, j)]
        g6 = g6 + np.transpose(exchange, np.argsort([0, i, j, *rest]))
    return g2, g4, g6


def test_packed_whitened_and_written_out_are_the_same():
    n, rng = 3, np.random.default_rng(8)
    factor = rng.normal(size=(2, n, n))
    packed = [pack(factor @ factor.swapaxes(1, 2)), *(rng.normal(size=(2, number(n, k))) for k in (4, 6))]
    whole = [
        t[:, rank(np.indices((n,) * k).reshape(k, -1).T, n)].reshape(2, *(n,) * k)
        for k, t in zip(ORDERS, packed, strict=True)
    ]
    found, whole_found = couplings_from_cumulants(*packed), couplings_from_cumulants(*whole)
    for cell in range(2):
        for k, wanted, g, w in zip(ORDERS, written_out(*(t[cell] for t in whole)), found, whole_found, strict=True):
            np.testing.assert_allclose(w[cell], wanted, rtol=1e-9, atol=1e-9 * np.abs(wanted).max())
            np.testing.assert_allclose(g[cell], w[(cell, *multisets(n, k).T)], rtol=1e-12)


def test_memory_does_not_change_the_numbers(monkeypatch):
    rng = np.random.default_rng(3)
    tensor, matrices = rng.normal(size=(3, 2, number(3, 6))), rng.normal(size=(2, 2, 3))
    together = transform(tensor, 6, matrices)
    monkeypatch.setattr(finite_set, "MEMORY", 1)
    np.testing.assert_allclose(transform(tensor, 6, matrices), together, rtol=1e-13)
    assert together.shape == (3, 2, number(2, 6))


def test_a_markov_process_has_a_local_action():
    x = 0.5 * np.arange(6)
    G2 = pack(np.exp(-np.abs(x[:, None] - x)) / 2)
    g2 = unpack(couplings_from_cumulants(G2, np.zeros(number(6, 4)), np.zeros(number(6, 6))).g2, 6)
    assert g2[2, 2] == pytest.approx(4.3279068275, abs=1e-10)
    assert g2[2, 3] == pytest.approx(-1.9190347513, abs=1e-10)
    assert np.abs(np.triu(g2, 2)).max() < 1e-14


def test_errors_are_the_scatter():
    """Pulls of the couplings for planted cumulants with correlated noise, jackknife errors from 64 groups."""
    rng, trials, groups = np.random.default_rng(1), 400, 64
    truth = [k / 40 ** (i) for i, k in enumerate(actions.two_point_cumulants(1.0))]
    exact = couplings(*truth, n=2)
    values, replicates = [], []
    shared = rng.normal(size=(trials, groups, 1))
    for t in truth:
        noise = 0.03 * np.abs(t) * (shared + rng.normal(size=(trials, groups, len(t))))
        values.append(t + noise.mean(1))
        replicates.append(t + (noise.sum(1, keepdims=True) - noise) / (groups - 1))
    for g, r, e in zip(couplings(*values, n=2), couplings(*replicates, n=2), exact, strict=True):
        pulls = (g - e) / stderr(r, axis=1)
        assert np.all(np.abs(pulls.std(0) - 1) < 0.15)
        assert np.all(np.abs(pulls.mean(0)) < 0.3)


def test_the_expansion_parameter_is_the_whitened_cumulant():
    k2, k4, _ = actions.two_point_cumulants(1.0)
    found = expansion(k2, k4, n=2)
    assert found.kurtosis[1] == pytest.approx(7.307117, abs=1e-6)
    directions = np.random.default_rng(2).normal(size=(500, 1, 2))
    kurtosis = transform(k4, 4, directions)[:, 0] / transform(k2, 2, directions)[:, 0] ** 2
    assert np.abs(kurtosis).max() <= found.parameter < 1.01 * np.abs(kurtosis).max()
    assert expansion(np.ones(1), np.array([-0.3]), n=1).parameter == pytest.approx(0.3)
    stretched = expansion(transform(k2, 2, np.diag([1e3, 1e-3])), transform(k4, 4, np.diag([1e3, 1e-3])), n=2)
    assert stretched.parameter == pytest.approx(float(found.parameter))


def test_merging_points_have_derivative_modes():
    k2, k4, _ = actions.two_point_cumulants(0.02)
    np.testing.assert_allclose(expansion(k2, k4, n=2).kurtosis, [1.5, 10.5], rtol=1e-3)


@pytest.mark.parametrize(("n", "rbf", "markov"), [(5, 22, 3.7), (10, 2.4e6, 16)])
def test_condition_numbers(n, rbf, markov):
    r = np.subtract.outer(np.linspace(0, 4, n), np.linspace(0, 4, n))
    assert condition(pack(np.exp(-(r**2) / 2)), n) == pytest.approx(rbf, rel=0.03)
    assert condition(pack(np.exp(-np.abs(r)) / 2), n) == pytest.approx(markov, rel=0.04)


def test_a_singular_kernel_is_refused_and_its_component_has_an_action():
    """A ReLU-net without biases on x > 0 is phi(x) = x phi(1): one degree of freedom on three points."""
    x = np.array([0.2, 0.7, 1.1])
    k2, k4, k6 = actions.ONE_POINT["unit"]
    one = [np.array([k]) for k in (k2, k4 / 80, k6 / 6400)]
    tensors = [transform(k, order, x[:, None]) for k, order in zip(one, ORDERS, strict=True)]
    assert all(np.isnan(g).all() for g in couplings(*tensors, n=3))
    assert np.isnan(expansion(*tensors[:2], n=3).parameter)
    with pytest.raises(ValueError, match=r"condition number|not positive definite"):
        couplings_from_cumulants(*tensors)
    rows = principal(tensors[0], 3)
    assert rows.shape == (1, 3)
    found = couplings(*(transform(t, k, rows) for t, k in zip(tensors, ORDERS, strict=True)), n=1)
    np.testing.assert_allclose(np.ravel(found), np.ravel(couplings(*one, n=1)), rtol=1e-9)
    noisy = couplings(tensors[0] + 0.1 * pack(np.eye(3)), *tensors[1:], n=3)  # an exact theory: white output noise
    assert all(np.isfinite(g).all() for g in noisy)
    good, bad = pack(np.eye(2)), np.array([1.0, np.nan, 1.0])
    assert np.isnan(whitening(np.stack([good, bad, -good]), 2)[0]).any(axis=(1, 2)).tolist() == [False, True, True]
    assert principal(bad, 2).shape == (0, 2)


@pytest.mark.parametrize(
    "shapes", [((3,), (5,), (6,)), ((4,), (5,), (7,)), ((), (1,), (1,)), ((2, 2), (2,) * 4, (2,) * 5 + (3,))]
)
def test_shapes_that_fit_nothing_are_refused(shapes):
    with pytest.raises(ValueError):
        couplings_from_cumulants(*(np.ones(shape) for shape in shapes))


def test_the_public_name_needs_no_second_import():
    assert nnqft.fieldtheory.couplings_from_cumulants is couplings_from_cumulants


def test_tensors_must_be_symmetric():
    with pytest.raises(ValueError, match="not symmetric"):
        couplings_from_cumulants(np.array([[2.0, 1.0], [0.5, 2.0]]), np.zeros((2,) * 4), np.zeros((2,) * 6))
