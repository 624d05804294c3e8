"""The points, the legs on them and the region of the vertices, checked; and the rules over that region.

Regions are the box |y_i| <= Lambda and the ball |y| <= Lambda. Smooth legs have rules over the volume and the surface
at one cutoff; legs homogeneous in y have one over the faces of the unit box or the unit sphere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nnqft.couplings.contraction import TOLERANCE
from nnqft.couplings.kernels import leg_kernel, propagator
from nnqft.couplings.quadrature import (
    Rule,
    ball_surface,
    ball_volume,
    box_surface,
    box_volume,
    on_the_sphere,
    panel_edges,
    unit_faces,
)
from nnqft.couplings.trees import Legs

Array = NDArray[np.float64]
Region = Literal["box", "ball"]


@dataclass(frozen=True)
class Theory:
    """The points (n, d_in), the legs on them, and the region of the vertices."""

    activation: str
    sigma_w: float
    x: Array
    legs: Legs
    region: Region
    homogeneous: bool  # legs of degree 1 in y
    scale: float  # distance of the nearest singularity of a leg from the real axis

    @property
    def flat(self) -> bool:
        """Whether the region is a box, which in one dimension the ball is too."""
        return self.region == "box" or self.x.shape[1] == 1

    @property
    def kinked(self) -> bool:
        """Whether the legs have singularities on the real axis."""
        return self.activation == "relu"

    def closed(self, cutoff: float) -> bool:
        """Whether the integrals are those of Gaussians over a box, or over everything."""
        return self.activation == "gauss" and (self.flat or not np.isfinite(cutoff))


def theory(
    activation: str,
    sigma_w: float,
    sigma_b: float,
    x: Array,
    cutoffs: Array,
    *,
    depth: int,
    region: Region,
    strength: float,
    trees: bool,
    powers: tuple[int, ...] = (0,),
    single: bool = False,
) -> Theory:
    """The theory of legs of strength 1; `powers`, `single` as in :class:`Legs`.

    Raises ValueError for points not of shape (n, d_in) with d_in = 1, 2 or 3, for cutoffs that are not positive, or
    infinite for legs that do not decay, for an unknown region, for a strength that is not positive, for more than one
    layer, and for an activation without legs or, if `trees`, without a closed kernel.
    """
    if x.ndim != 2 or x.shape[1] not in TOLERANCE or not np.isfinite(x).all():
        raise ValueError(f"vertex integrals need finite points of shape (n, d_in) with d_in = 1, 2 or 3, not {x.shape}")
    if cutoffs.ndim != 1 or not np.all(cutoffs > 0):
        raise ValueError(f"cutoffs must be a list of positive numbers, not {cutoffs}")
    if not 0 < strength < np.inf:
        raise ValueError(f"the strength of the legs is positive and finite, not {strength}")
    if region not in ("box", "ball"):
        raise ValueError(f"vertex integrals are over a box or a ball, not {region!r}")
    leg_kernel(activation, sigma_w, sigma_b, x, x[:1], depth=depth)  # refuses what has no legs
    if trees:
        propagator(activation, sigma_w, sigma_b, x, x)  # and this what has no trees
    if activation != "gauss" and not np.isfinite(cutoffs).all():
        raise ValueError(f"an infinite cutoff is possible for gauss only: the legs of {activation} do not decay")
    legs = Legs(
        lambda y: leg_kernel(activation, sigma_w, sigma_b, x, y),
        lambda y, z: propagator(activation, sigma_w, sigma_b, y, z),
        len(x),
        powers,
        single,
    )
    relu = activation == "relu"
    scale = np.sqrt(x.shape[1] * (sigma_b**2 if relu and sigma_b else 0.5 + sigma_b**2)) / sigma_w
    homogeneous = sigma_b == 0 and activation in ("relu", "linear")
    return Theory(activation, sigma_w, x, legs, region, homogeneous, float(scale))


def edges(theory: Theory, cutoff: float, breaks: Array) -> list[Array]:
    """Panel edges, in u, of every coordinate, split at 0 and the coordinates of the breaks (m, d_in)."""
    columns = (np.append(column, 0.0) for column in breaks.T)
    return [np.arcsinh(panel_edges(column, cutoff) / theory.scale) for column in columns]


def rules(theory: Theory, cutoff: float, edges: list[Array]) -> tuple[Callable[[int], Rule], Callable[[int], Rule]]:
    """Rules by their number of nodes over the volume, u, y_i or |y| = scale sinh u, and over the surface."""
    scale, d = theory.scale, theory.x.shape[1]
    if theory.flat:
        return lambda nodes: box_volume(edges, scale, nodes), lambda nodes: box_surface(edges, scale, cutoff, nodes)
    return lambda nodes: ball_volume(scale, cutoff, d, nodes), lambda nodes: ball_surface(cutoff, d, nodes)


def unit_surface(theory: Theory, breaks: list[list[Array]]) -> Callable[[int], Rule]:
    """Rules by their number of nodes over the faces of the unit box, or over the unit sphere."""

    def rule(nodes: int) -> Rule:
        faces = unit_faces(breaks, nodes)
        return faces if theory.flat else on_the_sphere(faces)

    return rule
