"""What every network must do, taken from the registry: law, shapes, keys, samplers that agree, its own prediction."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nnqft.core.packing import pack, pairing_products
from nnqft.nets.registry import network, networks
from nnqft.predictions.outputs import theory
from nnqft.spec.grid import architecture

CASES = [  # of each network the first example here, the others among the slow tests
    pytest.param((name, i), id=f"{name}-{i}", marks=[pytest.mark.slow] if i and (name, i) != ("mlp", 1) else [])
    for name, kind in networks().items()
    for i in range(max(1, len(kind.examples)))
]
KEY = jnp.array([3, 5], dtype=jnp.uint32)


def example(case):
    kind = networks()[case[0]]
    assert kind.examples, f"{case[0]} gives no example for this test"
    return architecture(**kind.examples[case[1]], network=case[0])


def draw(a, width, numbers, sampler="conditional", key=KEY, dtype="float64"):
    net = network(a, width, sampler, dtype)
    x, scales = jnp.asarray(a.x), (jnp.float64(a.sigma_w), jnp.float64(a.sigma_b))
    return net, features(net, key, jnp.asarray(numbers, dtype=jnp.uint32), x, *scales), scales


@partial(jax.jit, static_argnums=0)
def features(net, *arguments):
    return net.features(*arguments)


@partial(jax.jit, static_argnums=0)
def kernel(net, *arguments):
    return net.kernel(*arguments)


@partial(jax.jit, static_argnums=0)
def outputs(net, *arguments):
    return net.output(*arguments, outputs=2)


def moments(a, width, networks, sampler="conditional", key=KEY):
    """G2 and G4c of the marginal estimator, and their standard errors from 64 groups."""
    most = 2**21 // (width * len(a.coordinates) * (width if sampler == "weights" else 1))
    batch = min(2**13, max(64, 2 ** int(np.log2(most))))
    kernels = []
    for start in range(0, networks, batch):
        net, found, scales = draw(a, width, np.arange(start, min(start + batch, networks)), sampler, key, "float32")
        kernels.append(pack(np.asarray(kernel(net, found.units, *scales))))
    X = np.concatenate(kernels)
    left, right = np.triu_indices(X.shape[1])
    groups = []
    for part in np.array_split(X, 64):
        d = part - X.mean(axis=0)
        covariance = (d[:, left] * d[:, right]).mean(axis=0) * len(X) / (len(X) - 1)
        groups.append(np.concatenate([part.mean(0), covariance[pairing_products(len(a.coordinates))].sum(-1)]))
    groups = np.array(groups)
    return groups.mean(axis=0), groups.std(axis=0, ddof=1) / 8


@pytest.mark.parametrize("case", CASES)
def test_shapes_dtypes_and_kernel(case):
    a = example(case)
    n = len(a.coordinates)
    for dtype in ("float32", "float64"):
        net, found, scales = draw(a, 6, range(8), dtype=dtype)
        assert found.units.shape == (8, net.units, n)
        assert found.units.dtype == dtype
        K = np.asarray(kernel(net, found.units, *scales))
        assert K.shape == (8, n, n)
        assert K.dtype == np.float64
        assert np.linalg.eigvalsh(K).min() > -1e-6 * K.max()
        f = outputs(net, KEY, jnp.arange(8, dtype=jnp.uint32), found.units, *scales)
        assert f.shape == (8, 2, n)
        assert np.isfinite(np.asarray(f)).all()
        if net.independence == "given":
            assert found.covariance.shape == (8, n, n)
            assert found.covariance.dtype == np.float64


@pytest.mark.parametrize("case", CASES)
def test_a_network_depends_on_its_key_and_number_alone(case):
    a = example(case)
    for sampler in network(a, 6).samplers[:2]:
        together = np.asarray(draw(a, 6, range(8), sampler)[1].units)
        alone = np.asarray(draw(a, 6, [5, 2], sampler)[1].units)
        np.testing.assert_allclose(alone, together[[5, 2]], rtol=1e-5, atol=1e-6)
        other = np.asarray(draw(a, 6, range(8), sampler, KEY + 1)[1].units)
        spread = together.std(axis=0).max()
        assert np.abs(other - together).max() > 0.1 * spread
        assert len({u.tobytes() for u in together}) == 8


@pytest.mark.parametrize("case", CASES)
def test_samplers_have_one_law(case):
    a = example(case)
    if "conditional" not in network(a, 8).samplers:
        return
    (one, error), (two, other) = (moments(a, 8, 24_576, s, KEY + i) for i, s in enumerate(("conditional", "weights")))
    assert np.abs((one - two) / np.hypot(error, other)).max() < 5
    assert error[0] < 0.1 * abs(one[0])


@pytest.mark.parametrize("case", CASES)
def test_samples_agree_with_the_prediction(case):
    a, width = example(case), 64
    found, error = moments(a, width, 8192)
    predicted = theory(a, [width], (2, 4))
    assert predicted.prediction[4] != "none", predicted.reason[4]
    P = len(predicted.values["G2_gp"])
    for order, name, part in ((2, "G2", slice(None, P)), (4, "G4c", slice(P, None))):
        value, bar = predicted.values[name][0], np.hypot(error[part], predicted.errors[name][0])
        if predicted.prediction[order] == "none":
            continue
        slack = 0.0 if predicted.prediction[order] in ("exact", "quadrature") else 0.2
        assert np.all(
            np.abs(found[part] - value) < 4.5 * bar + slack * np.abs(value).max() / (1 if order == 4 else width)
        )
    np.testing.assert_allclose(found[:P], predicted.values["G2_gp"], atol=6 / width * np.abs(found[:P]).max())


@pytest.mark.parametrize("case", CASES)
def test_infinite_width_kernels_are_kernels(case):
    a = example(case)
    K = network(a, 4).gp_kernel(a.x, a.sigma_w, a.sigma_b)
    np.testing.assert_allclose(K, K.T, rtol=1e-12)
    assert np.linalg.eigvalsh(K).min() > -1e-10 * K.max()


@pytest.mark.parametrize("case", CASES)
def test_features_are_differentiable_in_the_points(case):
    """For field configurations and tangent kernels: finite, and equal to a difference quotient."""
    a = example(case)
    net = network(a, 5, "weights")
    numbers, scales = jnp.arange(3, dtype=jnp.uint32), (jnp.float64(a.sigma_w), jnp.float64(a.sigma_b))

    @jax.jit
    @jax.value_and_grad
    def total(x):
        return jnp.sum(jnp.sin(net.features(KEY, numbers, x, *scales).units))

    x = jnp.asarray(a.x)
    direction = jnp.asarray(np.random.default_rng(1).normal(size=a.x.shape))
    slope = float(jnp.sum(total(x)[1] * direction))
    step = 1e-5
    quotient = float(total(x + step * direction)[0] - total(x - step * direction)[0]) / (2 * step)
    assert np.isfinite(slope)
    assert slope == pytest.approx(quotient, rel=1e-3, abs=1e-3)
