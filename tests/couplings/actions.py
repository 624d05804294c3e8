"""Exact oracles for the action on a finite set of points: cos-nets by Fourier inversion, exp(-S) by quadrature."""

from itertools import product
from math import factorial, prod

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import ive, j0

from nnqft.core.packing import multisets, splits, wick

ONE_POINT = {"unit": (1.0, -1.5, 10.0), "gauss": (1.0, 1.5, 0.0)}
"""kappa_2, kappa_4, kappa_6 of sqrt(2) cos c and a sqrt(2) cos c, a ~ N(0, 1)."""


def connected(second, fourth, sixth, n):
    """Joint cumulants, packed, from moments (or from p^-1 d^k p: the same combinatorics)."""
    four = fourth - wick(second, n, 4)
    left, right = splits(n, 2, 4)
    return four, sixth - (second[left] * four[right]).sum(-1) - wick(second, n, 6)


def one_point_exact(net, width):
    """-d^n ln p(0), n = 2, 4, 6, from p = int e^{-it phi} f(t / sqrt N)^N dt / 2 pi."""
    t = np.linspace(0, 60, 60_001)
    u = t / np.sqrt(width)
    f = j0(np.sqrt(2) * u) if net == "unit" else ive(0, u**2 / 2)
    return _log_derivatives(t[:, None], f**width, np.where(t == 0, 0.5, 1.0))


def two_point_exact(width, x):
    """The same for two points of the cos-net with Gaussian amplitudes and b ~ N(0, 1), x = (0, x)."""
    b, w = hermegauss(40)
    t = np.linspace(-20, 20, 251)
    t1, t2 = (a.ravel() for a in np.meshgrid(t, t, indexing="ij"))
    f = sum(
        wi * ive(0, (t1**2 + t2**2 + 2 * t1 * t2 * np.cos(bi * x)) / width / 2) for bi, wi in zip(b, w, strict=True)
    )
    return _log_derivatives(np.stack([t1, t2], axis=1), (f / w.sum()) ** width, np.ones(len(t1)))


def _log_derivatives(t, f, weights):
    n = t.shape[1]
    moments = {k: np.array([(f * weights) @ t[:, list(c)].prod(1) for c in multisets(n, k)]) for k in (2, 4, 6)}
    total = f @ weights
    second, fourth, sixth = (moments[k] / total * (-1) ** (k // 2) for k in (2, 4, 6))
    four, six = connected(second, fourth, sixth, n)
    return -second, -four, -six


def two_point_cumulants(x):
    """kappa_2, kappa_4, kappa_6 of one neuron a sqrt(2) cos(b x + c) at (0, x): sums over signs, exact."""
    spots, packed = np.array([0.0, x]), []
    for order, amplitude in ((2, 1.0), (4, 3.0), (6, 15.0)):
        signs = np.array([e for e in product((-1, 1), repeat=order) if sum(e) == 0])
        legs = spots[multisets(2, order)]
        packed.append(amplitude * 2 ** (-order / 2) * np.exp(-((legs @ signs.T) ** 2) / 2).sum(1))
    return packed[0], *connected(*packed, 2)


def cumulants_of_action(g2, g4, g6, n):
    """G2, G4c, G6c, packed, of exp(-g2 phi phi / 2 - g4 phi^4 / 4! - g6 phi^6 / 6!) by Gauss-Hermite quadrature."""
    nodes, weights = hermegauss({1: 120, 2: 70, 3: 40}[n])
    u = np.stack(np.meshgrid(*[nodes] * n, indexing="ij"), axis=-1).reshape(-1, n)
    w = np.prod(np.stack(np.meshgrid(*[weights] * n, indexing="ij"), axis=-1).reshape(-1, n), axis=1)
    matrix = np.zeros((n, n))
    for value, (a, b) in zip(g2, multisets(n, 2), strict=True):
        matrix[a, b] = matrix[b, a] = value
    phi = u @ np.linalg.inv(np.linalg.cholesky(matrix))
    action = sum(_polynomial(g, phi, n, order) for g, order in ((g4, 4), (g6, 6)))
    density = w * np.exp(-action)
    density /= density.sum()
    return (density @ phi[:, multisets(n, 2)].prod(-1), *connected(
        *(density @ phi[:, multisets(n, k)].prod(-1) for k in (2, 4, 6)), n))  # fmt: skip


def _polynomial(g, phi, n, order):
    """sum over all legs of g phi^order / order!."""
    legs = multisets(n, order)
    repeats = np.array([prod(factorial(list(row).count(a)) for a in range(n)) for row in legs.tolist()])
    return phi[:, legs].prod(-1) @ (g / repeats)
