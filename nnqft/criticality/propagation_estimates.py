"""From sums over deep perceptrons (nnqft.criticality.propagation) to kernels, rates and depth scales with errors.

Errors are delete-one-group jackknife errors (nnqft.estimation.jackknife): the sums of every group in, the estimate and
its leave-one-out replicates out. What cannot be had is NaN, with the reason.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnqft.core.packing import multisets, number
from nnqft.criticality.averages import Array
from nnqft.criticality.fixed_points import depth_scale
from nnqft.criticality.propagation import RATES, PropagationSpec
from nnqft.criticality.propagation_decay import decay_scale, fit_window
from nnqft.criticality.propagation_reference import Reference
from nnqft.estimation.jackknife import stderr

TRUSTED = 0.1
"""Smallest effective share of the weights, (sum W)^2 / (number sum W^2): log-normal weights have there a variance of
ln W of 2.3, and a thousand networks still hold a hundred that count."""
MERGED = "c* = 1: the two points merge"
CLAMPED = "1 - c^2 below 1e-4 in some layers"
NOISY = 0.2
"""Relative error of a fitted decay above which it is not trusted: the fit is not linear in the noise then."""
NOISE = "the error of the fit is above 20% of its value"
FEW_WEIGHTS = f"fewer than {TRUSTED:g} of the weights count"
GROWS = "the rate is not below 1 by its error"


@dataclass(frozen=True)
class Estimate:
    """value, and stderr of its shape; replicates (groups, *shape). reason: why it is NaN, or not to be trusted."""

    value: Array
    stderr: Array
    replicates: Array
    reason: str = ""

    @property
    def trusted(self) -> bool:
        """Whether there is no reason against it."""
        return not self.reason


def estimates(
    spec: PropagationSpec, sums: dict[str, NDArray[np.float64]], count: NDArray[np.int64], reference: Reference
) -> dict[str, Estimate]:
    """Estimates by name, from sums (groups, *shape) and networks (groups,) of at least two jackknife groups.

    Of every layer, row l for z^(l+1): K (depth + 1, P); V (depth + 1, P, P) = n Cov Khat and U (depth + 1, points) =
    n^2 kappa_3(Khat_aa), both unbiased; G1 = n (E Khat - K_infinite) (depth + 1, P); correlation (depth + 1, pairs);
    gradient and gradient_log (depth + 1,): E d_l / d_1 and E ln d_l / d_1; gradient_square.
    Numbers: lambda_par, lambda_perp, lambda_pair (two points), share_* the effective share of their weights; xi_q, xi_c
    = -1 / ln lambda (xi_c of perp where c* = 1, else of pair); lyapunov = E ln g / 2 per layer, lyapunov_annealed =
    ln lambda_perp / 2, typical_par = E ln |s|; xi_q_decay, xi_c_decay: from the decay of E Khat_11 and E c_12.
    ValueError for fewer than two groups, for fewer than three networks outside a group.
    """
    if len(count) < 2 or (count.sum() - count).min() < 3:
        raise ValueError(f"need two groups and three networks outside each, got {count}")
    every = {name: _left_out(np.asarray(part, dtype=np.float64)) for name, part in sums.items()}
    N = _left_out(count.astype(np.float64))
    found = {name: _estimate(values) for name, values in _layers(spec, every, N, reference).items()}
    chaotic = float(reference.mean_field.c_star) < 1
    for k, rate in enumerate(RATES[: 2 + (spec.points > 1)]):
        found |= _rate(spec, every, rate, int(reference.burn[k]), int(reference.window[k]))
    if spec.points > 1 and not chaotic:
        found["lambda_pair"] = found["share_pair"] = _missing(len(count), MERGED)
    elif spec.points > 1 and every["pair_clamped"][0] > 0 and found["lambda_pair"].trusted:
        found["lambda_pair"] = _estimate(_stacked(found["lambda_pair"]), CLAMPED)
    found["xi_q"] = _scale(found["lambda_par"])
    if not chaotic or spec.points > 1:
        found["xi_c"] = _scale(found["lambda_pair" if chaotic else "lambda_perp"])
    perp = found["lambda_perp"]
    with np.errstate(divide="ignore", invalid="ignore"):
        found["lyapunov_annealed"] = _estimate(np.log(_stacked(perp)) / 2, perp.reason)
        logs = {rate: every[f"{rate}_log"] / every[f"{rate}_log_count"] for rate in ("par", "perp")}
    shallow = _shallow(spec, int(reference.burn[0])) if not every["perp_log_count"][0] else ""
    found["lyapunov"] = _estimate(logs["perp"] / 2, shallow)
    found["typical_par"] = _estimate(logs["par"], shallow)
    return found | _decays(spec, found, reference)


def _layers(spec: PropagationSpec, sums: dict[str, Array], N: Array, reference: Reference) -> dict[str, Array]:
    """Estimates of every layer, (groups + 1, depth + 1, ...)."""
    n, P = spec.width, number(spec.points, 2)
    mean = {name: sums[name] / N.reshape(-1, *[1] * (sums[name].ndim - 1)) for name in _OF_LAYERS}
    shift, N = mean["shift"], N[:, None, None]
    left, right = np.triu_indices(P)
    covariance = mean["product"] - shift[..., left] * shift[..., right]
    V = np.empty((*shift.shape, P))
    V[..., left, right] = V[..., right, left] = covariance * (n * N / (N - 1))
    pairs = multisets(spec.points, 2)
    own = np.flatnonzero(pairs[:, 0] == pairs[:, 1])
    square = mean["product"][..., [np.flatnonzero((left == a) & (right == a))[0] for a in own]]
    third = mean["cube"] - 3 * square * shift[..., own] + 2 * shift[..., own] ** 3
    return {
        "K": reference.centre + shift,
        "V": V,
        "G1": n * shift,
        "U": third * (n**2 * N**2 / ((N - 1) * (N - 2))),
        "correlation": mean["correlation"],
        "gradient": mean["tangent"],
        "gradient_square": mean["tangent_square"],
        "gradient_log": mean["tangent_log"],
    }


_OF_LAYERS = "shift", "product", "cube", "correlation", "tangent", "tangent_square", "tangent_log"


def _rate(spec: PropagationSpec, sums: dict[str, Array], rate: str, burn: int, window: int) -> dict[str, Estimate]:
    """lambda_* and share_* of one rate."""
    W, GW, WW, layers = (sums[f"{rate}_{name}"] for name in ("W", "GW", "WW", "count"))
    if not layers[0]:
        missing = _missing(len(W) - 1, _shallow(spec, burn + window))
        return {f"lambda_{rate}": missing, f"share_{rate}": missing}
    with np.errstate(divide="ignore", invalid="ignore"):
        share = W**2 / (WW * layers)
        found = GW / W
    reason = "" if share[0] >= TRUSTED else FEW_WEIGHTS
    return {f"lambda_{rate}": _estimate(found, reason), f"share_{rate}": _estimate(share)}


def _scale(rate: Estimate) -> Estimate:
    """-1 / ln |lambda|."""
    found = depth_scale(np.abs(_stacked(rate)))
    reason = rate.reason or ("" if np.all(np.isfinite(found)) else GROWS)
    return _estimate(np.where(np.isfinite(found), found, np.nan), reason)


def _decays(spec: PropagationSpec, found: dict[str, Estimate], reference: Reference) -> dict[str, Estimate]:
    """xi_q_decay and, for two points, xi_c_decay."""
    at = reference.mean_field
    fits: dict[str, Estimate] = {}
    q, centre = float(at.q_star), reference.centre
    wanted: list[tuple[str, Array, Array, float, float | None]] = []
    wanted.append(("xi_q_decay", _stacked(found["K"])[..., 0], centre[:, 0] - q, float(at.xi_q), None))
    if spec.points > 1:
        limit = 1.0 if float(at.c_star) == 1 else None
        distance = centre[:, 1] / np.sqrt(centre[:, 0] * centre[:, spec.points]) - float(at.c_star)
        wanted.append(("xi_c_decay", _stacked(found["correlation"])[..., 0], distance, float(at.xi_c), limit))
    for name, values, distance, xi, limit in wanted:
        layers = fit_window(xi, distance, limit)
        if isinstance(layers, str):
            fits[name] = _missing(len(values) - 1, layers)
        else:
            scale, reason = decay_scale(values, layers, xi, limit)
            found_scale = _estimate(scale, reason)
            noisy = not reason and found_scale.stderr > NOISY * found_scale.value
            fits[name] = _estimate(scale, NOISE) if noisy else found_scale
    return fits


def _left_out(groups: Array) -> Array:
    """The total, then the totals without each group: (groups + 1, ...)."""
    total = groups.sum(axis=0)
    return np.concatenate([total[None], total - groups])


def _estimate(values: Array, reason: str = "") -> Estimate:
    """From the estimate and its replicates one after the other."""
    return Estimate(values[0], stderr(values[1:]), values[1:], reason)


def _stacked(found: Estimate) -> Array:
    return np.concatenate([found.value[None], found.replicates])


def _missing(groups: int, reason: str) -> Estimate:
    return _estimate(np.full(groups + 1, np.nan), reason)


def _shallow(spec: PropagationSpec, needed: int) -> str:
    return f"depth {spec.depth} leaves no layer after the first {needed}"
