"""The scan file as a pydantic model: every key, its type, its default and its meaning.

This model generates ``workflow/schemas/scan.schema.json``; a test keeps the two in step.
"""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from nnqft.core.packing import Basis
from nnqft.core.selection import select
from nnqft.spec.fields import Depth, Name, PositiveSigma, Real, Section, Sigma, distinct, no_bool, whole
from nnqft.spec.measurements import Criticality, Measurement, Trainability

SWEEPABLE = ("activation", "depth", "sigma_w", "sigma_b")
"""Hyperparameters that may be given as a list."""

MOST_POINTS = 10**6
"""Scan points of one file, all widths counted."""

_COUPLING = re.compile(r"lambda_(nl|0|[2468]|1[02468])")
Option = bool | int | Real | str
Order = Annotated[Literal[2, 4, 6, 8], BeforeValidator(no_bool)]
Sampler = Literal["conditional", "weights", "tilted"]
Estimator = Literal["auto", "total", "marginal", "product"]
Pattern = Annotated[str, Field(pattern=r"^[A-Za-z]{4,8}$")]
Index = Annotated[int, Field(ge=0, le=63), BeforeValidator(no_bool)]


def _coupling(value: str) -> str:
    if not _COUPLING.fullmatch(value):
        raise ValueError(f"no coupling {value!r}; use lambda_0, lambda_2, ..., lambda_18 or lambda_nl")
    return value


Coupling = Annotated[str, AfterValidator(_coupling), Field(json_schema_extra={"pattern": rf"^{_COUPLING.pattern}$"})]


class ArchitectureFamily(Section):
    """One entry of `architectures`: an ensemble, or a sweep of ensembles where a value is a list."""

    network: Name = "mlp"
    """Kind of network (the registry of `nnqft.nets`)."""
    activation: Name | Annotated[list[Name], Field(min_length=1), AfterValidator(distinct)] | None = None
    """Nonlinearity of the hidden units; `gauss` is HMS's normalised exponential. Some networks leave no choice."""
    depth: Depth | Annotated[list[Depth], Field(min_length=1), AfterValidator(distinct)] = 1
    """Number of hidden layers."""
    sigma_w: PositiveSigma | Annotated[list[PositiveSigma], Field(min_length=1), AfterValidator(distinct)] = 1.0
    """Weights have variance sigma_w^2 / fan_in."""
    sigma_b: Sigma | Annotated[list[Sigma], Field(min_length=1), AfterValidator(distinct)] = 0.0
    """Biases have variance sigma_b^2 (the output's too)."""
    options: dict[Name, Option | list[Option]] = {}
    """What else the network's kind lets one choose (its page in the documentation); not swept."""
    points: Name
    """Name of the point set on which the outputs are measured."""
    measure: Annotated[list[Measurement], Field(min_length=1), AfterValidator(distinct)] = ["cumulants"]
    """What is measured: `cumulants` (correlators, couplings, flows), `criticality` (depth scales, Lyapunov exponents,
    fluctuations layer by layer), or both."""
    heldout: Name | None = None
    """A second point set, measured too: couplings fitted on `points` must predict the correlators there."""
    sampler: Sampler | None = None
    """This family's own `ensemble.sampler`."""
    estimator: Estimator | None = None
    """This family's own `ensemble.estimator`."""
    swept: Annotated[tuple[str, ...], Field(exclude=True, json_schema_extra={"internal": True})] = ()
    """The swept keys in the order written (filled in when the file is read; never written by hand)."""

    @property
    def points_swept(self) -> int:
        """Scan points of this family at each width."""
        return math.prod(len(value) for key in SWEEPABLE if isinstance(value := getattr(self, key), list))

    @model_validator(mode="before")
    @classmethod
    def _remember_order(cls, data: Any) -> Any:
        if isinstance(data, dict):
            if "swept" in data:
                raise ValueError("swept is not a key: give a hyperparameter a list to sweep it")
            return {**data, "swept": tuple(k for k in data if k in SWEEPABLE and isinstance(data[k], list))}
        return data


class Ensemble(Section):
    """How many networks are drawn, and how."""

    networks: Annotated[int, Field(ge=2, le=10**13), BeforeValidator(whole)] = 100_000
    """Networks for each (architecture, width), rounded up to whole blocks; with a `target`, at most so many."""
    block: Annotated[int, Field(ge=4, le=2**31), BeforeValidator(whole)] = 16_384
    """Networks in a block: the unit of work, commit and resume."""
    replicates: Annotated[int, Field(ge=2, le=65_536), BeforeValidator(whole)] = 64
    """Jackknife groups."""
    sampler: Sampler = "conditional"
    """`conditional` draws preactivations given the previous layer (exact and cheap); `weights` draws every weight;
    `tilted` draws neurons of one hidden layer where the correlators come from (importance sampling)."""
    estimator: Estimator = "auto"
    """`total` integrates the last layer and uses the independence of its neurons (law of total cumulance); `marginal`
    integrates the last layer exactly (Rao-Blackwell); `product` averages products of outputs; `auto` takes the first
    of these that the network allows."""
    target: dict[Literal["G2", "G4c", "G6c", "G8c"], Annotated[Real, Field(gt=0, lt=1)]] = {}
    """Relative standard errors to reach; then `networks` is the ceiling and noisy cells get more blocks than others."""
    precision: Literal["auto", "float32", "float64"] = "auto"
    """Arithmetic of the hidden units; `auto` takes float64 where two points are nearly the same to the network."""


class Selection(Section):
    """The components of order 4 and above that are estimated on one point set: the union of three lists."""

    patterns: Annotated[list[Pattern], AfterValidator(distinct)] = []
    """Such as aaaa, aabb, aabbcc: equal letters are equal points, different letters different ones, in any order."""
    subsets: Annotated[list[Annotated[list[Index], Field(min_length=1)]], AfterValidator(distinct)] = []
    """Points, counted from 0: every component on these points alone, at every order."""
    tuples: Annotated[list[Annotated[list[Index], Field(min_length=4, max_length=8)]], AfterValidator(distinct)] = []
    """Single components: the points of their legs, counted from 0."""

    def basis(self, points: int, orders: list[int]) -> Basis:
        """The components of `orders` on so many points; ValueError for a selection that is none."""
        for lengths, key in ((map(len, self.patterns), "patterns"), (map(len, self.tuples), "tuples")):
            if wrong := sorted(set(lengths) - set(orders)):
                raise ValueError(f"{key} of {wrong[0]} legs, but orders {orders}; give 4, 6 or 8 legs, as in orders")
        if wanting := [p for p in self.patterns if len(set(p)) > points]:
            raise ValueError(f"{wanting[0]} has more letters than the {points} points; leave it out")
        listed = (tuple(map(tuple, rows)) for rows in (self.subsets, self.tuples))
        return select(points, tuple(sorted(orders)), tuple(self.patterns), *listed)


class Cumulants(Section):
    """Which correlators are estimated."""

    orders: Annotated[list[Order], Field(min_length=1), AfterValidator(distinct)] = [2, 4, 6]
    """Orders; a higher one needs the lower ones."""
    components: dict[Name, Selection] = {}
    """By point set: only these components of order 4 and above. Point sets that are not named here keep all."""

    @model_validator(mode="after")
    def _complete(self) -> "Cumulants":
        if sorted(self.orders) != [2, 4, 6, 8][: len(self.orders)]:
            raise ValueError("give [2], [2, 4], [2, 4, 6] or [2, 4, 6, 8]: an order needs those below it")
        return self

    @model_serializer(mode="wrap")
    def _without_empty(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a selection, what the workflow tracks is that of versions that knew none."""
        data = handler(self)
        return data if self.components else {key: value for key, value in data.items() if key != "components"}


class Truncation(Section):
    """The operators that a model leaves out, as an error with a prior (docs/couplings.md)."""

    operators: Annotated[list[Coupling], Field(min_length=1), AfterValidator(distinct)] = ["lambda_2"]
    """Those of them that are not in a model may contribute to its data what its own couplings cannot absorb."""
    naturalness: Annotated[Real, Field(gt=0)] = 1.0
    """Standard deviation of the prior, in units of the coupling with which the operator alone were as large as G4c."""


class Couplings(Section):
    """Effective couplings fitted to the four- and six-point cumulants."""

    cutoffs: Annotated[list[PositiveSigma], Field(min_length=1), AfterValidator(distinct)] = [7, 10, 20, 50, 100, 1000]
    """Box cutoffs Lambda of the vertex integrals."""
    models: Annotated[
        list[Annotated[list[Coupling], Field(min_length=1), AfterValidator(distinct)]],
        Field(min_length=1),
        AfterValidator(distinct),
    ] = [["lambda_0"]]
    """Sets of couplings fitted together: lambda_0, lambda_nl, and lambda_2k for the monomials (y^2)^k."""
    weights: Literal["covariance", "unit"] = "covariance"
    """`covariance`: generalised least squares. `unit`: every component counts the same, as in HMS; errors are the
    jackknife's, and there is no chi^2, no criterion and no error of truncation."""
    svd_cut: Annotated[Real, Field(ge=0, le=1)] = 1e-6
    """Modes of the correlation matrix are kept whose eigenvalue is at least this fraction of the largest."""
    truncation: Truncation | None = None
    """Errors of truncation; none if not given."""
    average: Literal["aic", "evidence"] | None = None
    """Average lambda_0 over the models, weighted by Akaike's criterion or by their evidence; not if not given."""
    asymmetric: bool = False
    """Fit quartic couplings and kappa together, non-linearly, with asymmetric errors (needs nnqft[minuit])."""

    @model_validator(mode="after")
    def _weighted(self) -> "Couplings":
        needing = {"truncation": self.truncation, "average": self.average, "asymmetric": self.asymmetric or None}
        if self.weights == "unit" and (given := [key for key, value in needing.items() if value is not None]):
            raise ValueError(f"unit weights leave no {given[0]}; leave couplings.{given[0]} or couplings.weights out")
        return self


Coordinates = Annotated[list[Real], Field(min_length=1, max_length=64)]
PointSet = Annotated[list[Coordinates], Field(min_length=1, max_length=64)]


class Scan(Section):
    """A whole scan file."""

    name: Name
    """Results go to results/<name>/."""
    seed: Annotated[int, Field(ge=0, lt=2**63), BeforeValidator(whole)]
    """The only source of randomness."""
    points: Annotated[dict[Name, PointSet], Field(min_length=1)]
    """Named sets of input points, each a list of n_x points of d_in coordinates."""
    architectures: Annotated[dict[Name, ArchitectureFamily], Field(min_length=1)]
    """Named ensembles and sweeps."""
    widths: Annotated[
        list[Annotated[int, Field(ge=1, le=2**24), BeforeValidator(whole)]],
        Field(min_length=1),
        AfterValidator(distinct),
    ]
    """Widths N of the hidden layers."""
    ensemble: Ensemble = Ensemble()
    cumulants: Cumulants = Cumulants()
    couplings: Couplings = Couplings()
    criticality: Criticality = Criticality()
    trainability: dict[Name, Trainability] = {}
    """Named maps of the accuracy after training over sigma_w and depth."""

    @model_validator(mode="after")
    def _consistent(self) -> "Scan":
        for name, rows in self.points.items():
            if len({len(row) for row in rows}) > 1:
                raise ValueError(f"points.{name}: its points have different numbers of coordinates; give each as many")
        self._check_number()
        orders = {f"G{k}c": k for k in (4, 6, 8)} | {"G2": 2}
        for name in self.ensemble.target:
            if orders[name] not in self.cumulants.orders:
                raise ValueError(f"ensemble.target.{name}: not estimated; add {orders[name]} to cumulants.orders")
        for name, selection in self.cumulants.components.items():
            where = f"cumulants.components.{name}"
            if name not in self.points:
                raise ValueError(f"{where}: no point set {name!r}; defined are: {', '.join(sorted(self.points))}")
            try:
                selection.basis(len(self.points[name]), list(self.cumulants.orders))
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
        for name, family in self.architectures.items():
            if family.points not in self.points:
                known = ", ".join(sorted(self.points))
                raise ValueError(f"architectures.{name}.points: no point set {family.points!r}; defined are: {known}")
            self._check_heldout(name, family)
        return self

    def _check_number(self) -> None:
        found = {
            f"architectures.{name}": len(self.widths) * family.points_swept
            for name, family in self.architectures.items()
        }
        found |= {f"trainability.{name}": len(t.sigma_w) * len(t.depth) for name, t in self.trainability.items()}
        where = max(found, key=lambda key: found[key])
        if sum(found.values()) > MOST_POINTS:
            raise ValueError(
                f"{where}: {sum(found.values()):,} scan points; sweep fewer values (at most {MOST_POINTS:,})"
            )

    def _check_heldout(self, name: str, family: ArchitectureFamily) -> None:
        where, other = f"architectures.{name}.heldout", family.heldout
        if other is None:
            return
        if "cumulants" not in family.measure:
            raise ValueError(f"{where}: only correlators are compared there; add cumulants to measure, or remove it")
        if other not in self.points or other == family.points:
            known = ", ".join(sorted(set(self.points) - {family.points})) or "none"
            raise ValueError(f"{where}: no other point set {other!r}; defined are: {known}")
        if len(self.points[other][0]) != len(self.points[family.points][0]):
            raise ValueError(f"{where}: {other} has another number of coordinates; give points of the same dimension")

    def basis(self, points: str) -> Basis:
        """The components of the correlators on a point set: its number of points for all of them, or a selection."""
        number, chosen = len(self.points[points]), self.cumulants.components.get(points)
        return number if chosen is None else chosen.basis(number, list(self.cumulants.orders))
