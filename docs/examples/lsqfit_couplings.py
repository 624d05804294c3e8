"""lambda and kappa of one network by lsqfit, beside nnqft's own fits of the same numbers.

    pip install "nnqft[lattice,minuit]"
    python docs/examples/lsqfit_couplings.py results/hms --architecture relu-net --width 20 --cutoff 10

Three fits of G4c = X lambda, G6c = lambda^2 T - 720 kappa I6 with the covariance of all components: lsqfit with the
modes that nnqft drops dropped, lsqfit's own way with the same cut (small eigenvalues raised, no mode dropped), and
nnqft's joint fit with MINOS errors. The last lines are couplings.zarr, as the scan wrote it.
"""

import argparse

import gvar
import lsqfit
import numpy as np

import nnqft
from nnqft.core.packing import rank
from nnqft.couplings.export import drop_cut, to_gvar
from nnqft.couplings.joint import joint_fit
from nnqft.couplings.vertices import ALL, design, vertex_integrals


def read(results, architecture, width):
    """The point set of an architecture, and its cumulants at one width."""
    for points, group in results.cumulants.children.items():
        cell = group.to_dataset()
        if architecture in cell["architecture"].values and width in cell["width"].values:
            return points, cell.sel(architecture=architecture, width=width).load()
    raise SystemExit(f"no {architecture} of width {width} in these results")


def vertices(cell, cutoff):
    """X (quads, 1), T (sexts,) and I6 (sexts,) of the components that were measured."""
    x = cell["x"].values
    law = str(cell["activation"].values), float(cell["sigma_w"]), float(cell["sigma_b"])
    integrals = vertex_integrals(*law, x, [cutoff], depth=int(cell["depth"]), names=ALL)
    quad, sext = (rank(cell[name].values, len(x)) for name in ("quad_points", "sext_points"))
    tree = 24**2 * integrals["tree"][0].sum(axis=-1)
    return design(integrals, ["lambda_0"])[0][quad], tree[sext], integrals["I6"][0][sext]


def main():
    """Read, fit three times, print beside what the scan found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="results of a finished scan that estimated orders 4 and 6")
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--cutoff", type=float, required=True, help="one of the scan's couplings.cutoffs")
    asked = parser.parse_args()

    results = nnqft.open_results(asked.folder)
    points, cell = read(results, asked.architecture, asked.width)
    values = {name: cell[name].values for name in ("G4c", "G6c")}
    replicates = {name: cell[f"{name}_replicate"].transpose("replicate", ...).values for name in values}
    X, T, I6 = vertices(cell, asked.cutoff)
    R = len(replicates["G4c"])

    data = to_gvar(values, replicates)
    scale = np.array([np.linalg.lstsq(X, values["G4c"])[0][0], 0.0])
    scale[1] = np.linalg.norm(values["G6c"]) / np.linalg.norm(720 * I6)  # fit numbers of order one: kappa may be 1e-9

    def model(p):
        coupling, kappa = p * scale
        return {"G4c": X[:, 0] * coupling, "G6c": T * coupling**2 - 720 * I6 * kappa}

    print(f"{asked.architecture}, N = {asked.width}, Lambda = {asked.cutoff:g}: {data.size} components, {R} replicates")
    cut = drop_cut(replicates)
    for name, svdcut in (("lsqfit, modes dropped", cut), ("lsqfit, modes raised", -cut)):
        fit = lsqfit.nonlinear_fit(data=data, fcn=model, p0=[1.0, 1.0], svdcut=svdcut)
        coupling, kappa = fit.p * scale
        chi2 = fit.chi2 / max(fit.dof, 1)
        print(f"{name:22} lambda = {coupling}, kappa = {kappa}, chi2/dof = {chi2:.2f} [{fit.dof}]")

    found = joint_fit(*(a[name] for name in values for a in (values, replicates)), X, T[:, None, None], I6)
    sizes = zip(found.values, found.stderr, found.lower, found.upper, strict=True)
    shown = [f"{gvar.gvar(value, error)} ({low:+.2g} {high:+.2g})" for value, error, low, high in sizes]
    print(f"{'nnqft joint_fit':22} lambda = {shown[0]}, kappa = {shown[1]}", end=", ")
    print(f"chi2/dof = {found.chi2 / max(found.dof, 1):.2f} [{found.dof}], p = {found.p_value:.2f} {found.reason}")

    stored = results.couplings[points].to_dataset()
    stored = stored.sel(architecture=asked.architecture, width=asked.width, cutoff=asked.cutoff, method=None)
    for number in range(stored.sizes["model"]):
        row = stored.isel(model=number)
        pairs = [(name, row[name].item(), row[f"{name}_stderr"].item()) for name in ("lambda_0", "kappa")]
        text = [f"{name} = {gvar.gvar(value, error) if np.isfinite(value) else 'none'}" for name, value, error in pairs]
        print(f"couplings.zarr {row['model'].item()}: {', '.join(text)}; {row['status'].item()}")


if __name__ == "__main__":
    main()
