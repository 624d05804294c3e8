"""The joint fit of quartic couplings g (m,) and of kappa to G4c and G6c, which is not linear: MINOS errors.

    G4c = X g,    G6c = sum_ij g_i g_j T_ij - 720 kappa I6,

at tree level, which is complete for couplings of the 1PI effective action (Halverson, Maiti, Stoner, arXiv:2008.08601,
section 4); for g = (lambda_0,), X = -24 I4 and T = 24^2 times the tree summed over its ten splits. The data are
stacked, so that the covariance between G4c and G6c counts, and whitened as in :mod:`nnqft.couplings.fit`:
T^2 = |W (data - model)|^2 over at most R // 4 modes.

Small samples enter once. Minuit is given the cost T^2 / inflation with nu = R - 1, k = modes - m - 1 and

    inflation = nu (nu - 1) / ((nu - k) (nu - k - 1))    (Rao 1959; Percival et al., arXiv:1312.4841),

and errors are where it has risen by one. Without trees all numbers are therefore those of the linear fit, covariance
included. chi2 = T^2 (nu - k - 1) / nu and p_value are the linear fit's as well (Hartlap, Hotelling): found from the
model linearised at the minimum, where T^2 is the same, and exact only as far as the model is linear over its errors.
The minimum is MIGRAD's from two starts, g and -g of G4c alone, because trees do not see the sign of g; the errors are
HESSE's and MINOS's (James and Roos, Comput. Phys. Commun. 10 (1975) 343), with exact derivatives of the polynomial, in
parameters centred at the minimum, uncorrelated and in units of their errors.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.couplings.fit import CouplingFit, fit_couplings, whiten

Array = NDArray[np.float64]

_NEWTON = 12  # steps at most; quadratic convergence needs three or four
_SAME = 1e-3  # minima closer than this many errors are one
_RIVAL = 9.0  # other minima that are told: within three standard errors
_REMEDY = 'the joint fit needs iminuit: pip install "nnqft[minuit]"'


@dataclass(frozen=True)
class JointFit:
    """Couplings (g_1, ..., g_m, kappa); NaN with a `reason` where a number does not exist (never an exception).

    values (m + 1,); covariance (m + 1, m + 1): HESSE, from the full second derivatives; lower, upper (m + 1,): MINOS
    errors with their signs, lower < 0 < upper, 68.27 %; chi2, dof, p_value, modes, inflation: as in
    :class:`nnqft.couplings.fit.CouplingFit`; replicates (R, m + 1): jackknife replicates of the fit linearised at the
    minimum. valid: whether second derivatives are positive, MINOS has ends on both sides, and no other minimum is as
    good within one standard error (one within three is told in `reason`: trees do not know the sign of g).
    """

    values: Array
    covariance: Array
    lower: Array
    upper: Array
    chi2: float
    dof: int
    p_value: float
    modes: int
    inflation: float
    replicates: Array
    valid: bool
    reason: str = ""

    @property
    def stderr(self) -> Array:
        """Symmetric standard errors (m + 1,), of HESSE."""
        return np.sqrt(np.diagonal(self.covariance))


def joint_fit(
    G4c: ArrayLike,
    replicates4: ArrayLike,
    G6c: ArrayLike,
    replicates6: ArrayLike,
    design: ArrayLike,
    trees: ArrayLike,
    I6: ArrayLike,
    *,
    svd_cut: float = 1e-6,
    start: ArrayLike | None = None,
) -> JointFit:
    """Couplings g, kappa of G4c (q4,) and G6c (q6,), with replicates (R, q4) and (R, q6) of the same jackknife groups.

    design X (q4, m), trees T (q6, m, m), I6 (q6,) as in the formulas above; svd_cut as in
    :func:`nnqft.couplings.fit.whiten`, of the stacked data. start (m + 1,) replaces the two starts. Raises ValueError
    for shapes that do not match and where iminuit is missing; anything wrong with the numbers is told in `reason`.
    """
    minuit = _minuit()
    four, six = np.asarray(G4c, dtype=np.float64), np.asarray(G6c, dtype=np.float64)
    samples4, samples6 = np.asarray(replicates4, dtype=np.float64), np.asarray(replicates6, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        model = _Model.of(four, six, np.asarray(design), np.asarray(trees), np.asarray(I6))
    if samples4.shape[1:] != four.shape or samples6.shape != (len(samples4), *six.shape):
        wanted = f"(R, {len(four)}) and (R, {len(six)})"
        raise ValueError(f"replicates must be {wanted} with one R, not {samples4.shape} and {samples6.shape}")
    if start is not None and np.shape(start) != (model.size,):
        raise ValueError(f"start must hold {model.size} couplings, not {np.shape(start)}")
    data, samples = np.concatenate([four, six]), np.concatenate([samples4, samples6], axis=1)
    if not all(np.isfinite(a).all() for a in (data, samples, model.linear, model.quadratic)):
        return _refused(model.size, len(samples), "the data, their replicates or the integrals are not finite")
    whitening = whiten(samples, svd_cut)

    def linearised(at: Array) -> CouplingFit:
        jacobian = model.jacobian(at)
        shifted = data - model(at) + jacobian @ at
        return fit_couplings(shifted, samples, jacobian, svd_cut=svd_cut, whitening=whitening)

    seen, under = whitening @ data, model.under(whitening)
    starts = _starts(four, samples4, model, seen, under) if start is None else [np.asarray(start, dtype=np.float64)]
    if not starts:
        return _refused(model.size, len(samples), "G4c alone does not determine the quartic couplings")
    minima = []
    for at in starts:
        first = linearised(at)
        if not first.accepted:
            return _refused(model.size, len(samples), first.reason)
        minima.append(_minimum(minuit, _Cost.about(at, seen, under, 1 / first.inflation)))
    minima.sort(key=lambda cost: cost(np.zeros(model.size)))
    return _errors(minuit, minima, linearised(minima[0].centre))


def _minuit() -> Any:
    try:
        from iminuit import Minuit
    except ImportError as error:
        raise ValueError(_REMEDY) from error
    return Minuit


@dataclass(frozen=True)
class _Model:
    """theta -> linear theta + theta quadratic theta: linear (q, p), quadratic (q, p, p) symmetric."""

    linear: Array
    quadratic: Array

    @classmethod
    def of(cls, four: Array, six: Array, design: Array, trees: Array, I6: Array) -> "_Model":
        if design.ndim != 2 or four.shape != design.shape[:1] or design.shape[1] == 0:
            raise ValueError(f"G4c (q4,) and design (q4, m) do not match: {four.shape} and {design.shape}")
        (q4, m), q6 = design.shape, len(I6) if I6.ndim == 1 else -1
        if six.shape != (q6,) or trees.shape != (q6, m, m):
            shapes = f"{six.shape}, {trees.shape} and {I6.shape}"
            raise ValueError(f"G6c (q6,), trees (q6, {m}, {m}) and I6 (q6,) do not match: {shapes}")
        linear, quadratic = np.zeros((q4 + q6, m + 1)), np.zeros((q4 + q6, m + 1, m + 1))
        linear[:q4, :m], linear[q4:, m] = design, -720 * I6
        quadratic[q4:, :m, :m] = (trees + np.swapaxes(trees, 1, 2)) / 2
        return cls(linear, quadratic)

    @property
    def size(self) -> int:
        return self.linear.shape[1]

    def under(self, linear_map: Array) -> "_Model":
        """The same model of linear_map @ data."""
        return _Model(linear_map @ self.linear, np.tensordot(linear_map, self.quadratic, axes=1))

    def __call__(self, theta: Array) -> Array:
        return self.linear @ theta + self.quadratic @ theta @ theta

    def jacobian(self, theta: Array) -> Array:
        return self.linear + 2 * self.quadratic @ theta


@dataclass(frozen=True)
class _Cost:
    """weight |data - model(theta)|^2 of whitened data, with derivatives in p, where theta = centre + frame p."""

    data: Array
    model: _Model
    weight: float
    centre: Array
    frame: Array

    @classmethod
    def about(cls, centre: Array, data: Array, model: _Model, weight: float) -> "_Cost":
        """In the frame where the model linearised at the centre has second derivatives 2, by SVD."""
        jacobian = np.sqrt(weight) * model.jacobian(centre)
        norm = np.linalg.norm(jacobian, axis=0)
        _, singular, modes = np.linalg.svd(jacobian / norm, full_matrices=False)
        return cls(data, model, weight, centre, modes.T / singular / norm[:, None])

    def moved(self, p: ArrayLike) -> "_Cost":
        return _Cost.about(self.theta(p), self.data, self.model, self.weight)

    def along(self, i: int, root: Array) -> "_Cost":
        """In the frame root (p, p), covariance = root root^T, rotated so that theta_i is centre + error * first p."""
        rotation = np.linalg.qr(np.column_stack([root[i], np.eye(len(root))]))[0]
        sign = np.where(np.arange(len(root)) == 0, np.sign(rotation[:, 0] @ root[i]), 1.0)
        return _Cost(self.data, self.model, self.weight, self.centre, root @ rotation * sign)

    def theta(self, p: ArrayLike) -> Array:
        return self.centre + self.frame @ np.asarray(p)

    def residual(self, p: Array) -> tuple[Array, Array]:
        theta = self.theta(p)
        return self.data - self.model(theta), self.model.jacobian(theta) @ self.frame

    def __call__(self, p: Array) -> float:
        residual = self.data - self.model(self.theta(p))
        return float(self.weight * residual @ residual)

    def slope(self, p: Array) -> Array:
        residual, jacobian = self.residual(p)
        return -2 * self.weight * residual @ jacobian

    def curvature(self) -> Array:
        """Second derivatives (p, p) at p = 0."""
        residual, jacobian = self.residual(np.zeros(len(self.centre)))
        bend = self.frame.T @ np.tensordot(residual, self.model.quadratic, axes=1) @ self.frame
        return 2 * self.weight * (jacobian.T @ jacobian - 2 * bend)


def _starts(four: Array, samples: Array, model: _Model, seen: Array, under: _Model) -> list[Array]:
    """Those of G4c alone and their negatives, each with the best kappa: the rest of the model is linear in kappa."""
    design = model.linear[: len(four), :-1]
    alone = fit_couplings(four, samples, design)
    if not alone.accepted:
        alone = fit_couplings(four, None, design, weights="unit")
    if not alone.accepted:
        return []
    column, starts = under.linear[:, -1], []
    for sign in (1, -1):
        at = np.append(sign * alone.values, 0.0)
        kappa = column @ (seen - under(at)) / max(column @ column, np.finfo(float).tiny)
        starts.append(np.append(at[:-1], kappa))
    return starts


def _minimum(minuit: Any, cost: _Cost) -> _Cost:
    """The cost about its minimum: MIGRAD's, which stops within a thousandth of an error, then Newton's to rounding."""
    cost = cost.moved(_run(minuit, cost).values)
    zero = np.zeros(len(cost.centre))
    for _ in range(_NEWTON):
        curvature = cost.curvature()
        if np.linalg.eigvalsh(curvature)[0] <= 0:
            break
        step = -np.linalg.solve(curvature, cost.slope(zero))
        if np.abs(step).max() > 1:
            break
        cost = cost.moved(step)
        if np.abs(step).max() < 1e-12:
            break
    return cost


def _run(minuit: Any, cost: _Cost) -> Any:
    """MIGRAD from p = 0."""
    found = minuit(cost, np.zeros(len(cost.centre)), grad=cost.slope)
    found.errordef = minuit.LEAST_SQUARES
    return found.migrad()


def _errors(minuit: Any, minima: list[_Cost], linear: CouplingFit) -> JointFit:
    """HESSE and MINOS at the lowest minimum."""
    cost, reasons = minima[0], [linear.reason]
    p = len(cost.centre)
    covariance, lower, upper = np.full((p, p), np.nan), np.full(p, np.nan), np.full(p, np.nan)
    size, modes = np.linalg.eigh(cost.curvature())
    if size[0] > 0:
        root = cost.frame @ modes * np.sqrt(2 / size)
        covariance = root @ root.T
        for i in range(p):
            lower[i], upper[i] = np.sqrt(covariance[i, i]) * _minos(minuit, cost.along(i, root))
        open_ended = ~np.isfinite(lower + upper)
        if open_ended.any():
            reasons.append(f"MINOS finds no interval for {open_ended.sum()} of {p} couplings")
    else:
        reasons.append("the second derivatives at the minimum are not positive")
    zero = np.zeros(p)
    away = [np.abs(np.linalg.solve(cost.frame, m.centre - cost.centre)).max() for m in minima]
    gaps = [m(zero) - cost(zero) for m, far in zip(minima, away, strict=True) if far > _SAME]
    if gaps and min(gaps) < _RIVAL:
        reasons.append(f"a second minimum of chi^2 is only {min(gaps):.2g} higher")
    valid = bool(np.isfinite(covariance).all() and np.isfinite(lower + upper).all() and min(gaps, default=1.0) >= 1)
    return JointFit(
        cost.centre, covariance, lower, upper, linear.chi2, linear.dof, linear.p_value, linear.modes, linear.inflation,
        linear.replicates, valid, "; ".join(filter(None, reasons)),
    )  # fmt: skip


def _minos(minuit: Any, cost: _Cost) -> Array:
    """Ends of the interval of the first parameter (2,), NaN where there is none."""
    run = _run(minuit, cost)
    if not run.valid:
        return np.full(2, np.nan)
    error = run.minos(0).merrors[0]
    return np.array([error.lower if error.lower_valid else np.nan, error.upper if error.upper_valid else np.nan])


def _refused(size: int, replicates: int, reason: str) -> JointFit:
    """A fit without values and the reason."""
    nan, none = float("nan"), np.full(size, np.nan)
    return JointFit(
        none, np.full((size, size), nan), none, none, nan, 0, nan, 0, nan, np.full((replicates, size), nan), False,
        reason,
    )  # fmt: skip
