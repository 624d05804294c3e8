"""Geometry of filters on signals and images: which positions a filter covers, and what that does to kernels."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Patches:
    """Filters of `width` (odd) taps along every dimension of a signal or image of that shape, stride 1, same size."""

    shape: tuple[int, ...]
    width: int
    circular: bool

    @property
    def positions(self) -> int:
        """P, positions of the signal or pixels of the image."""
        return int(np.prod(self.shape))

    @property
    def taps(self) -> int:
        """k_s, taps of a filter."""
        return self.width ** len(self.shape)

    @cached_property
    def table(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Which position each tap sees at each position, and whether it is inside: two arrays (taps, P)."""
        grid = np.indices(self.shape).reshape(len(self.shape), -1)
        reach = range(-(self.width // 2), self.width // 2 + 1)
        shifts = np.array(list(product(reach, repeat=len(self.shape))))
        sizes = np.array(self.shape)[:, None]
        seen = grid + shifts[:, :, None]
        inside = np.all((seen >= 0) & (seen < sizes), axis=1) | self.circular
        return np.asarray(np.ravel_multi_index(tuple(np.moveaxis(seen % sizes, 1, 0)), self.shape)), np.asarray(inside)

    def unfold(self, features: jax.Array) -> jax.Array:
        """Patches (..., channels * taps, n_x * P), zero outside, of features (..., channels, n_x * P)."""
        *lead, channels, columns = features.shape
        seen, inside = self.table
        taken = features.reshape(*lead, channels, -1, self.positions)[..., seen] * inside
        return jnp.moveaxis(taken, -2, -3).reshape(*lead, channels * self.taps, columns)

    def average(self, moment: jax.Array | NDArray[np.float64]) -> jax.Array:
        """Mean over taps of moments (..., n_x P, n_x P), both legs seen through the same tap; same shape."""
        seen, inside = self.table
        starts = np.arange(0, moment.shape[-1], self.positions)[:, None]
        total = jnp.zeros_like(moment)
        for positions, valid in zip(seen, inside, strict=True):
            columns = (starts + positions).ravel()
            mask = np.tile(valid, len(starts))
            total = total + moment[..., columns[:, None], columns] * np.outer(mask, mask)
        return total / self.taps
