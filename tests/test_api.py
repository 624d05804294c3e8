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
        pulls = (found.values[name] - exact.values[name][0]) / found.stderr[name]
        assert np.abs(pulls).max() < 4
    assert exact.prediction[4] == "quadrature"


@pytest.mark.slow
def test_several_outputs_share_the_layers_below():
    """d_out = 2: E f1 f1 f2 f2 - E f1 f1 E f2 f2 = Cov(Khat, Khat), the correlator that `measure` calls G4c_outputs."""
    net = nnqft.architecture([[0.3], [0.8]], "relu", sigma_w=1.2, sigma_b=0.4)
    f = np.asarray(nnqft.sample(net, width=2, key=4, networks=200_000, outputs=2))
    assert f.shape == (200_000, 2, 2)
    one, two = f[:, 0, 0] * f[:, 0, 1], f[:, 1, 0] * f[:, 1, 1]
    direct = np.array([np.cov(a, b)[0, 1] for a, b in zip(np.split(one, 50), np.split(two, 50), strict=True)])
    found = nnqft.measure(net, 2, 65_536)
    position = 3  # (01)(01) among the products of (00), (01), (11)
    error = np.hypot(direct.std() / np.sqrt(50), found.stderr["G4c_outputs"][position])
    assert abs(direct.mean() - found.values["G4c_outputs"][position]) < 4 * error
    assert direct.mean() > 5 * error


def test_more_jackknife_groups_than_a_block_has():
    net = nnqft.architecture([[0.3], [0.8]], "erf", sigma_w=1.2, sigma_b=0.4)
    few, many = (nnqft.measure(net, 4, 8192, replicates=replicates) for replicates in (64, 130))
    exact = nnqft.theory(net, [4])
    for name in ("G2", "G4c", "G6c"):
        assert many.replicates[name].shape == (130, few.values[name].size)
        assert np.abs((many.values[name] - exact.values[name][0]) / many.stderr[name]).max() < 4
        np.testing.assert_allclose(many.stderr[name], few.stderr[name], rtol=0.5)  # each known to 9% and 6%
    with pytest.raises(InputError, match="draw more networks"):
        nnqft.measure(net, 4, 100, replicates=128)


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
    with pytest.raises(InputError, match="use one of conditional"):
        nnqft.sample(nnqft.architecture([[1.0]], "relu"), 3, 0, sampler="foo")
    with pytest.raises(FileNotFoundError, match="run the scan first"):
        nnqft.open_results("no-such-folder")
    with pytest.raises(ValueError, match="finite"):
        nnqft.cumulants(np.full((100, 2), np.nan))
    with pytest.raises(AttributeError, match="no attribute"):
        _ = nnqft.nothing


def test_the_package_itself_imports_nothing_heavy():
    code = "import nnqft, sys; print([m for m in ('jax', 'xarray', 'dask', 'zarr', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
