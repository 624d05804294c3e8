"""The table of networks in the documentation: ``python -m nnqft.report.networks > docs/networks.md``.

It comes from the registry. Every row is one of the examples that the conformance test runs through.
"""

import json
from collections.abc import Iterator

from nnqft.core.errors import InputError
from nnqft.nets.base import Network
from nnqft.nets.registry import network, networks
from nnqft.predictions.outputs import theory
from nnqft.sampling.kinds import kind
from nnqft.spec.grid import Architecture, architecture

WIDTH = 64
ORDERS = (2, 4, 6, 8)
HEAD = """# Networks

Made from the registry by `python -m nnqft.report.networks`; a test keeps it true. Every row is an ensemble that the
conformance test (`tests/nets/test_conformance.py`) runs through: shapes, key discipline, samplers with one law,
agreement with the prediction. Estimators are in the order in which `estimator: auto` takes them, at width 64 and order
4. What the words mean: [estimators.md](estimators.md); a network of your own: [extending.md](extending.md).

| network | example | samplers | estimators | prediction of G2, G4c, G6c, G8c |
|---|---|---|---|---|
"""


def text() -> str:
    """The page."""
    return HEAD + "\n".join(_rows()) + "\n\n" + "\n".join(_options())


def _rows() -> Iterator[str]:
    for name, cls in networks().items():
        for example in cls.examples:
            a = architecture(**example, network=name)
            found = theory(a, [WIDTH], ORDERS).prediction
            samplers = ", ".join(s for s in cls.samplers if _allows(a, s))
            estimators = ", ".join(dict.fromkeys(_estimators(network(a, WIDTH))))
            words = ", ".join(found[order] for order in ORDERS)
            yield f"| `{name}` | {_label(a)} | {samplers} | {estimators} | {words} |"


def _label(a: Architecture) -> str:
    options = ", ".join(f"{key}: {json.dumps(value)}" for key, value in json.loads(a.options).items())
    fixed = networks()[a.network].fixed_activation
    bias = "no bias" if a.sigma_b == 0 else ""
    parts = ["" if fixed else a.activation, f"depth {a.depth}", bias, options]
    return "; ".join(filter(None, parts))


def _allows(a: Architecture, sampler: str) -> bool:
    try:
        kind(network(a, WIDTH, sampler), "auto", 4)
    except InputError:
        return False
    return True


def _estimators(net: Network) -> Iterator[str]:
    for estimator in ("total", "marginal", "product"):
        try:
            yield kind(net, estimator, 4)
        except InputError:
            continue


def _options() -> Iterator[str]:
    yield "## Options\n"
    yield "Given under `options:` of an architecture in the scan file, or as keywords of `nnqft.architecture`.\n"
    for name, cls in networks().items():
        fields = cls.Options.model_fields
        yield f"**`{name}`**" + (": none." if not fields else ":\n")
        for key, field in fields.items():
            default = "required" if field.is_required() else f"default `{json.dumps(field.default)}`"
            yield f"- `{key}` ({default}): {field.description}"
        yield ""


if __name__ == "__main__":
    print(text(), end="")
