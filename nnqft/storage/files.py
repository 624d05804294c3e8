"""Small files that are either old or new, never half: temporary file, fsync, rename; and locks that die with us."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any


def write_atomic(path: Path, text: str) -> None:
    """Replace a text file in one step that survives a crash of program or machine."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """:func:`write_atomic` of any content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{token_hex(4)}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_json(path: Path, content: Any) -> None:
    """An atomic, deterministic JSON file: sorted keys, one indentation, a final newline."""
    write_atomic(path, json.dumps(content, sort_keys=True, indent=1, allow_nan=False) + "\n")


@contextmanager
def locked(path: Path, patience: float) -> Iterator[int]:
    """Hold an exclusive lock on a file; yields its descriptor, which a child may inherit.

    The kernel releases the lock when its holders are gone, however they went. Waits up to `patience` seconds.

    Raises:
        TimeoutError: naming the lock file, when somebody else still holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{path}: another run holds this scan; wait for it or stop it") from None
                time.sleep(0.2)
        yield handle
    finally:
        os.close(handle)
