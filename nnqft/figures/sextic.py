"""The sextic coupling against the cutoff: log |kappa| against log Lambda, with the fitted slope."""

import xarray as xr
from matplotlib.figure import Figure

from nnqft.figures import couplings as quartic
from nnqft.figures.running import SEXTIC
from nnqft.figures.table import Table

CAPTION = (
    "The sextic coupling κ of the effective action, fitted to what the tree diagrams of two quartic vertices leave of "
    "the six-point function: G⁽⁶⁾_c − 24² λ₀² Σ ∫∫dy dz K_w(x₁,y) K_w(x₂,y) K_w(x₃,y) K_w(y,z) K_w(z,x₄) K_w(z,x₅) "
    "K_w(z,x₆) = −720 κ ∫dy K_w(x₁,y) … K_w(x₆,y), the sum over the 10 splits of the legs, over |y|, |z| ≤ Λ: |κ| "
    "against Λ for a few widths, with its sign in the title; κ falls as 1/N². Errors contain those of λ₀. Lines, "
    "slopes and p-values as for λ₀: where p is below 0.001, no constant κ makes up the difference. All cutoffs share "
    "the same data: their errors are fully correlated."
)


def plot(couplings: xr.Dataset, flow: xr.Dataset, cumulants: xr.Dataset, name: str = "") -> tuple[Figure, Table]:
    """Figure and plotted numbers from one group of ``couplings.zarr``, ``flow.zarr`` and ``cumulants.zarr``."""
    return quartic.plot(couplings, flow, cumulants, name, SEXTIC)
