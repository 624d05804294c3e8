"""The list of a leaf's cells: which content owns which row. Without it committed blocks are numbers without a name.

So it is kept twice, ``index.json`` and ``index.copy.json``, each sealed with its own checksum; either mends the other.
Rows are only ever appended, and blocks of a row are computed after both copies name it.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnqft.storage.files import SEAL, SealError, read_sealed, write_sealed

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


def read_index(folder: Path) -> Entries | None:
    """The cells of a leaf in the order of their rows; None where neither copy can be trusted."""
    for name in (INDEX, COPY):
        if (content := _whole(folder / name)) is not None:
            return content["cells"]
    return None


def both_whole(folder: Path) -> bool:
    """Whether the index and its copy say the same and are what was written."""
    found = _whole(folder / INDEX)
    return found is not None and found == _whole(folder / COPY)


def mend_index(folder: Path, static: dict[str, Any], new: Sequence[dict[str, Any]]) -> int:
    """Append cells to both copies, or make them anew where one is missing or damaged; the number of rows."""
    known = read_index(folder)
    content = {"static": static, "cells": [*(known or []), *new]}
    for name in (INDEX, COPY):
        found = _whole(folder / name)
        if found is None and known is not None:
            logging.getLogger("nnqft").warning("%s: is made again from its copy", folder / name)
        if found != content:
            write_sealed(folder / name, content)
    return len(content["cells"])


def as_rows(entries: Entries) -> dict[str, Row]:
    """Rows by identity."""
    return {
        e["identity"]: Row(i, e["identity"], e["varying"], np.array(e["centre"]), np.array(e["scale"]))
        for i, e in enumerate(entries)
    }


def _whole(path: Path) -> dict[str, Any] | None:
    """A copy that is what was written, without its seal; those of early versions have none."""
    try:
        return read_sealed(path)
    except FileNotFoundError:
        return None
    except SealError:
        pass
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if SEAL not in content and {"static", "cells"} <= set(content) else None
    except (OSError, ValueError, TypeError):
        return None
