"""Independent oracles: exact N G4c of one hidden layer (sigma_w = 1), and HMS's points."""

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss
from scipy.special import erf

from nnqft.core.packing import multisets, rank, splits, wick

RAY = np.array([-1.0, -0.6, -0.2, 0.2, 0.6, 1.0])[:, None]
POINTS = {
    "ray": np.arange(1, 7)[:, None] * 0.2,
    "unit": RAY,
    "small": np.arange(1, 7)[:, None] * 0.002,
    "gauss": 0.01 * RAY,
    "relu2": np.array([[0.5, 0.5], [0.5, 1.0], [1.0, 0.5], [1.0, 1.0]]),
    "relu3": np.array([[0.2, 0.2, 0.2], [1.0, 1.0, 0.2], [0.2, 1.0, 1.0], [1.0, 0.2, 1.0]]),
    "corners2": np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]),
    "corners3": np.array([[-1.0, -1.0, -1.0], [-1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, -1.0]]),
}


def component(n: int, *legs: int) -> int:
    return int(rank(np.array(legs), n))


def exact_cumulant(net: str, x: np.ndarray, sigma_b: float) -> np.ndarray:
    """N G4c (quads,) = sum over 3 pairings of E[s_a s_b s_c s_d] - E[s_a s_b] E[s_c s_d]."""
    n = len(x)
    if net == "gauss":
        second, fourth = (_lognormal_moments(x, sigma_b, order) for order in (2, 4))
    else:
        s, weights, radial = _erf_unit(x, sigma_b) if net == "erf" else _relu_unit(x)
        pairs = np.prod(s[multisets(n, 2)], axis=1)
        first, last = rank(multisets(n, 4)[:, :2], n), rank(multisets(n, 4)[:, 2:], n)
        second, fourth = radial[2] * pairs @ weights, radial[4] * ((pairs * weights) @ pairs.T)[first, last]
    return 3 * fourth - wick(second, n, 4)


def exact_sixth(net: str, x: np.ndarray, sigma_b: float) -> np.ndarray:
    """N^2 G6c (sexts,) = sum over 15 pairings of the third joint cumulant of s_a s_b, s_c s_d, s_e s_f."""
    n = len(x)
    if net == "gauss":
        second, fourth, sixth = (_lognormal_moments(x, sigma_b, order) for order in (2, 4, 6))
    else:
        s, weights, radial = _erf_unit(x, sigma_b) if net == "erf" else _relu_unit(x)
        second, fourth, sixth = (
            radial[order] * np.prod(s[multisets(n, order)], axis=1) @ weights for order in (2, 4, 6)
        )
    left, rest = splits(n, 2, 4)
    return 15 * sixth - 3 * np.sum(second[left] * fourth[rest], axis=1) + 2 * wick(second, n, 6)


def _lognormal_moments(x, sigma_b, order):
    k = sigma_b**2 + x @ x.T / x.shape[1]
    legs = multisets(len(x), order)
    pairs = k[legs[:, :, None], legs[:, None, :]].sum(axis=(1, 2)) / 2
    return np.exp(pairs - np.diagonal(k)[legs].sum(axis=1))


def _erf_unit(x, sigma_b):
    t, w = hermegauss(160)
    weights = np.multiply.outer(w, w).ravel() / (2 * np.pi)
    preactivation = x[:, 0, None, None] * t[:, None] + sigma_b * t
    return erf(preactivation).reshape(len(x), -1), weights, {2: 1, 4: 1, 6: 1}


def _relu_unit(x):
    """Directions of the weights; the radius has E r^2 = d, E r^4 = d (d + 2), E r^6 = d (d + 2) (d + 4)."""
    d = x.shape[1]
    if d == 1:
        nodes, weights = np.array([[-1.0, 1.0]]), np.array([0.5, 0.5])
    elif d == 2:
        kinks = np.arctan2(x[:, 1], x[:, 0])
        angle, weights = _gauss_between(np.concatenate([kinks + np.pi / 2, kinks - np.pi / 2]) % (2 * np.pi), 16)
        nodes, weights = np.array([np.cos(angle), np.sin(angle)]), weights / (2 * np.pi)
    else:
        nodes, weights, x = _sphere(x)
    return np.maximum(x @ nodes, 0) / np.sqrt(d), weights, {2: d, 4: d * (d + 2), 6: d * (d + 2) * (d + 4)}


def _sphere(x):
    """Slabs between the azimuths where two great circles x_i . n = 0 cross, then polar cells between the circles."""
    x = x @ np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    i, j = np.triu_indices(len(x), 1)
    vertex = np.cross(x[i], x[j])
    azimuth = np.arctan2(vertex[:, 1], vertex[:, 0])
    nodes, weights = [], []
    for phi, w in zip(*_gauss_between(np.concatenate([azimuth, azimuth + np.pi]) % (2 * np.pi), 30), strict=True):
        flat = x[:, 0] * np.cos(phi) + x[:, 1] * np.sin(phi)
        crossing = np.arctan2(-x[:, 2], flat) % np.pi
        theta, v = _gauss_between(crossing, 16, 0.0, np.pi)
        nodes.append(np.array([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]))
        weights.append(w * v * np.sin(theta) / (4 * np.pi))
    return np.concatenate(nodes, axis=1), np.concatenate(weights), x


def _gauss_between(breaks, count, start=0.0, end=2 * np.pi):
    edges = np.unique(np.concatenate([[start, end], breaks]))
    t, w = leggauss(count)
    half, middle = np.diff(edges)[:, None] / 2, (edges[1:] + edges[:-1])[:, None] / 2
    return (middle + half * t).ravel(), (half * w).ravel()


@pytest.fixture(scope="session")
def oracle():
    """Points: HMS's sets by name; component(n, a, ...): position; G4c, G6c(net, x, sigma_b): exact N G4c, N^2 G6c."""
    return SimpleNamespace(points=POINTS, component=component, G4c=exact_cumulant, G6c=exact_sixth)
