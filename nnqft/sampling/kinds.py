"""Which estimator a cell gets, what it costs in memory, and whether it can be measured at all.

With f = b + sum_i w_i s_i and the readout integrated exactly,

- `neurons`: features independent across the whole network (one hidden layer): every one of the networks x width
  features is a sample, and G_2k,c = N^{1-k} times the cumulant of one w s;
- `total`: features independent given the layers below the last: law of total cumulance with the exact conditional
  kernel and the scatter of neurons within a network;
- `marginal`: any network; Khat of the features is the sample;
- `product`: f itself is the sample.

`auto` takes the first that the network allows; each is cheaper at equal error than the next (docs: estimators).
"""

import math

from nnqft.core.errors import InputError
from nnqft.core.packing import number
from nnqft.estimation.kstatistics import PRODUCT, Amplitude
from nnqft.nets.base import Network
from nnqft.nets.maps import CLOSED
from nnqft.sampling.block import GAUSSIAN, SUBBATCHES, BlockSpec, Kind, any_width, tile_lanes
from nnqft.sampling.selected import CHUNK

ESTIMATORS = ("auto", "total", "marginal", "product")
PRODUCT_LIMIT = 16 * 2**30
"""Bytes that the dense stores of one point set may hold: a stage has it in memory."""
MEMORY_LIMIT = 2 * 2**30
"""Bytes that one worker may need for one block."""


def kind(net: Network, estimator: str, max_order: int) -> Kind:
    """The estimator that a network gets.

    Raises:
        InputError: when the network does not allow the one asked for.
    """
    if estimator not in ESTIMATORS:
        raise InputError("estimator", f"no estimator {estimator!r}", f"use one of {', '.join(ESTIMATORS)}")
    finite = all(math.isfinite(m) for m in net.readout_moments[: max_order // 2 - 1])
    if not finite:
        remedy = "lower cumulants.orders, or use another readout law"
        raise InputError("options", f"the readout's weights have infinite moments at order {max_order}", remedy)
    pooled = net.independence == "iid"
    total = (
        net.independence == "given" and net.activation.name in CLOSED and max_order <= 6 and net.units > max_order // 2
    )
    marginal = max_order < 8 or net.readout_moments == GAUSSIAN
    possible: dict[Kind, bool] = {"neurons": pooled, "total": total, "marginal": marginal, "product": True}
    allowed: list[Kind] = [name for name, may in possible.items() if may]
    if net.sampler == "tilted" and not (pooled and any_width(net)):
        raise InputError("sampler", "tilted needs a network of one hidden layer of Gaussian weights", "use conditional")
    if net.sampler == "tilted" and (estimator not in ("auto", "total") or max_order > 6):
        raise InputError("sampler", "tilted has no other estimator and no order 8", "use estimator: auto, orders to 6")
    if estimator == "auto":
        return allowed[0]
    if estimator == "total":
        if pooled or total:
            return allowed[0]
        why = f"{net.name} networks like this have no closed conditional kernel, width > {max_order // 2} or order <= 6"
        raise InputError("estimator", why, "use auto or marginal")
    if estimator == "marginal" and not marginal:
        raise InputError("estimator", "marginal has no order 8 for this readout law", "use product, or lower orders")
    return "marginal" if estimator == "marginal" else "product"


def amplitude(spec: BlockSpec, dimension: int) -> Amplitude:
    """Moments in front of W_4, W_6, W_8 in the estimator, for points of d_in = `dimension`."""
    if spec.kind == "product":
        return PRODUCT
    if spec.kind == "neurons":
        readout, shared = spec.net.readout_moments, (1.0, 1.0, 1.0)
        if any_width(spec.net):
            shared = spec.net.common_moments(spec.points, dimension)
        four, six, eight = (r * c / w for r, c, w in zip(readout, shared, GAUSSIAN, strict=True))
        return Amplitude(four, six, eight, shared[0], spec.net.units)
    return Amplitude()


def memory(spec: BlockSpec) -> int:
    """Estimated bytes at work in one block: the statistics (held three times), the tile, the matrices of its sums."""
    n, order, selected = spec.points, spec.max_order, spec.components is not None
    P, Q = number(n, 2), number(spec.basis, 4)
    statistics = 3 * 8 * spec.subbatches * (sum(spec.layout.values()) + 16)
    pooled = spec.kind == "neurons" and any_width(spec.net)
    networks = 1 if pooled else tile_lanes(spec)
    lanes = tile_lanes(spec) if pooled else networks * spec.net.units
    width = 8 if spec.net.dtype == "float64" else 4
    monomials = P + (math.comb(n + 2, 3) if order >= 6 else 0) + (Q if order >= 8 else 0)
    tile = lanes * width * (2 * CHUNK if selected else monomials) if spec.kind in ("neurons", "total") else 0
    tile += 8 * (lanes * 4 * n if pooled else networks * spec.net.working_set(n))
    tile += networks * 8 * (4 * n * n + (3 * Q if order >= 6 or spec.kind == "total" else 0) + 3 * P)
    tile += networks * width * (2 * Q + 2 * n * n if selected else P * P) if spec.kind == "total" else 0
    if spec.net.sampler == "weights" and not (spec.kind == "neurons" and any_width(spec.net)):
        tile += networks * width * 4 * spec.net.units * (spec.net.units + 1)
    if selected:  # lists of the parts of every component, and some rows of them
        lists = sum(spec.layout.values()) * {2: 4, 4: 8, 6: 32, 8: 70}[order]
        return int(statistics + tile + 8 * (lists + 2 * CHUNK * networks * {2: 1, 4: 2, 6: 30, 8: 70}[order]))
    largest = {2: P, 4: P * P, 6: P * Q + math.comb(n + 5, 6) * 16, 8: Q * Q + math.comb(n + 7, 8) * 36}[order]
    return int(statistics + tile + 8 * 3 * largest)


def product_bytes(spec: BlockSpec, replicates: int) -> int:
    """Bytes of one cell in ``ensemble.zarr`` and ``cumulants.zarr``: sums by group, replicates of all correlators."""
    correlators = sum((1 if k == 2 else 2) * number(spec.basis, k) for k in range(2, spec.max_order + 1, 2))
    return 8 * replicates * (sum(spec.layout.values()) + correlators)


def refuse(spec: BlockSpec) -> None:
    """Stop what does not fit.

    Raises:
        InputError: for statistics too large for memory, or blocks too large for the counters.
    """
    needed = memory(spec)
    if needed > MEMORY_LIMIT:
        what = f"{spec.points} points at order {spec.max_order} need {needed / 2**30:.1f} GiB a worker"
        fewer = "fewer points, lower cumulants.orders, or a selection of components (cumulants.components)"
        weights = spec.net.sampler == "weights" and spec.net.units > 1000
        remedy = "smaller widths or sampler: conditional" if weights else fewer
        raise InputError("sampler" if weights else "points", what, f"use {remedy}")
    if spec.subbatch * spec.net.units >= 2**25:
        what = f"{spec.networks} networks of {spec.net.units} features a block overflow the counters"
        raise InputError("block", what, f"use {SUBBATCHES * 2**24 // spec.net.units} or less")
