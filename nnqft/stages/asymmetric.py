"""Quartic couplings and kappa fitted together, non-linearly, with asymmetric errors: `couplings.asymmetric`."""

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nnqft.couplings.joint import joint_fit
from nnqft.stages.fits import CellFit, Integrals

QUALITY = ("chi2", "dof", "p_value")


class AsymmetricFits:
    """The joint fits of one point set, entered one by one into arrays (architecture, width, cutoff, model)."""

    def __init__(
        self, shape: tuple[int, ...], names: tuple[str, ...], integrals: list[Integrals], cumulants: xr.Dataset
    ):
        self.integrals, self.cumulants = integrals, cumulants
        keys = [f"{name}_{end}" for name in (*names, "kappa") for end in ("joint", "lower", "upper")]
        keys += [f"joint_{key}" for key in QUALITY]
        self.arrays: dict[str, NDArray[Any]] = {key: np.full(shape, np.nan) for key in keys}
        self.arrays["joint_status"] = np.full(shape, "", dtype=object)

    def enter(self, own: CellFit) -> None:
        """Fit and store the joint fit that belongs to a linear one; lower and upper are signed errors."""
        a, w, k, _ = at = own.position
        six = self.integrals[a].six
        if six is None or six.reasons[k] or not own.fit.accepted:
            self.arrays["joint_status"][at] = own.sextic_reason or own.fit.reason
            return
        sixth = self.cumulants["G6c"].values[a, w], self.cumulants["G6c_replicate"].values[a, w]
        found = joint_fit(own.data, own.samples, *sixth, own.design, six.between(own.model, own.model, k), six.I6[k])
        for i, name in enumerate((*own.model, "kappa")):
            for end, values in (("joint", found.values), ("lower", found.lower), ("upper", found.upper)):
                self.arrays[f"{name}_{end}"][at] = values[i]
        for key in QUALITY:
            self.arrays[f"joint_{key}"][at] = getattr(found, key)
        self.arrays["joint_status"][at] = found.reason
