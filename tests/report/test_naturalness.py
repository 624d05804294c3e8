from dataclasses import replace

import numpy as np
import pytest

from nnqft.couplings.invariance import Invariance
from nnqft.couplings.kernels import leg_kernel
from nnqft.spec.grid import architecture
from nnqft.stages.layout import by_points
from nnqft.stages.naturalness import kernel_invariances, legs, naturalness_table
from nnqft.stages.naturalness_verdict import Evidence, Looked, as_expected, constant, sentence, smallest
from nnqft.stages.summary import naturalness_sheet
from nnqft.stages.tables import read_groups
from nnqft.stages.vertices import vertices
from nnqft.storage.integrals import IntegralCache

INVARIANT, NOT = Invariance(1e-15, 1e-15, 1e-10), Invariance(0.5, 0.001, 1e-10)
YES, NO = Looked(0.4, 6, (0, 0, 0)), Looked(1e-9, 6, (0, 0, 0))


@pytest.fixture(scope="module")
def groups(finished):
    return {points: {k: v.load() for k, v in group.items()} for points, group in read_groups(*finished).items()}


@pytest.fixture(scope="module")
def rows(finished, groups):
    return by_name(finished, groups)


def by_name(finished, groups):
    scan, layout = finished
    found = naturalness_table(scan, groups, IntegralCache(layout.integrals))
    return {row["architecture"]: row for row in found.records()}


@pytest.mark.parametrize(
    ("moved", "coupling", "features", "shifts", "expected", "says"),
    [
        (INVARIANT, YES, NO, YES, "yes", "a constant is accepted and explains 90%"),
        (INVARIANT, YES, NO, Looked(), "yes", "no translates"),
        (INVARIANT, NO, NO, YES, "yes", "misses derivatives, not positions"),
        (INVARIANT, NO, NO, NO, "no", "the interactions break what the kernel has"),
        (INVARIANT, YES, NO, NO, "no", "the interactions break what the kernel has"),
        (INVARIANT, NO, NO, Looked(), "no statement", "no translates"),
        (INVARIANT, Looked(), NO, YES, "yes", "no test of a constant: why"),
        (INVARIANT, YES, YES, YES, "no statement", "the data see no dependence of G4c on its legs"),
        (NOT, NO, NO, NO, "yes", "changes by 0.50 under translations, by 0.0010 over the points"),
        (NOT, YES, NO, NO, "no", "a constant is accepted"),
        (NOT, YES, YES, NO, "no statement", "the data see no dependence"),
        (NOT, Looked(), NO, NO, "no statement", "no test of a constant: why"),
        (replace(NOT, violation=np.nan, reason="no kernel"), NO, NO, NO, "no statement", "not evaluated (no kernel)"),
    ],
)
def test_verdicts(moved, coupling, features, shifts, expected, says):
    evidence = Evidence(
        moved, coupling, coupling, featureless=features, shifts=shifts, explained=0.9, spread=0.1, reason="why"
    )
    assert constant(evidence) == {YES: "accepted", NO: "rejected"}.get(coupling, "not testable")
    assert as_expected(evidence) == expected
    assert says in sentence(evidence)


def test_a_cutoff_that_works_and_a_fit_that_sees_nothing_are_named():
    evidence = Evidence(NOT, NO, YES, best_cutoff=7.0, p_best_cutoff=0.2, explained=-2.0, spread=1.9e-4)
    assert "rejected except at the cutoff 7 by differences of 0.019% that the fit does not see" in sentence(evidence)
    assert "explains nothing of it" in sentence(evidence)


def test_smallest_of_several_p_values():
    found = smallest(np.array([[0.2, np.nan], [0.01, 0.7]]))
    assert (found.p_value, found.looks, found.at) == (pytest.approx(0.03), 3, (1, 0))
    assert smallest(np.array([0.6, 0.7])).p_value == 1.0
    assert np.isnan(smallest(np.array([np.nan])).p_value)


@pytest.mark.parametrize("activation", ["relu", "erf", "gauss", "softplus"])
def test_legs_are_those_of_the_vertices(activation):
    a = architecture([[0.3, -0.2], [1.0, 0.4]], activation, sigma_w=1.2, sigma_b=0.6)
    y = np.array([[0.1, 2.0], [-0.5, 0.3], [0.0, 0.0]])
    expected = leg_kernel(activation, 1.2, 0.6, a.x, y)
    np.testing.assert_allclose(legs(a)(a.x, y), expected, rtol=1e-10, atol=1e-12)


def test_kernels_of_networks_without_vertices():
    deep = kernel_invariances(architecture([[0.3, -0.2], [1.0, 0.4]], "relu", depth=3))
    assert [found.holds for found in deep] == [False, True, True]
    assert deep[2].degree == pytest.approx(2)
    images = architecture(np.eye(4), "erf", network="convolutional", shape=[4], readout="pool")
    assert [found.holds for found in kernel_invariances(images)] == [False, False, False]


def test_a_row_for_every_architecture(finished, rows):
    scan, _ = finished
    assert list(rows) == [a.name for group in by_points(scan).values() for a in group]
    relu, erf, gauss = rows["relu"], rows["erf[sigma_w=1.0]"], rows["gauss"]
    assert (relu["kernel_translation"], relu["kernel_rotation"], relu["kernel_scaling"]) == ("no", "yes", "yes")
    assert (relu["constant"], relu["as_expected"], relu["modes"]) == ("not testable", "no statement", 1)
    assert "rank 1" in relu["status"]
    assert (erf["kernel_translation"], erf["constant"], erf["as_expected"]) == ("no", "rejected", "yes")
    assert 0 < erf["p_constant"] < 1e-3
    assert erf["looks"] == 2 * 2 * 3  # fit and components, widths, cutoffs
    assert erf["width"] in (4, 16)
    assert erf["cutoff"] in (5.0, 20.0, 80.0)
    assert (gauss["kernel_translation"], gauss["constant"], gauss["as_expected"]) == (
        "yes",
        "not testable",
        "no statement",
    )
    assert "not converged" in gauss["status"]
    assert np.isnan(gauss["p_constant"])


def test_a_planted_constant_is_accepted(finished, groups):
    """The G4c of the Erf-net replaced by -24 lambda I4 at the last cutoff, with its own relative noise."""
    scan, layout = finished
    a, data = scan_erf(scan), groups["ray"]["cumulants"].copy(deep=True)
    I4 = vertices(a, scan.couplings.cutoffs, 3, IntegralCache(layout.integrals)).integrals["I4"][-1]
    generator = np.random.default_rng(1)
    at = list(data["architecture"].values).index(a.name)
    for w in range(2):
        noise = 0.1 * np.abs(I4) * generator.standard_normal((data.sizes["replicate"], len(I4)))
        groups_of = I4 * (1 + 0.5 * generator.standard_normal((len(noise), 1))) + noise
        mean = groups_of.mean(axis=0)
        data["G4c"].values[at, w] = mean
        data["G4c_replicate"].values[at, w] = mean - (groups_of - mean) / (len(noise) - 1)
    fits = groups["ray"]["couplings"].copy(deep=True)
    fits["p_value"].values[at] = np.nan
    planted = groups | {"ray": groups["ray"] | {"cumulants": data, "couplings": fits}}
    row = by_name(finished, planted)[a.name]
    assert row["best_cutoff"] == 80.0
    assert row["p_best_cutoff"] > 0.01
    assert np.isnan(row["p_fit"])


def scan_erf(scan):
    return next(a for group in by_points(scan).values() for a in group if a.name == "erf[sigma_w=1.0]")


def test_without_four_point_functions_the_kernels_remain(finished, groups):
    gone = [name for name in groups["ray"]["cumulants"].data_vars if str(name).startswith(("G4", "G6"))]
    short = {p: g | {"cumulants": g["cumulants"].drop_vars(gone).sel(order=[2])} for p, g in groups.items()}
    row = by_name(finished, short)["relu"]
    assert row["kernel_rotation"] == "yes"
    assert row["constant"] == "not testable"
    assert "not estimated" in row["status"]


def test_the_sheet_says_what_the_table_says(finished, groups):
    scan, layout = finished
    numbers = naturalness_table(scan, groups, IntegralCache(layout.integrals))
    sheet = naturalness_sheet(numbers)
    assert [row[1] for row in sheet.rows] == numbers.column("architecture")
    assert {len(row) for row in sheet.rows} == {len(sheet.columns)}
    assert sheet.rows[0][4] == "yes (2)"
    assert (layout.tables / "naturalness.csv").read_text() == numbers.csv()
    assert "Technical naturalness" in layout.report.read_text()
