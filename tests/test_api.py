"""What `import nnqft` offers, used as in a notebook."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import nnqft
from nnqft.core.errors import InputError


def test_outputs_cumulants_and_theory_agree():
    net = nnqft.architecture([[0.3], [0.8]], "relu", sigma_w=1.2, sigma_b=0.4)
    f = nnqft.sample(net, width=4, key=jax.random.key(3), networks=200_000)
    assert f.shape == (200_000, 2)
    found, exact = nnqft.cumulants(f), nnqft.theory(net, [4])
    for name in ("G2", "G4c", "G4"):
        pulls = (found.values[name] - getattr(exact, name)[0]) / found.stderr[name]
        assert np.abs(pulls).max() < 4
    assert exact.prediction[4] == "quadrature"


def test_networks_do_not_depend_on_how_many_are_drawn():
    net = nnqft.architecture([[0.3], [0.8]], "tanh", depth=2)
    many, few = nnqft.sample(net, 5, 7, 300), nnqft.sample(net, 5, jax.random.key(7), 10)
    np.testing.assert_allclose(many[:10], few, rtol=1e-13)
    assert not np.allclose(few, nnqft.sample(net, 5, 8, 10))


def test_bad_requests_are_refused():
    with pytest.raises(InputError, match="use one of linear"):
        nnqft.sample(nnqft.architecture([[1.0]], "relo"), 3, 0)
    with pytest.raises(InputError, match="infinite variance"):
        nnqft.sample(nnqft.architecture([[1.0]], "gauss", depth=2), 3, 0)
    with pytest.raises(InputError, match="conditional or weights"):
        nnqft.sample(nnqft.architecture([[1.0]], "relu"), 3, 0, sampler="tilted")
    with pytest.raises(FileNotFoundError, match="run the scan first"):
        nnqft.open_results("no-such-folder")
    with pytest.raises(ValueError, match="finite"):
        nnqft.cumulants(np.full((100, 2), np.nan))
    with pytest.raises(AttributeError, match="no attribute"):
        _ = nnqft.nothing


def test_the_package_itself_imports_nothing_heavy():
    code = "import nnqft, sys; print([m for m in ('jax', 'xarray', 'dask', 'zarr', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
