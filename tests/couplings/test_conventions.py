"""Every arrow between normalisations, derived with sympy from the two actions; round trips; the canonical field."""

from itertools import permutations, product

import numpy as np
import pytest
import sympy
from sympy import Rational, symbols

from nnqft.core.packing import pairings
from nnqft.couplings.conventions import (
    NORMALISATIONS,
    Couplings,
    action_from_pairs,
    gauss_field,
    pairs_from_action,
    potential_start,
    translate,
    translations,
)

f, Z = symbols("f Z", positive=True)
ARROWS = list(permutations(NORMALISATIONS, 2))


def action(normalisation, two_point, quartic, sextic):
    """The actions as the papers write them, at zero momentum, as polynomials in the field f of the network."""
    phi = sympy.sqrt(Z) * f
    return {
        "hms": f**2 / (2 * two_point) + quartic * f**4 + sextic * f**6,
        "demirtas": two_point * f**2 / 2 + quartic * f**4 / sympy.factorial(4) + sextic * f**6 / sympy.factorial(6),
        "ryh": two_point * f**2 / 2 - quartic * f**4 / 8 - sextic * f**6 / 48,
        "erbin": two_point * phi**2 / 2 + quartic * phi**4 / sympy.factorial(4) + sextic * phi**6 / sympy.factorial(6),
    }[normalisation]


@pytest.mark.parametrize(("source", "to"), ARROWS, ids=[f"{a}-{b}" for a, b in ARROWS])
def test_arrow(source, to):
    given, unknown = symbols("a b c", positive=True), symbols("x y z")
    difference = sympy.expand(action(source, *given) - action(to, *unknown))
    equations = [difference.coeff(f, power) for power in (2, 4, 6)]
    (derived,) = sympy.solve(equations, unknown, dict=True)
    found = translate(Couplings(source, *given), to, Z)
    for symbol, value in zip(unknown, (found.two_point, found.quartic, found.sextic), strict=True):
        assert sympy.simplify(derived[symbol] - value) == 0
    assert found.normalisation == to


@pytest.mark.parametrize(("source", "to"), ARROWS, ids=[f"{a}-{b}" for a, b in ARROWS])
def test_round_trip(source, to):
    rng = np.random.default_rng(0)
    here = Couplings(source, *rng.uniform(0.1, 2, size=(3, 50)))
    back = translate(translate(here, to, 0.37), source, 0.37)
    for name in ("two_point", "quartic", "sextic"):
        np.testing.assert_allclose(getattr(back, name), getattr(here, name), rtol=1e-15)


def test_numbers_in_every_normalisation():
    """Gauss-net, d = 1, sigma_w = 1, N = 1000: lambda N = -5.3456804, kappa N^2 = -2947.91."""
    field = gauss_field(1.0, 1)
    here = Couplings("hms", field.K0, -5.3456804e-3, -2.94791e-3)
    every = translations(here, field.Z)
    assert tuple(every) == NORMALISATIONS
    assert str(every["hms"]) == f"hms: K0 = {field.K0}, lambda = -0.0053456804, kappa = -0.00294791"
    assert every["demirtas"].quartic == pytest.approx(24 * -5.3456804e-3)
    assert every["ryh"].quartic == pytest.approx(8 * 5.3456804e-3)
    assert every["erbin"].quartic == pytest.approx(24 * -5.3456804e-3 * (8 * np.pi), rel=1e-12)
    assert every["erbin"].two_point == pytest.approx(field.u2)
    assert tuple(translations(here)) == ("hms", "demirtas", "ryh")
    assert tuple(translations(every["erbin"])) == ("erbin",)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_canonical_field_of_the_gauss_net(dimension):
    """Fourier transform of K_w, one coordinate at a time, and its inverse to order p^2."""
    p, x, sigma = symbols("p x sigma", positive=True)
    factor = sympy.integrate(
        sympy.exp(-(sigma**2) * x**2 / (2 * dimension)) * sympy.cos(p * x), (x, -sympy.oo, sympy.oo)
    )
    transform = sigma**2 * factor * (factor.subs(p, 0)) ** (dimension - 1)  # p along one axis
    inverse = sympy.series(1 / transform, p, 0, 4).removeO()
    wave, mass = sympy.expand(inverse).coeff(p, 2), sympy.expand(inverse).coeff(p, 0)
    at = {sigma: Rational(13, 10)}
    field = gauss_field(1.3, dimension)
    exact = [float(e.subs(at)) for e in (wave, mass / wave, transform.subs(p, 0))]
    np.testing.assert_allclose([field.Z, field.u2, field.K0], exact, rtol=1e-14)
    start = potential_start(2.0, [3.0, 4.0], field)
    np.testing.assert_allclose(start[:, 1], 48 / exact[0] ** 2)
    np.testing.assert_allclose(start[:, 2], np.array([2160, 2880]) / exact[0] ** 3)
    np.testing.assert_allclose(start[:, 0], exact[1])


def pair_tensor(order):
    """Symbols v_(ab)(cd).. on two points, symmetric within pairs and under exchange of pairs."""
    v = np.empty((2,) * order, dtype=object)
    for legs in product(range(2), repeat=order):
        pairs = sorted(tuple(sorted(legs[i : i + 2])) for i in range(0, order, 2))
        v[legs] = symbols("v_" + "_".join(f"{a}{b}" for a, b in pairs))
    return v


@pytest.mark.parametrize(("order", "divisor"), [(4, 8), (6, 48)])
def test_pair_couplings_on_a_set_of_points(order, divisor):
    """g_abcd.. is the derivative of the action -sum v f f f f / 8 or -sum u f f f f f f / 48."""
    v, fields = pair_tensor(order), symbols("f0 f1")
    everywhere = list(product(range(2), repeat=order))
    S = -sum(v[legs] * sympy.prod([fields[i] for i in legs]) for legs in everywhere) / divisor
    g = action_from_pairs(v)
    for legs in everywhere:
        assert sympy.expand(sympy.diff(S, *[fields[i] for i in legs]) - g[legs]) == 0
    numbers = np.random.default_rng(1).normal(size=(3,) * order)
    numbers = sum(numbers.transpose(p) for p in permutations(range(order)))
    np.testing.assert_allclose(action_from_pairs(pairs_from_action(numbers)), numbers, rtol=1e-12)


def test_cumulant_of_the_pair_coupling():
    """S = f^2 / (2 K) - v f^4 / 8 has the connected four-point function 3 v K^4 to first order: v K^4 = V / N."""
    K, v = symbols("K v", positive=True)
    gaussian = {n: sympy.factorial2(n - 1) * K ** (n // 2) for n in (2, 4, 6, 8)}
    change = {n: v / 8 * (gaussian[n + 4] - gaussian[n] * gaussian[4]) for n in (2, 4)}
    assert sympy.expand(change[4] - 6 * gaussian[2] * change[2] - len(pairings(4)) * v * K**4) == 0


def test_bad_input_is_refused():
    here = Couplings("hms", 1.0, 2.0, 3.0)
    with pytest.raises(ValueError, match="use one of hms, demirtas, ryh, erbin"):
        translate(here, "other")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="needs Z"):
        translate(here, "erbin")
    with pytest.raises(ValueError, match="sigma_w > 0"):
        gauss_field(0.0, 1)
    with pytest.raises(ValueError, match="dimension >= 1"):
        gauss_field(1.0, 0)
    for function in (action_from_pairs, pairs_from_action):
        with pytest.raises(ValueError, match="four or six"):
            function(np.ones((2, 2)))
