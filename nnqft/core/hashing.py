"""Content hashes: the identity of everything that is stored, and the seed of everything that is drawn."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def canonical_json(content: Any) -> str:
    """One text for one content: sorted keys, no spaces, shortest round-trip floats; NaN and infinity refused."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(content: Any) -> str:
    """SHA-256 (64 hexadecimal digits) of the canonical JSON of a content."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def block_key(draws: Mapping[str, Any], block: int) -> np.ndarray:
    """Key of one block of random networks: two uint32 words, shape (2,).

    It depends on the content of the draws (seed, architecture, width) and the block's number and on nothing else, so
    neither the order of a configuration nor the number of workers can change a number.
    """
    words = hashlib.sha256(f"{digest(dict(draws))}:{block}".encode()).digest()[:8]
    return np.frombuffer(words, dtype="<u4").astype(np.uint32)
