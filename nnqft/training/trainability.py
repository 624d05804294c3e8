"""From trained networks to a map of trainability: accuracies with errors, the trained fraction, the trainable depth.

Schoenholz et al. 1611.01232: networks train up to a depth of a few xi_c, about 6 in their experiments.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.core.errors import InputError

Array = NDArray[np.float64]

TRAINED = 0.95
"""Training accuracy above which a network counts as trained."""
THRESHOLD = 0.5
"""Mean training accuracy above which a depth counts as trainable."""
BOOTSTRAP = 1000
SEED = 20161104
ALL = "trains at every depth measured"
NONE = "trains at no depth measured"
EDGE = "resampled networks reach the end of the depths measured"
FEW = "one network: no scatter"
CRITICAL = "xi_c is infinite"
NO_SCALE = "no xi_c"


@dataclass(frozen=True)
class TrainableDepth:
    """The depth at which the mean accuracy falls through the threshold, in layers.

    depth: interpolated; NaN, with the reason in status, where it is not among the depths measured. stderr: of networks,
    by bootstrap. low, high: the depths measured on either side, between which the interpolation is a guess; low is 0
    where no depth trains, high infinite where all do.
    """

    depth: float
    stderr: float
    low: float
    high: float
    status: str

    def over(self, xi_c: float) -> "TrainableDepth":
        """The same in units of xi_c; all NaN at criticality or without xi_c, with the reason."""
        if not np.isfinite(xi_c) or xi_c <= 0:
            reason = CRITICAL if xi_c == np.inf else NO_SCALE
            return TrainableDepth(np.nan, np.nan, np.nan, np.nan, "; ".join(filter(None, (self.status, reason))))
        return TrainableDepth(self.depth / xi_c, self.stderr / xi_c, self.low / xi_c, self.high / xi_c, self.status)


def estimates(values: Mapping[str, Array], points: int, test_points: int) -> dict[str, Array]:
    """Means over networks with standard errors from statistics (seeds, *shape) of :func:`training_block`.

    For every name of `values` but `rate`: `name` and `name_stderr`, averaged over the networks where it is finite (NaN
    where none is); and `log_gradient_ratio`, the mean logarithm, which unlike the mean is not ruled by rare networks
    where depth / width is not small. One network has no scatter: its error is NaN but for accuracies.

    The error of an accuracy is the larger of the scatter's s / sqrt(seeds) and that of a proportion m among
    seeds x points answers, the distance from m to the farther end of the one-sigma Wilson interval:
    1 / (seeds points + 1) where every answer is right, an "at most". It never vanishes, but both speak of networks like
    those seen. That another network may fail is what `trained` says: the fraction of networks with training accuracy
    above TRAINED (those not `finite` count as failures), with its one-sigma Wilson interval `trained_low`,
    `trained_high`.

    points, test_points: how many points the two accuracies are fractions of.
    """
    found: dict[str, Array] = {}
    values = dict(values)
    if "gradient_ratio" in values:
        values["log_gradient_ratio"] = np.log(values["gradient_ratio"])
    trials = {"accuracy": points, "test_accuracy": test_points}
    for name, value in values.items():
        if name == "rate":
            continue
        mean, error, n = _mean(np.asarray(value, dtype=np.float64))
        if name in trials:
            error = np.fmax(error, resolution(mean, n * trials[name]))
        found[name], found[f"{name}_stderr"] = mean, error
    good = (np.asarray(values["accuracy"]) > TRAINED) & (np.asarray(values["finite"]) == 1)
    seeds = len(good)
    low, high = wilson(good.sum() / seeds, seeds)
    return found | {"trained": np.float64(good.sum() / seeds), "trained_low": low, "trained_high": high}  # pyright: ignore[reportReturnType]


def wilson(fraction: ArrayLike, trials: ArrayLike, z: float = 1.0) -> tuple[Array, Array]:
    """Wilson's interval of a binomial proportion, z standard deviations (J. Am. Stat. Assoc. 22 (1927) 209):

    [p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)] / (1 + z^2 / n).
    """
    p, n = np.asarray(fraction, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    middle = p + z**2 / (2 * n)
    half = z * np.sqrt(np.maximum(p * (1 - p), 0) / n + (z / (2 * n)) ** 2)
    low, high = (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)
    return np.where(p <= 0, 0.0, low), np.where(p >= 1, 1.0, high)


def resolution(mean: ArrayLike, answers: ArrayLike) -> Array:
    """The error of a proportion among independent answers that does not vanish at 0 and 1: see :func:`estimates`."""
    low, high = wilson(mean, answers)
    return np.maximum(np.asarray(mean) - low, high - np.asarray(mean))


def trainable_depth(
    depths: ArrayLike, accuracy: ArrayLike, points: int, threshold: float = THRESHOLD
) -> TrainableDepth:
    """The largest depth with mean training accuracy above `threshold`, for one sigma_w.

    depths (d,) increasing; accuracy (d, seeds) of networks drawn independently at every depth. Between the deepest
    measured depth above the threshold and the next the mean accuracy is taken as linear in ln depth. The error is the
    scatter of BOOTSTRAP replicates: at every depth networks are drawn again with replacement, deviations from the mean
    enlarged by sqrt(n / (n - 1)), and noise of the size of :func:`resolution` is added, so that networks that all agree
    leave an error too. The generator is fixed. Replicates that do not cross count at the end of the grid they stay at,
    which makes the error too small; status says so.

    Raises:
        InputError: for depths that do not increase or a table of another shape.
    """
    layers, table = np.asarray(depths, dtype=np.float64), np.asarray(accuracy, dtype=np.float64)
    if layers.ndim != 1 or len(layers) == 0 or np.any(np.diff(layers) <= 0) or layers[0] <= 0:
        raise InputError("depths", "must be positive and increase", "sort them, each once")
    if table.ndim != 2 or len(table) != len(layers) or table.shape[1] == 0 or not np.isfinite(table).all():
        raise InputError("accuracy", f"shape {table.shape} or entries do not fit", "give (depths, seeds), all finite")
    mean, seeds = table.mean(axis=1), table.shape[1]
    above = np.flatnonzero(mean > threshold)
    if len(above) == 0:
        return TrainableDepth(np.nan, np.nan, 0.0, float(layers[0]), NONE)
    last = int(above[-1])
    if last == len(layers) - 1:
        return TrainableDepth(np.nan, np.nan, float(layers[-1]), np.inf, ALL)
    generator = np.random.Generator(np.random.Philox(SEED))
    chosen = generator.integers(seeds, size=(BOOTSTRAP, *table.shape))
    drawn = np.take_along_axis(np.broadcast_to(table, chosen.shape), chosen, axis=2).mean(axis=2)
    enlarged = mean + (drawn - mean) * np.sqrt(seeds / max(1, seeds - 1))
    noise = resolution(mean, seeds * points) * generator.standard_normal(drawn.shape)
    crossings, inside = zip(*(_crossing(layers, row, threshold) for row in enlarged + noise), strict=True)
    status = FEW if seeds == 1 else "" if all(inside) else EDGE
    error = float(np.std(crossings)) if seeds > 1 else np.nan
    return TrainableDepth(
        _crossing(layers, mean, threshold)[0], error, float(layers[last]), float(layers[last + 1]), status
    )


def _crossing(layers: Array, mean: Array, threshold: float) -> tuple[float, bool]:
    """Where the mean falls through the threshold for the last time, and whether it does so within the grid."""
    above = np.flatnonzero(mean > threshold)
    if len(above) == 0:
        return float(layers[0]), False
    i = int(above[-1])
    if i == len(layers) - 1:
        return float(layers[-1]), False
    part = (mean[i] - threshold) / (mean[i] - mean[i + 1])
    return float(layers[i] * (layers[i + 1] / layers[i]) ** part), True


def _mean(value: Array) -> tuple[Array, Array, NDArray[np.int64]]:
    """Mean, standard error and number of finite entries over the first axis."""
    there = np.isfinite(value)
    n = there.sum(axis=0)
    some = np.where(there, value, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = some.sum(axis=0) / n
        scatter = (np.where(there, value - mean, 0.0) ** 2).sum(axis=0)
        error = np.sqrt(scatter / (n - 1) / n)
    return mean, error, n
