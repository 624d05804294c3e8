"""Flow with the width: the power of N in a connected correlator or a coupling, and its first correction in 1/N.

Counting powers, G_2k,c ~ N^(1 - k) (arXiv:2008.08601, section 3), lambda ~ N^-1 and kappa ~ N^-2. One hidden layer has
exactly this power; deeper networks have corrections: N G4c of a linear net with m hidden layers is its kernels times
N [(1 + 2/N)^m - 1] = 2 m (1 + (m - 1) / N + ...) (Hanin, arXiv:2204.01058).

Widths are independent samples. Both fits are least squares in the numbers themselves, not in their logarithms, and use
every width that was measured: to leave out those whose estimate happens to be small, or to weigh by errors relative to
the estimate, would favour upward fluctuations.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import chdtrc

from nnqft.estimation.jackknife import stderr as jackknife_stderr

Array = NDArray[np.float64]

_FARTHEST = 10.0  # from the leading power: a fitted power that far away describes nothing
_FLAT = 1e9  # condition of the fit where its amplitude has gone to zero
_ROUNDING = 1e-12  # relative error of a value that has none
_TWO = "two widths: no degree of freedom is left"
_EXACT = "the data have no errors"


@dataclass(frozen=True)
class PowerLaw:
    """amplitude * N^exponent with the standard error of the exponent; NaN with a reason where there is none.

    used (n,): the widths that entered; chi2, dof, p_value: goodness of fit.
    """

    exponent: float
    stderr: float
    amplitude: float
    chi2: float
    dof: int
    p_value: float
    used: NDArray[np.bool_]
    reason: str = ""


@dataclass(frozen=True)
class Correction:
    """amplitude * N^leading * (1 + value / N), value with its standard error; NaN with a reason where there is none."""

    value: float
    stderr: float
    amplitude: float
    chi2: float
    dof: int
    p_value: float
    used: NDArray[np.bool_]
    reason: str = ""


def amplitudes(cumulants: ArrayLike, replicates: ArrayLike, reference: ArrayLike) -> tuple[Array, Array]:
    """One number for each width, with its jackknife error: the mean over components of cumulant / reference.

    cumulants (n_widths, q), replicates (n_widths, R, q). The reference (q,), with its signs, is a fixed shape (the
    exact cumulant at one width, or signs; not these data); components where it vanishes are left out. Returns
    (n_widths,) twice. Raises ValueError for shapes that do not match.
    """
    theta, samples = np.asarray(cumulants, dtype=np.float64), np.asarray(replicates, dtype=np.float64)
    shape = np.asarray(reference, dtype=np.float64)
    if theta.ndim != 2 or samples.ndim != 3 or samples.shape[::2] != theta.shape or shape.shape != theta.shape[1:]:
        raise ValueError(
            f"cumulants, replicates, reference do not match: {theta.shape}, {samples.shape}, {shape.shape}"
        )
    seen = shape != 0  # a NaN in a component that does not count must not spread
    weights = 1 / shape[seen] / max(1, np.count_nonzero(seen))
    return theta[:, seen] @ weights, jackknife_stderr(samples[..., seen] @ weights, axis=1)


def power_law(
    widths: ArrayLike, values: ArrayLike, stderr: ArrayLike, leading: float, *, significance: float = 3.0
) -> PowerLaw:
    """Power of the width in values (n,) with independent standard errors (n,); `leading` is the power expected.

    Least squares of A N^p over all finite values. There is an exponent only if two different widths, were the leading
    power right, are expected to be `significance` errors away from zero: judged by all widths together, never by the
    estimate of one of them. Values without error are left out where others have one; if none has, the exponent has no
    error and every width counts the same. Raises ValueError for shapes that do not match or widths below zero.
    """
    n, x, scaled, sigma, used, known = _prepare(widths, values, stderr, leading)
    if reason := _too_weak(n, scaled, sigma, known, significance):
        return PowerLaw(np.nan, np.nan, np.nan, np.nan, 0, np.nan, used, reason)
    height = float((scaled / sigma**2).sum() / (1 / sigma**2).sum())  # A at the leading power

    def residual(parameters: Array) -> Array:
        return (parameters[0] * height * x ** parameters[1] - scaled) / sigma

    def slopes(parameters: Array) -> Array:
        power = height * x ** parameters[1]
        return np.stack([power, parameters[0] * power * np.log(x)], axis=1) / sigma[:, None]

    wide = np.array([np.inf, _FARTHEST])
    options: dict[str, Any] = {"x_scale": "jac", "xtol": 1e-13, "ftol": 1e-13}
    found = least_squares(residual, [1.0, 0.0], jac=slopes, bounds=(-wide, wide), **options)  # pyright: ignore[reportArgumentType]
    if abs(found.x[1]) > 0.99 * _FARTHEST or np.linalg.cond(found.jac) > _FLAT:
        reason = "no power of the width describes the values"
        return PowerLaw(np.nan, np.nan, np.nan, np.nan, 0, np.nan, used, reason)
    exponent = leading + float(found.x[1])
    amplitude = float(found.x[0] * height * _pivot(n) ** -found.x[1])
    if not known:
        return PowerLaw(exponent, np.nan, amplitude, np.nan, len(n) - 2, np.nan, used, _EXACT)
    error = float(np.sqrt(np.linalg.inv(found.jac.T @ found.jac)[1, 1]))
    return PowerLaw(exponent, error, amplitude, *_goodness(2 * found.cost, len(n) - 2), used, _few(n))


def width_correction(
    widths: ArrayLike, values: ArrayLike, stderr: ArrayLike, leading: float, *, significance: float = 3.0
) -> Correction:
    """Coefficient c of the first correction to a fixed leading power, A N^leading (1 + c / N); as :func:`power_law`.

    Linear least squares in A and A c; the error of their ratio is that of first order, good where A is known well.
    Terms in 1/N^2 are not in the fit: chi2 says where they are needed, and leaving out narrow widths helps.
    """
    n, _, scaled, sigma, used, known = _prepare(widths, values, stderr, leading)
    if reason := _too_weak(n, scaled, sigma, known, significance):
        return Correction(np.nan, np.nan, np.nan, np.nan, 0, np.nan, used, reason)
    design = np.stack([np.ones_like(n), 1 / n], axis=1) / sigma[:, None]
    covariance = np.linalg.inv(design.T @ design)
    A, B = covariance @ design.T @ (scaled / sigma)
    gradient = np.array([-B / A, 1.0]) / A
    if not known:
        return Correction(float(B / A), np.nan, float(A), np.nan, len(n) - 2, np.nan, used, _EXACT)
    if abs(A) < significance * np.sqrt(covariance[0, 0]):
        reason = "these widths do not separate the leading term from its correction"
        return Correction(np.nan, np.nan, np.nan, np.nan, 0, np.nan, used, reason)
    chi2 = float(np.sum((scaled / sigma - design @ [A, B]) ** 2))
    error = float(np.sqrt(gradient @ covariance @ gradient))
    return Correction(float(B / A), error, float(A), *_goodness(chi2, len(n) - 2), used, _few(n))


def _prepare(
    widths: ArrayLike, values: ArrayLike, stderr: ArrayLike, leading: float
) -> tuple[Array, Array, Array, Array, NDArray[np.bool_], bool]:
    """Widths, the same over their middle, values and errors over N^leading, those `used`; whether there are errors.

    Without errors, each value gets the same relative one.
    """
    n, v, e = (np.asarray(a, dtype=np.float64) for a in (widths, values, stderr))
    if n.ndim != 1 or not n.shape == v.shape == e.shape or np.any(n <= 0):
        raise ValueError(f"positive widths, values and errors (n,) are wanted: {n.shape}, {v.shape}, {e.shape}")
    used = np.isfinite(v) & np.isfinite(e)
    fluctuates = e > _ROUNDING * np.abs(v)
    known = bool(np.any(fluctuates[used]))
    if known:
        used &= fluctuates
    n, v, e = n[used], v[used], e[used]
    sigma = e if known else np.abs(v)
    return n, n / _pivot(n), v * n**-leading, sigma * n**-leading, used, known


def _pivot(n: Array) -> float:
    return float(np.exp(np.log(n).mean())) if n.size else 1.0


def _too_weak(n: Array, scaled: Array, sigma: Array, known: bool, significance: float) -> str:
    """Why there is no flow; empty if there is one. Without errors, every value that is not zero is significant."""
    if not known:
        return "" if np.unique(n).size > 1 and np.all(sigma > 0) else "fewer than two widths have a value"
    height = abs((scaled / sigma**2).sum() / (1 / sigma**2).sum())
    clear = np.unique(n[height > significance * sigma]).size
    return "" if clear > 1 else f"{clear} width(s) should be {significance:g} errors away from zero: a flow needs two"


def _goodness(chi2: float, dof: int) -> tuple[float, int, float]:
    return float(chi2), dof, float(chdtrc(dof, chi2)) if dof else float("nan")


def _few(n: Array) -> str:
    return _TWO if len(n) == 2 else ""
