"""Generalised least squares of connected correlators on vertex integrals, with jackknife covariances.

The data theta (q,) carry R leave-one-out replicates, cov = (R - 1) / R sum_r (theta_r - mean)(theta_r - mean)^T. Far
more components than replicates, and components that are perfectly correlated, make it singular. It is therefore
normalised to a correlation matrix and cut: of its eigenmodes only those with eigenvalue >= svd_cut times the largest
are kept, and at most R // 4 of them; the fit sees the data in these modes and nothing else.

Small-sample statistics, nu = R - 1, k = modes - couplings. The residual T^2 is Hotelling's: T^2 (nu - k + 1) / (nu k)
follows F(k, nu - k + 1), which gives p_value, and chi2 = T^2 (nu - k - 1) / nu has mean k (Hartlap, Simon, Schneider,
astro-ph/0608064). Weights estimated from the same replicates enlarge the variance of the couplings by
nu (nu - 1) / ((nu - k) (nu - k - 1)) over the textbook (X^T C^-1 X)^-1 (Rao 1959; Percival et al., arXiv:1312.4841);
covariance, stderr and replicates contain it. All of this is exact for Gaussian data while no mode is cut; with modes
cut it stays calibrated where the spectrum of the correlation matrix falls steadily (as that of correlators at nearby
points does) and is conservative, chi^2 and pulls too small, where it is flat and longer than R.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtrc

from nnqft.estimation.jackknife import covariance as jackknife_covariance

Array = NDArray[np.float64]

_RANK_CUT = 1e-9  # singular values below this fraction of the largest are the accuracy of the integrals
_ROUNDING = 1e-13  # relative fluctuation of a component that does not fluctuate
_FLOOR = 1e-15  # the same relative to the largest component: zeros that are only zero up to rounding
_ZERO = 1e-12  # components below this fraction of the largest are zero in percentage errors


@dataclass(frozen=True)
class CouplingFit:
    """One linear fit; NaN with a `reason` where a number does not exist (never an exception for bad data).

    values (m,), covariance (m, m): the couplings; chi2, dof, p_value: goodness of fit in the kept modes;
    modes: eigenmodes kept; rank, condition: of the design with columns normalised to one;
    nrms: |G - fit| / |G|; mape, max_ape: mean and largest |fit / G - 1| in percent, exact zeros left out;
    replicates (R, m): jackknife replicates of the couplings, whose covariance is `covariance`;
    whitening (modes, q): W with W cov W^T = 1, so that the fit minimises |W (G - X values)|^2;
    inflation: factor by which the textbook covariance was enlarged.
    """

    values: Array
    covariance: Array
    replicates: Array
    chi2: float
    dof: int
    p_value: float
    modes: int
    rank: int
    condition: float
    nrms: float
    mape: float
    max_ape: float
    inflation: float
    whitening: Array
    reason: str = ""

    @property
    def stderr(self) -> Array:
        """Standard errors of the couplings (m,)."""
        return np.sqrt(np.diagonal(self.covariance))

    @property
    def accepted(self) -> bool:
        """Whether the couplings have values at all."""
        return bool(np.isfinite(self.values).all())


def fit_couplings(
    G4c: ArrayLike,
    replicates: ArrayLike | None,
    design: ArrayLike,
    *,
    svd_cut: float = 1e-6,
    weights: Literal["covariance", "unit"] = "covariance",
    zeros: ArrayLike | None = None,
    whitening: Array | None = None,
) -> CouplingFit:
    """Couplings of G4c (q,) = design (q, m) couplings, with jackknife replicates (R, q) of G4c.

    weights="unit" gives every component the same weight; chi^2 does not exist then, and replicates may be None, which
    leaves the errors NaN. `whitening` is what :func:`whiten` makes of the same replicates, to be shared by the fits
    of many designs to one set of data (found here when not given). `zeros` (q,) marks components that vanish
    exactly and have no percentage error. Components without any variance are left out of the fit, and named in
    `reason` if the fit does not reproduce them. Raises ValueError for shapes that do not match; anything wrong with
    the numbers is told in `reason`.
    """
    data, x = np.asarray(G4c, dtype=np.float64), np.asarray(design, dtype=np.float64)
    samples = None if replicates is None else np.asarray(replicates, dtype=np.float64)
    _check_shapes(data, x, samples, weights)
    if not 0 <= svd_cut <= 1:
        raise ValueError(f"svd_cut is a fraction of the largest eigenvalue, not {svd_cut}")
    rank, condition = _rank(x)
    if not all(np.isfinite(a).all() for a in (data, x, samples) if a is not None):
        return _refused(x, samples, rank, condition, "the data or the design are not finite")
    if rank < x.shape[1]:
        return _refused(x, samples, rank, condition, f"{x.shape[1]} couplings, but the design has rank {rank}")

    fluctuating = np.ones(len(data), dtype=bool) if samples is None else _fluctuates(samples)
    if weights == "unit" or samples is None:
        whitening = np.eye(len(data))
    elif whitening is None:
        whitening = whiten(samples, svd_cut)
    if _rank(whitening @ x)[0] < x.shape[1]:
        reason = f"the {len(whitening)} modes kept of the covariance do not determine {x.shape[1]} coupling(s)"
        return _refused(x, samples, rank, condition, reason)

    linear_map = pseudo_inverse(whitening @ x) @ whitening  # couplings = linear_map @ data
    values = linear_map @ data
    k = len(whitening) - x.shape[1]
    inflation = 1.0 if weights == "unit" or samples is None else _inflation(len(samples) - 1, k)
    chi2, p_value, reason = _goodness(whitening @ (data - x @ values), k, samples, weights)
    refits = np.empty((0, x.shape[1])) if samples is None else _refits(values, samples, linear_map, inflation)
    covariance = np.full((x.shape[1],) * 2, np.nan) if samples is None else jackknife_covariance(refits)
    missed = ~fluctuating & ~_reproduced(data, x, values, covariance)
    if missed.any():
        reason = "; ".join(filter(None, [reason, f"{missed.sum()} component(s) without variance are not reproduced"]))
    nrms, mape, max_ape = prediction_errors(data, x @ values, zeros)
    dof = k if weights == "covariance" else 0
    return CouplingFit(
        values, covariance, refits, chi2, dof, p_value, len(whitening), rank, condition, nrms, mape, max_ape,
        inflation, whitening, reason,
    )  # fmt: skip


def pseudo_inverse(design: Array) -> Array:
    """(X^T X)^-1 X^T, shape (m, q), of a design X (q, m) of full rank whose columns differ by orders of magnitude.

    By SVD: nearly degenerate couplings (condition 1e5 for the Gauss-net) do not survive normal equations.
    """
    norm = np.linalg.norm(design, axis=0)
    return np.linalg.pinv(design / norm, rcond=_RANK_CUT) / norm[:, None]


def prediction_errors(data: Array, prediction: Array, zeros: ArrayLike | None = None) -> tuple[float, float, float]:
    """nrms, mape, max_ape of a prediction (q,) of data (q,): |data - prediction| / |data|, and percentage errors.

    The first is normalised by the whole vector; the mean and the largest absolute percentage error leave out the
    components marked in `zeros` (q,) and those below 1e-12 of the largest. NaN where nothing is left.
    """
    nonzero = np.abs(data) > _ZERO * np.abs(data).max(initial=0.0)
    if zeros is not None:
        nonzero &= ~np.asarray(zeros, dtype=bool)
    if not nonzero.any():
        return float("nan"), float("nan"), float("nan")
    percent = 100 * np.abs(prediction[nonzero] / data[nonzero] - 1)
    nrms = np.linalg.norm(data - prediction) / np.linalg.norm(data)
    return float(nrms), float(percent.mean()), float(percent.max())


def _check_shapes(data: Array, design: Array, samples: Array | None, weights: str) -> None:
    if data.ndim != 1 or design.ndim != 2 or len(design) != len(data) or design.shape[1] == 0:
        raise ValueError(f"data (q,) and design (q, m) do not match: {data.shape} and {design.shape}")
    if samples is not None and (samples.ndim != 2 or samples.shape[1] != len(data) or len(samples) < 4):
        raise ValueError(f"replicates must be (R, {len(data)}) with R >= 4, not {samples.shape}")
    if weights not in ("covariance", "unit"):
        raise ValueError(f"weights must be 'covariance' or 'unit', not {weights!r}")
    if samples is None and weights == "covariance":
        raise ValueError("weights='covariance' needs replicates; noise-free data take weights='unit'")


def _rank(design: Array) -> tuple[int, float]:
    """Numerical rank and condition number of the columns normalised to one (a column of zeros counts as zero)."""
    if not np.isfinite(design).all() or len(design) == 0:
        return 0, float("nan")
    norm = np.linalg.norm(design, axis=0)
    singular = np.linalg.svd(design / np.where(norm > 0, norm, 1.0), compute_uv=False)
    rank = int(np.sum(singular > _RANK_CUT * singular[0]))
    full = rank == design.shape[1]
    return rank, float(singular[0] / singular[-1]) if full else float("inf")


def _fluctuates(samples: Array) -> NDArray[np.bool_]:
    """Components whose replicates differ by more than rounding."""
    size = np.abs(samples).mean(axis=0)
    return samples.std(axis=0) > _ROUNDING * size + _FLOOR * size.max(initial=0.0)


def whiten(replicates: ArrayLike, svd_cut: float = 1e-6) -> Array:
    """Whitened modes (modes, q) of the correlation matrix of replicates (R, q) that survive the cut, largest first."""
    samples = np.asarray(replicates, dtype=np.float64)
    fluctuating = _fluctuates(samples)
    whitening = np.zeros((0, samples.shape[1]))
    if not fluctuating.any():
        return whitening
    deviations = (samples - samples.mean(axis=0))[:, fluctuating] * np.sqrt((len(samples) - 1) / len(samples))
    sigma = np.linalg.norm(deviations, axis=0)
    _, singular, modes = np.linalg.svd(deviations / sigma, full_matrices=False)
    keep = (singular**2 >= svd_cut * singular[0] ** 2) & (np.arange(len(singular)) < max(1, len(samples) // 4))
    whitening = np.zeros((int(keep.sum()), samples.shape[1]))
    whitening[:, fluctuating] = modes[keep] / singular[keep, None] / sigma
    return whitening


def _inflation(nu: int, k: int) -> float:
    return nu * (nu - 1) / ((nu - k) * (nu - k - 1))


def _goodness(residual: Array, k: int, samples: Array | None, weights: str) -> tuple[float, float, str]:
    """chi2, p_value and why they are missing, from the whitened residual."""
    if samples is None or weights == "unit":
        return float("nan"), float("nan"), "unit weights: chi^2 does not exist"
    if k == 0:
        return 0.0, float("nan"), f"{len(residual)} mode(s) for as many couplings: no degree of freedom is left"
    nu, t2 = len(samples) - 1, float(residual @ residual)
    return t2 * (nu - k - 1) / nu, float(fdtrc(k, nu - k + 1, t2 * (nu - k + 1) / (nu * k))), ""


def _refits(values: Array, samples: Array, linear_map: Array, inflation: float) -> Array:
    """Replicates (R, m) of the couplings: refits with the weights frozen, spread by sqrt(inflation)."""
    return values + np.sqrt(inflation) * (samples - samples.mean(axis=0)) @ linear_map.T


def _reproduced(data: Array, design: Array, values: Array, covariance: Array) -> NDArray[np.bool_]:
    """Components (q,) that the couplings reproduce within five errors of the fit, or rounding."""
    variance = np.einsum("qi,ij,qj->q", design, covariance, design) if np.isfinite(covariance).all() else 0.0
    rounding = _RANK_CUT * (np.abs(data) + np.abs(design) @ np.abs(values)) + _FLOOR * np.abs(data).max()
    return np.abs(data - design @ values) <= 5 * np.sqrt(variance) + rounding


def _refused(design: Array, samples: Array | None, rank: int, condition: float, reason: str) -> CouplingFit:
    """A fit without values: everything NaN but what is known, and the reason."""
    q, m = design.shape
    nan = float("nan")
    return CouplingFit(
        values=np.full(m, nan), covariance=np.full((m, m), nan),
        replicates=np.full((0 if samples is None else len(samples), m), nan),
        chi2=nan, dof=0, p_value=nan, modes=0, rank=rank, condition=condition, nrms=nan, mape=nan, max_ape=nan,
        inflation=nan, whitening=np.zeros((0, q)), reason=reason,
    )  # fmt: skip
