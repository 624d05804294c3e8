"""Vertex integrals on disk, found by what they are integrals of: one file for each content, never changed or trusted.

A file ``<digest>.npz`` is the SHA-256 of what follows, a line break, and an npz archive. It appears in one step. One
that does not match its checksum, or cannot be read, is computed again and replaced: deleting the folder loses nothing
but time.
"""

import hashlib
import io
import logging
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnqft.core.hashing import digest
from nnqft.storage.files import write_bytes

Arrays = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class IntegralCache:
    """Arrays by name, kept in a folder under the digest of their content."""

    folder: Path

    def fetch(self, content: Mapping[str, Any], compute: Callable[[], Arrays]) -> Arrays:
        """The arrays of a content (JSON, without infinities), computed and kept where they are not there.

        What `compute` raises is raised and not kept.
        """
        path = self.folder / f"{digest(dict(content))}.npz"
        found = _read(path)
        if found is None:
            found = compute()
            _write(path, found)
        return found


def _read(path: Path) -> Arrays | None:
    """The arrays of a file that is whole, else nothing."""
    try:
        checksum, _, archive = path.read_bytes().partition(b"\n")
        if hashlib.sha256(archive).hexdigest().encode() != checksum:
            raise ValueError("the checksum does not match")
        with np.load(io.BytesIO(archive), allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        logging.getLogger("nnqft").warning("%s: %s; the integrals are computed again", path, error)
        return None


def _write(path: Path, arrays: Arrays) -> None:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # pyright: ignore[reportArgumentType]
    archive = stream.getvalue()
    write_bytes(path, hashlib.sha256(archive).hexdigest().encode() + b"\n" + archive)
