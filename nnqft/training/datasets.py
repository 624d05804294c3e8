"""Labelled points to train on, always the same ones.

Inputs are scaled so that the mean of |x|^2 / d_in over the training points is 1: the first kernel is then
K^(1) = C_b + C_W on average. Not q*: that would be another data set for every sigma_w, and lengths forget their start
within xi_q, a few layers, wherever xi_c is long (Schoenholz et al. 1611.01232).

    clusters        4 Gaussian clusters in 10 dimensions: x = m_class + SPREAD u, every entry of m and u N(0, 1),
                    40 training and 40 test points of each class, then scaled. The four means are fixed; distances
                    between them are many SPREADs, so the classes are linearly separable.
    digits          50 training and 50 test images of each of the 10 classes of `digits-full`.
    digits-full     all 1,797 images, 8 x 8, of scikit-learn's load_digits (its copy of the UCI Optical Recognition of
                    Handwritten Digits test set; Alpaydin and Kaynak 1998): of every class the first 80%, rounded down,
                    in a fixed random order to train on, the others to test. The mean training image is subtracted,
                    then everything divided by one number.

Draws and orders come from the counter of nnqft.core.normals with the key of `KEY`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from nnqft.core.errors import InputError
from nnqft.core.hashing import block_key
from nnqft.core.normals import normals

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

KEY = {"dataset": "nnqft"}
CLASSES, DIMENSION, PER_CLASS = 4, 10, 40
SPREAD = 0.5
"""Standard deviation within a cluster, in units of that of the entries of the clusters' means."""
SMALL = 50
"""Images of a class in either half of `digits`."""


@dataclass(frozen=True, eq=False)
class Data:
    """x (points, d_in) float64, y (points,) int64 in 0 ... classes - 1, classes in equal or nearly equal numbers."""

    name: str
    x_train: Array
    y_train: Labels
    x_test: Array
    y_test: Labels
    classes: int


@lru_cache(maxsize=8)
def dataset(name: str) -> Data:
    """The data set of that name; its arrays are read-only.

    Raises:
        InputError: for an unknown name, or for digits without scikit-learn.
    """
    if name not in DATASETS:
        raise InputError("data", f"no data set {name!r}", f"use one of {', '.join(DATASETS)}")
    data = DATASETS[name](name)
    for array in (data.x_train, data.y_train, data.x_test, data.y_test):
        array.flags.writeable = False
    return data


def _clusters(name: str) -> Data:
    means = _draw(0, CLASSES)
    labels = np.arange(2 * PER_CLASS * CLASSES) % CLASSES
    x = means[labels] + SPREAD * _draw(1, len(labels))
    half = len(labels) // 2
    return _scaled(name, x[:half], labels[:half], x[half:], labels[half:], CLASSES)


def _full(name: str) -> Data:
    x, y = _images()
    return _split(name, x, y, [int(0.8 * np.sum(y == c)) for c in range(10)], [len(y)] * 10)


def _small(name: str) -> Data:
    return _split(name, *_images(), [SMALL] * 10, [SMALL] * 10)


DATASETS: dict[str, Callable[[str], Data]] = {"clusters": _clusters, "digits": _small, "digits-full": _full}


def _split(name: str, x: Array, y: Labels, train: list[int], test: list[int]) -> Data:
    """Of every class the first so many and the next so many, in a fixed random order."""
    order = np.argsort(_normals(2, len(y), 1)[:, 0], kind="stable")
    members = [order[y[order] == c] for c in range(10)]
    first = np.concatenate([which[:n] for which, n in zip(members, train, strict=True)])
    second = np.concatenate([which[n : n + m] for which, n, m in zip(members, train, test, strict=True)])
    centre = x[first].mean(axis=0)
    return _scaled(name, x[first] - centre, y[first], x[second] - centre, y[second], 10)


def _scaled(name: str, x_train: Array, y_train: Labels, x_test: Array, y_test: Labels, classes: int) -> Data:
    size = np.sqrt(np.mean(x_train**2))
    return Data(name, x_train / size, y_train.astype(np.int64), x_test / size, y_test.astype(np.int64), classes)


def _images() -> tuple[Array, Labels]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError("data", "digits need scikit-learn", "install it, or use clusters") from None
    x, y = load_digits(return_X_y=True)
    return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.int64)


def _draw(salt: int, rows: int) -> Array:
    return _normals(salt, rows, DIMENSION)


def _normals(salt: int, rows: int, columns: int) -> Array:
    """(rows, columns) fixed standard normals."""
    key = jnp.asarray(block_key(KEY, salt))
    parts = normals(key, jnp.zeros(1, dtype=jnp.uint32), rows, columns)
    return np.stack([np.asarray(part, dtype=np.float64)[0] for part in parts], axis=1)
