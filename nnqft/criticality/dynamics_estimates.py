"""Exponents, correlators and spectra of recurrent networks from the sums of their blocks, with theory beside them.

Errors by a delete-one-group jackknife over networks. Quenched and annealed exponents differ at order 1 / N
(docs/recurrent-dynamics.md):

    lyapunov:           E (1/T) sum_t ln |v_(t+1)| / |v_t|,
    lyapunov_annealed:  ln E delta / 2 T_w,    delta = |v_(t+T_w)|^2 / |v_t|^2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.criticality import leaky
from nnqft.criticality.dmft import correlator
from nnqft.criticality.dynamics import DynamicsSpec, finite
from nnqft.criticality.lyapunov import exponent
from nnqft.criticality.pairs import UndefinedError, pairs
from nnqft.estimation.jackknife import merge, stderr
from nnqft.nets.activations import Activation

Array = NDArray[np.float64]

REPLICATES = 64
"""Most jackknife groups."""
FEW_WINDOWS = "a few windows carry the average"
LEAST_SAMPLES, LEAST_SHARE = 50.0, 0.01
"""Effective windows, and their share of all, below which a few windows carry the annealed average."""


@dataclass(frozen=True)
class Estimate:
    """value (*shape), its standard error, and leave-one-group-out values (R, *shape), all float64.

    stderr is NaN (and there are no replicates) for a single sub-batch, the value where sums overflowed. share:
    effective number of samples (sum delta)^2 / sum delta^2 over their number, for averages of exponentials; trusted:
    whether these are enough and no network was lost; reason: why not.
    """

    value: Array
    stderr: Array
    replicates: Array
    share: float = 1.0
    trusted: bool = True
    reason: str = ""


def estimates(
    spec: DynamicsSpec, sums: Mapping[str, ArrayLike], count: ArrayLike, rate: float = 0.0
) -> dict[str, Estimate]:
    """Estimates from sums (B, *shape) of B sub-batches, in the order in which they were drawn, of any blocks.

    count: networks in each of them, (B,) or one number for all; rate: as given to the blocks. Networks that were lost
    (see DynamicsSpec.layout) are left out, and nothing is trusted then; NaN if all were. Returns lyapunov,
    lyapunov_annealed, correlator (times + 1, times + 1), autocorrelation (times + 1,), and with a spectrum spectrum
    (width,), dimension, entropy.
    """
    totals = {name: np.asarray(sums[name], dtype=np.float64) for name in spec.layout}
    every = np.broadcast_to(np.asarray(count, dtype=np.float64), (len(totals["exponent"]),))
    networks, lost = every - totals["lost"], int(totals["lost"].sum())

    def mean(name: str) -> Estimate:
        return _jackknifed(lambda x, n: x / n.reshape(-1, *[1] * (x.ndim - 1)), totals[name], networks)

    found = {"lyapunov": mean("exponent"), "lyapunov_annealed": _annealed(spec, totals, networks, finite(rate))}
    found |= {name: mean(name) for name in ("correlator", "autocorrelation")}
    if spec.spectrum:
        found |= {name: mean(name) for name in ("spectrum", "dimension", "entropy")}
    if lost:
        reason = f"{lost} of {int(every.sum())} networks died or overflowed"
        return {name: replace(estimate, trusted=False, reason=reason) for name, estimate in found.items()}
    return {n: e if e.trusted else replace(e, reason=FEW_WINDOWS) for n, e in found.items()}


def theory(
    activation: str | Activation,
    sigma_w: float,
    sigma_b: float = 0.0,
    noise: float = 0.0,
    gamma: float = 1.0,
    initial: float = 1.0,
    tied: bool = True,
    times: int = 12,
) -> dict[str, Any]:
    """Infinite width: what `estimates` converge to. NaN where unknown, with the reason.

    lyapunov_theory float; correlator (times + 1, times + 1) from h_0 on; autocorrelation (times + 1,) of the
    stationary state and its variance q_star, float; `reasons`: name -> why it is missing.

    Raises:
        InputError: for numbers that no network can have.
    """
    found: dict[str, Any] = {}
    reasons: dict[str, str] = {}

    def put(name: str, missing: Any, function: Callable[[], Any]) -> None:
        try:
            found[name] = function()
        except UndefinedError as error:
            found[name], reasons[name] = missing, str(error)

    law = activation, sigma_w, sigma_b, noise
    gone = np.full(times + 1, np.nan)

    def rows() -> Array:
        full = correlator(activation, max(times, 1), *law[1:], initial=initial, gamma=gamma, tied=tied)
        return full[: times + 1, : times + 1]

    def lags() -> Array:
        return leaky.autocorrelation(leaky.Law(pairs(activation), *law[1:], gamma, tied), times)

    put("lyapunov_theory", float("nan"), lambda: exponent(*law, gamma=gamma, tied=tied))
    put("correlator", np.full((times + 1, times + 1), np.nan), rows)
    put("autocorrelation", gone, lags)
    found["q_star"] = float(found["autocorrelation"][0])
    if "autocorrelation" in reasons:
        reasons["q_star"] = reasons["autocorrelation"]
    return found | {"reasons": reasons}


def _annealed(spec: DynamicsSpec, totals: dict[str, Array], networks: Array, rate: float) -> Estimate:
    """Exponents of mean windows; trusted while many windows share the mean."""

    def value(delta: Array, n: Array) -> Array:
        return np.log(delta / (n * spec.windows)) / (2 * spec.horizon) + rate

    found = _jackknifed(value, totals["window"], networks)
    first, second = totals["window"].sum(), totals["window_square"].sum()
    samples, windows = (first**2 / second if second > 0 else 0.0), networks.sum() * spec.windows
    share = float(samples / windows) if windows > 0 else 0.0
    trusted = bool(np.isfinite(first) and samples >= LEAST_SAMPLES and share >= LEAST_SHARE)
    return Estimate(found.value, found.stderr, found.replicates, share, trusted)


def _jackknifed(function: Callable[[Array, Array], Array], sums: Array, networks: Array) -> Estimate:
    """A function of sums (r, ...) over networks (r,), and its jackknife over groups of sub-batches."""
    with np.errstate(all="ignore"):
        value = function(sums.sum(axis=0)[None], networks.sum()[None])[0]
        value = np.where(np.isfinite(value), value, np.nan)
        if len(sums) < 2:
            return Estimate(value, np.full_like(value, np.nan), np.empty((0, *value.shape)))
        groups = min(len(sums), REPLICATES)
        replicates = function(sums.sum(axis=0) - merge(sums, groups), networks.sum() - merge(networks, groups))
        error = np.asarray(stderr(replicates))
    return Estimate(value, np.where(np.isfinite(error), error, np.nan), replicates)
