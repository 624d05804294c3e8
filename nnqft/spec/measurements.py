"""Sections of a scan file for measurements beyond correlators: criticality, and trainability."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from nnqft.spec.fields import Count, Depth, Name, PositiveSigma, Real, Section, Sigma, distinct, whole

Measurement = Literal["cumulants", "criticality"]
Interval = Annotated[list[Sigma], Field(min_length=2, max_length=2)]


class Recurrent(Section):
    """How the dynamics of recurrent networks is measured; their `depth` is the number of time steps."""

    networks: Count = 32
    """Networks for each (architecture, width), rounded up to whole blocks."""
    block: Annotated[int, Field(ge=1, le=4096), BeforeValidator(whole)] = 4
    """Networks in a block: the unit of work, commit and resume."""
    burn: Annotated[int, Field(ge=1, le=100_000), BeforeValidator(whole)] = 100
    """Time steps before those that count."""
    times: Annotated[int, Field(ge=1, le=64), BeforeValidator(whole)] = 12
    """Two-time correlators are measured up to this time, and up to this lag."""
    horizon: Annotated[int, Field(ge=1, le=1000), BeforeValidator(whole)] = 20
    """Time steps of the windows over which annealed growth is averaged."""
    spectrum: bool = False
    """All Lyapunov exponents, by QR: N^3 operations a step instead of N^2."""


class Map(Section):
    """The grid of (sigma_w, sigma_b) on which mean-field theory draws the phase diagram."""

    sigma_w: Interval = [0.5, 3.0]
    """First and last value; the first above 0."""
    sigma_b: Interval = [0.0, 1.0]
    """First and last value."""
    points: Annotated[
        list[Annotated[int, Field(ge=2, le=1000), BeforeValidator(whole)]], Field(min_length=2, max_length=2)
    ] = [40, 25]
    """Numbers of values of sigma_w and of sigma_b."""

    @model_validator(mode="after")
    def _rising(self) -> "Map":
        for key, (first, last) in (("sigma_w", self.sigma_w), ("sigma_b", self.sigma_b)):
            if first >= last or (key == "sigma_w" and first == 0):
                raise ValueError(f"{key} = [{first:g}, {last:g}] is no interval; give two rising values")
        return self


class Criticality(Section):
    """How architectures with `measure: [criticality]` are measured (docs/criticality.md)."""

    networks: Annotated[int, Field(ge=2, le=10**12), BeforeValidator(whole)] = 4096
    """Perceptrons for each (architecture, width), rounded up to whole blocks."""
    block: Annotated[int, Field(ge=16, le=2**24), BeforeValidator(whole)] = 512
    """Perceptrons in a block: the unit of work, commit and resume."""
    recurrent: Recurrent = Recurrent()
    map: Map = Map()


class Trainability(Section):
    """One map of the accuracy after training over (sigma_w, depth) (docs/trainability.md)."""

    data: Literal["clusters", "digits", "digits-full"] = "clusters"
    """`clusters`: four Gaussian clusters in ten dimensions; `digits`: 500 images of scikit-learn's, 8 x 8;
    `digits-full`: four fifths of them all."""
    activation: Name = "tanh"
    """Nonlinearity of the hidden units."""
    sigma_w: Annotated[list[PositiveSigma], Field(min_length=1), AfterValidator(distinct)]
    """Initial weights have variance sigma_w^2 / fan_in."""
    sigma_b: Sigma = 0.0
    """Initial biases have variance sigma_b^2."""
    depth: Annotated[list[Depth], Field(min_length=1), AfterValidator(distinct)]
    """Numbers of hidden layers."""
    width: Annotated[int, Field(ge=1, le=4096), BeforeValidator(whole)] = 64
    """Neurons of a hidden layer."""
    seeds: Count = 4
    """Networks trained at each (sigma_w, depth), rounded up to whole blocks."""
    block: Annotated[int, Field(ge=1, le=1024), BeforeValidator(whole)] = 1
    """Networks trained in one block: the unit of work, commit and resume."""
    steps: Annotated[int, Field(ge=1, le=10**6), BeforeValidator(whole)] = 400
    """Steps of gradient descent on all data at once."""
    rates: Annotated[
        list[Annotated[Real, Field(gt=0)]], Field(min_length=1, max_length=8), AfterValidator(distinct)
    ] = [0.05, 0.005]
    """Learning rates; the one with the smallest final loss counts."""
