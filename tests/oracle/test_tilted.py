"""The Gauss-net where its correlators come from: importance sampling against HMS's closed form."""

import numpy as np
import pytest

from nnqft.predictions.outputs import theory
from nnqft.sampling.groups import measure
from nnqft.spec.grid import architecture

WIDTH = 16
NET = architecture([[-0.01], [-0.006], [-0.002], [0.002], [0.006], [0.01]], "gauss", 1, 1.0, 1.0)


@pytest.fixture(scope="module")
def tilted():
    return measure(NET, WIDTH, 16_384, 5, sampler="tilted")


@pytest.mark.parametrize(("order", "reference", "accuracy"), [(4, 160.86 / WIDTH, 0.01), (6, 2441825 / WIDTH**2, 0.05)])
def test_tilted_sampling_measures_what_plain_sampling_cannot(tilted, order, reference, accuracy):
    name = f"G{order}c"
    found, error, exact = tilted.values[name], tilted.stderr[name], theory(NET, [WIDTH]).values[name][0]
    assert exact.max() == pytest.approx(reference, rel=1e-3)  # the table's largest component, to its digits
    assert tilted.trusted[order]
    assert np.all(error < accuracy * exact)
    assert np.abs((found - exact) / error).max() < 4
    assert np.abs((found - (1 + 5 * accuracy) * exact) / error).min() > 4  # a wrong prediction is far away


def test_the_same_number_of_plain_networks_is_not_trusted():
    assert not measure(NET, WIDTH, 16_384, 5).trusted[4]
