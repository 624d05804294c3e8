"""Flow of the local potential with the scale: (u2, u4, u6) under the Wetterich equation, from measured couplings.

Wetterich equation with Litim's regulator R_k = (k^2 - p^2) theta(k^2 - p^2) in the local-potential approximation
(Z = 1, eta = 0), k dV/dk = V_d k^(d+2) / (k^2 + V''), V_d = 1 / (2^d pi^(d/2) Gamma(d/2 + 1)), with the potential
V = u2 phi^2 / 2! + u4 phi^4 / 4! + u6 phi^6 / 6! expanded about phi = 0 and cut there (u8 = 0). With P = k^2 + u2:

    k du2/dk = -V_d k^(d+2) u4 / P^2
    k du4/dk =  V_d k^(d+2) (6 u4^2 / P^3 - u6 / P^2)
    k du6/dk =  V_d k^(d+2) (30 u4 u6 / P^3 - 90 u4^3 / P^4),

the equations of Erbin, Lahoche, Ousmane Samary (arXiv:2108.01403) with ubar2 = u2 / k^2, ubar4 = u4 k^(d-4),
ubar6 = u6 k^(2d-6) written out. Falling scales run from the ultraviolet to the infrared, rising scales passively from
the infrared to the ultraviolet; the field is the canonical one of :func:`nnqft.couplings.conventions.gauss_field`.

A flow ends where 1 + ubar2 = P / k^2 reaches zero or where a coupling diverges. That is physics and not an exception:
what lies beyond is NaN, `reached` is where it ended, `reason` says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import exp, gamma, log, pi

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnqft.estimation.jackknife import stderr as jackknife_stderr

Array = NDArray[np.float64]

_SINGULAR = 1e-6  # 1 + ubar2 at which the regularised propagator is taken to diverge
_SMALLEST_STEP = 1e-12  # in log k; the step falls with the distance to a divergence
_LARGEST_STEP = 0.1  # in log k: how precisely the end of a free flow is known
_MAX_STEPS = 65536


@dataclass(frozen=True)
class PotentialFlow:
    """Couplings (u2, u4, u6) at every scale k; NaN with a `reason` where the flow does not exist.

    scales (n,): k as asked for, the first one the start; values (n, 3) float64; stderr (n, 3): jackknife errors;
    replicates (R, n, 3): the flows of the replicates, (0, n, 3) without any;
    reached: the last scale for `values`, short of a singularity; reason: empty if every number exists.
    """

    scales: Array
    values: Array
    stderr: Array
    replicates: Array
    reached: float
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Whether the flow of the central values arrived at the last scale."""
        return bool(np.isfinite(self.values).all())


def loop_volume(dimension: float) -> float:
    """V_d = 1 / (2^d pi^(d/2) Gamma(d/2 + 1)), the ball of momenta divided by (2 pi)^d; V_0 = 1, V_1 = 1 / pi."""
    return 1 / (2**dimension * pi ** (dimension / 2) * gamma(dimension / 2 + 1))


def potential_beta(couplings: ArrayLike, k: ArrayLike, dimension: float) -> Array:
    """Derivatives k du/dk (..., 3) float64 of u = (u2, u4, u6), the last axis of `couplings` (..., 3), at k (...)."""
    u, scale = np.moveaxis(np.asarray(couplings, dtype=np.float64), -1, 0), np.asarray(k, dtype=np.float64)
    return np.stack(_beta(u, scale, dimension, loop_volume(dimension)), axis=-1)


def _beta(u, k, dimension, volume):
    """The three beta functions of u = (u2, u4, u6) at k, whatever the kind of array."""
    u2, u4, u6 = u
    loop, P = volume * k ** (dimension + 2), k**2 + u2
    return -loop * u4 / P**2, loop * (6 * u4**2 / P**3 - u6 / P**2), loop * u4 * (30 * u6 / P**3 - 90 * u4**2 / P**4)


def potential_flow(
    start: ArrayLike, replicates: ArrayLike | None, scales: ArrayLike, dimension: int, *, rtol: float = 1e-12
) -> PotentialFlow:
    """Flow of start = (u2, u4, u6) at scales[0], in dimension d, to every one of `scales` (n,).

    `replicates` (R, 3) are jackknife replicates of the start (None: no errors); all flow at once, and the errors at
    each scale are theirs. Dormand and Prince's solver of order 8, relative tolerance `rtol` a step, all in float64.
    Raises ValueError for scales that are not positive and strictly falling or rising, and for starts of another shape
    or that are not finite; a singular flow is told in `reason`.
    """
    k, centre = np.asarray(scales, dtype=np.float64), np.asarray(start, dtype=np.float64)
    samples = np.empty((0, 3)) if replicates is None else np.asarray(replicates, dtype=np.float64)
    _check(k, centre, samples, dimension)
    times = np.abs(np.log(k / k[0]))
    sign = 1.0 if k[-1] > k[0] else -1.0
    rows = np.concatenate([centre[None], samples])
    flow = (sign, log(k[0]), float(dimension), loop_volume(dimension), _sizes(centre, k[0], k[-1], dimension))
    with jax.enable_x64(True):
        solved = _solver()(rows, times, flow, rtol)
    flows, end, exhausted = (np.array(part) for part in solved)
    propagator = k**2 + flows[..., 0]
    alive = np.logical_and.accumulate(np.isfinite(flows).all(axis=-1) & (propagator > _SINGULAR * k**2), axis=1)
    flows[~alive] = np.nan
    reached = float(k[0] * exp(sign * end[0])) if not alive[0].all() else float(k[-1])
    errors = jackknife_stderr(flows[1:]) if len(samples) > 1 else np.full_like(flows[0], np.nan)
    return PotentialFlow(k, flows[0], errors, flows[1:], reached, _reason(alive, exhausted, reached, k[0], centre))


def _check(k: Array, centre: Array, samples: Array, dimension: int) -> None:
    steps = np.diff(k)
    if (
        k.ndim != 1
        or len(k) < 2
        or not (np.isfinite(k).all() and (k > 0).all())
        or not (all(steps > 0) or all(steps < 0))
    ):
        raise ValueError("a flow needs two or more positive scales, strictly falling or strictly rising")
    if centre.shape != (3,) or samples.ndim != 2 or samples.shape[1] != 3:
        raise ValueError(f"a flow starts at (u2, u4, u6) with replicates (R, 3), not {centre.shape}, {samples.shape}")
    if not (np.isfinite(centre).all() and np.isfinite(samples).all()):
        raise ValueError("the couplings at the start of the flow are not finite")
    if dimension < 0:
        raise ValueError(f"the dimension must not be negative, but is {dimension}")


def _sizes(centre: Array, first: float, last: float, dimension: int) -> Array:
    """Unit (3,) of absolute errors: the size of each coupling, or of its beta function on the way if that is larger."""
    k = np.geomspace(first, last, 33)
    k = k[k**2 + centre[0] > 0.1 * k**2]
    slopes = np.abs(potential_beta(np.broadcast_to(centre, (len(k), 3)), k, dimension)).max(axis=0, initial=0)
    sizes = np.maximum(np.abs(centre), slopes)
    return np.where(sizes > 0, sizes, 1.0)


def _reason(alive: NDArray[np.bool_], exhausted: NDArray[np.bool_], reached: float, first: float, centre: Array) -> str:
    """What became of the flow of the central values (row 0) and of its replicates; empty if nothing is missing."""
    if exhausted[0]:
        return f"the flow needs more than {_MAX_STEPS} steps: stopped at k = {reached:.6g}"
    if not alive[0, 0]:
        return f"singular at the start: k^2 + u2 = {first**2 + centre[0]:.6g} at k = {first:.6g} is not positive"
    if not alive[0].all():
        return f"singular: k^2 + u2 vanishes or a coupling diverges near k = {reached:.6g}"
    if lost := int((~alive[1:].all(axis=1)).sum()):
        return f"{lost} of {len(alive) - 1} replicates become singular: no error can be given there"
    return ""


@cache
def _solver() -> Callable:
    """Compiled flow of rows (r, 3) to times (n,) = |log k / k_0|: flows (r, n, 3), end (r,), out of steps (r,)."""
    import diffrax  # nearly a second, so only where it is needed

    def beta(time, y, flow):
        sign, start, dimension, volume, sizes = flow
        return sign * jnp.stack(_beta(y * sizes, jnp.exp(start + sign * time), dimension, volume)) / sizes

    def singular(time, y, flow, **_):
        sign, start, _, _, sizes = flow
        return 1 + y[0] * sizes[0] * jnp.exp(-2 * (start + sign * time)) < _SINGULAR

    def solve(row, times, flow, rtol):
        sizes = flow[-1]
        steps = diffrax.PIDController(
            rtol=rtol, atol=rtol, dtmin=_SMALLEST_STEP, dtmax=_LARGEST_STEP, force_dtmin=False
        )
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(beta),
            diffrax.Dopri8(),
            t0=0.0,
            t1=times[-1],
            dt0=None,
            y0=row / sizes,
            args=flow,
            saveat=diffrax.SaveAt(subs=[diffrax.SubSaveAt(ts=times), diffrax.SubSaveAt(t1=True)]),
            stepsize_controller=diffrax.ClipStepSizeController(steps, step_ts=times[1:]),
            event=diffrax.Event(singular),
            max_steps=_MAX_STEPS,
            throw=False,
        )
        assert solution.ys is not None
        assert solution.ts is not None
        exhausted = solution.result == diffrax.RESULTS.max_steps_reached
        return solution.ys[0] * sizes, solution.ts[1][0], exhausted

    return jax.jit(jax.vmap(solve, in_axes=(0, None, None, None)))
