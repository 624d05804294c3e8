"""The list of a leaf's cells: which content owns which row. Without it committed blocks are numbers without a name.

So it is kept twice, ``index.json`` and ``index.copy.json``, each sealed with its own checksum; either mends the other.
Rows are only ever appended, and blocks of a row are computed after both copies name it.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnqft.storage.files import SEAL, sealed, unsealed
from nnqft.storage.place import Place

INDEX, COPY = "index.json", "index.copy.json"
Entries = list[dict[str, Any]]
"""Of each row: identity, varying, centre and scale."""


@dataclass(frozen=True)
class Row:
    """A cell's place in the store and the constants its statistics were taken with."""

    index: int
    identity: str
    varying: dict[str, Any]
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]


def read_index(place: Place) -> Entries | None:
    """The cells of a leaf in the order of their rows; None where neither copy can be trusted."""
    for name in (INDEX, COPY):
        if (content := _whole(place, name)) is not None:
            return content["cells"]
    return None


def both_whole(place: Place) -> bool:
    """Whether the index and its copy say the same and are what was written."""
    found = _whole(place, INDEX)
    return found is not None and found == _whole(place, COPY)


def mend_index(place: Place, static: dict[str, Any], new: Sequence[dict[str, Any]]) -> int:
    """Append cells to both copies, or make them anew where one is missing or damaged; the number of rows."""
    known = read_index(place)
    cells = [*(known or []), *new]
    wanted = sealed({"static": static, "cells": cells})
    for name in (INDEX, COPY):
        if known is not None and _whole(place, name) is None:
            logging.getLogger("nnqft").warning("%s/%s: is made again from its copy", place, name)
        if place.get(name) != wanted:
            place.put_safely(name, wanted)
    return len(cells)


def as_rows(entries: Entries) -> dict[str, Row]:
    """Rows by identity."""
    return {
        e["identity"]: Row(i, e["identity"], e["varying"], np.array(e["centre"]), np.array(e["scale"]))
        for i, e in enumerate(entries)
    }


def _whole(place: Place, name: str) -> dict[str, Any] | None:
    """A copy that is what was written, without its seal; those of early versions have none."""
    if (text := place.get(name)) is None:
        return None
    if (content := unsealed(text)) is not None:
        return content
    try:
        content = json.loads(text)
        return content if SEAL not in content and {"static", "cells"} <= set(content) else None
    except (ValueError, TypeError):
        return None
