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
parameters centred at the minimum and in units of their errors.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.couplings.fit import CouplingFit, fit_couplings, whiten

Array = NDArray[np.float64]

_NEWTON = 12  # steps at most; quadratic convergence needs three or four
_REMEDY = 'the joint fit needs iminuit: pip install "nnqft[minuit]"'


@dataclass(frozen=True)
class JointFit:
    """Couplings (g_1, ..., g_m, kappa); NaN with a `reason` where a number does not exist (never an exception).

    values (m + 1,); covariance (m + 1, m + 1): HESSE, from the full second derivatives; lower, upper (m + 1,): MINOS
    errors with their signs, lower < 0 < upper, 68.27 %; chi2, dof, p_value, modes, inflation: as in
    :class:`nnqft.couplings.fit.CouplingFit`; replicates (R, m + 1): jackknife replicates of the fit linearised at the
    minimum. valid: whether there is one minimum, with positive second derivatives and MINOS errors on both sides.
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

    cost = _Cost(whitening @ data, model.under(whitening))
    starts = _starts(four, samples4, model, cost) if start is None else [np.asarray(start, dtype=np.float64)]
    found = []
    for at in starts:
        first = linearised(at)
        if not first.accepted:
            return _refused(model.size, len(samples), first.reason, first.modes)
        cost = cost.weighted(1 / first.inflation)
        found.append(_minimum(minuit, cost, at))
    if not found:
        return _refused(model.size, len(samples), "G4c alone does not determine the quartic couplings")
    found.sort(key=cost.total)
    return _errors(minuit, cost, found, linearised(found[0]))


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
    """weight |data - model(theta)|^2 of whitened data, with derivatives, as a function of (theta - centre) / unit."""

    data: Array
    model: _Model
    weight: float = 1.0
    centre: Array = field(default_factory=lambda: np.zeros(0))
    unit: Array = field(default_factory=lambda: np.ones(0))

    def weighted(self, weight: float) -> "_Cost":
        return _Cost(self.data, self.model, weight)

    def about(self, centre: Array) -> "_Cost":
        """Parameters zero at the centre, in units of the errors that they have there without each other."""
        norm = np.sqrt(self.weight) * np.linalg.norm(self.model.jacobian(centre), axis=0)
        return _Cost(self.data, self.model, self.weight, centre, 1 / norm)

    def total(self, theta: Array) -> float:
        residual = self.data - self.model(theta)
        return float(self.weight * residual @ residual)

    def theta(self, p: ArrayLike) -> Array:
        return self.centre + self.unit * np.asarray(p)

    def __call__(self, p: Array) -> float:
        return self.total(self.theta(p))

    def gradient(self, p: Array) -> Array:
        theta = self.theta(p)
        return -2 * self.weight * self.unit * ((self.data - self.model(theta)) @ self.model.jacobian(theta))

    def hessian(self, p: Array) -> Array:
        theta = self.theta(p)
        jacobian, residual = self.model.jacobian(theta), self.data - self.model(theta)
        full = jacobian.T @ jacobian - 2 * np.tensordot(residual, self.model.quadratic, axes=1)
        return 2 * self.weight * np.outer(self.unit, self.unit) * full

    def curvature(self, p: Array) -> Array:
        return np.diagonal(self.hessian(p))


def _starts(four: Array, samples: Array, model: _Model, cost: _Cost) -> list[Array]:
    """Those of G4c alone and their negatives, each with the best kappa: the rest of the model is linear in kappa."""
    design = model.linear[: len(four), :-1]
    alone = fit_couplings(four, samples, design)
    if not alone.accepted:
        alone = fit_couplings(four, None, design, weights="unit")
    if not alone.accepted:
        return []
    column, starts = cost.model.linear[:, -1], []
    for sign in (1, -1):
        at = np.append(sign * alone.values, 0.0)
        kappa = column @ (cost.data - cost.model(at)) / max(column @ column, np.finfo(float).tiny)
        starts.append(np.append(at[:-1], kappa))
    return starts


def _minimum(minuit: Any, cost: _Cost, start: Array) -> Array:
    """MIGRAD, whose stopping rule leaves a thousandth of an error, then Newton's method to rounding."""
    scaled = cost.about(start)
    found = _run(minuit, scaled).migrad()
    theta = scaled.theta(found.values)
    for _ in range(_NEWTON):
        local = cost.about(theta)
        hessian, zero = local.hessian(np.zeros(len(theta))), np.zeros(len(theta))
        if np.linalg.eigvalsh(hessian)[0] <= 0:
            break
        step = -np.linalg.solve(hessian, local.gradient(zero))
        if np.abs(step).max() > 1 or local(step) > local(zero) * (1 + 1e-12):
            break
        theta = local.theta(step)
        if np.abs(step).max() < 1e-12:
            break
    return theta


def _run(minuit: Any, cost: _Cost) -> Any:
    names = [f"p{i}" for i in range(cost.model.size)]
    found = minuit(cost, np.zeros(len(names)), grad=cost.gradient, g2=cost.curvature, hessian=cost.hessian, name=names)
    found.errordef = minuit.LEAST_SQUARES
    return found


def _errors(minuit: Any, cost: _Cost, minima: list[Array], linear: CouplingFit) -> JointFit:
    """HESSE and MINOS at the lowest minimum."""
    scaled = cost.about(minima[0])
    unit, p = scaled.unit, len(minima[0])
    run = _run(minuit, scaled).migrad()
    reasons = [linear.reason]
    covariance, lower, upper = np.full((p, p), np.nan), np.full(p, np.nan), np.full(p, np.nan)
    positive = np.linalg.eigvalsh(scaled.hessian(np.zeros(p)))[0] > 0
    if not (run.valid and positive):
        reasons.append("MIGRAD found no minimum")
    else:
        run.hesse()
        if run.covariance is not None and run.accurate:
            covariance = np.array(run.covariance) * np.outer(unit, unit)
        else:
            reasons.append("HESSE found no positive definite covariance")
        run.minos()
        for i, error in enumerate(run.merrors.values()):
            lower[i] = error.lower * unit[i] if error.lower_valid else np.nan
            upper[i] = error.upper * unit[i] if error.upper_valid else np.nan
        if not (np.isfinite(lower) & np.isfinite(upper)).all():
            reasons.append(f"MINOS has no end for {int((~np.isfinite(lower + upper)).sum())} coupling(s)")
    best = cost.total(minima[0])
    rivals = [m for m in minima[1:] if np.abs((m - minima[0]) / unit).max() > 1e-3 and cost.total(m) - best < 1]
    if rivals:
        reasons.append("another minimum is as good within one standard error: the intervals are not whole")
    valid = bool(np.isfinite(covariance).all() and np.isfinite(lower + upper).all() and not rivals)
    return JointFit(
        minima[0], covariance, lower, upper, linear.chi2, linear.dof, linear.p_value, linear.modes, linear.inflation,
        linear.replicates, valid, "; ".join(filter(None, reasons)),
    )  # fmt: skip


def _refused(size: int, replicates: int, reason: str, modes: int = 0) -> JointFit:
    """A fit without values and the reason."""
    nan, none = float("nan"), np.full(size, np.nan)
    return JointFit(
        none, np.full((size, size), nan), none, none, nan, 0, nan, modes, nan, np.full((replicates, size), nan), False,
        reason,
    )  # fmt: skip
