"""Small files that are either old or new, never half: temporary file, fsync, rename; seals; locks that die with us."""

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnqft.core.errors import DamageError
from nnqft.core.hashing import digest

SEAL = "seal"
"""Key of a sealed file's own checksum."""


class SealError(DamageError):
    """A small file that is not what was written: emptied, truncated or edited."""

    def __init__(self, path: Path):
        super().__init__(f"{path}: is not what was written (damaged or edited); delete it and run the scan again")


def write_atomic(path: Path, text: str) -> None:
    """Replace a text file in one step that survives a crash of program or machine."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """:func:`write_atomic` of any content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        if not alive(left.name.split(".")[-2]):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:  # the disk is full, say
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_json(path: Path, content: Any) -> None:
    """An atomic, deterministic JSON file: sorted keys, one indentation, a final newline."""
    write_atomic(path, _text(content))


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """:func:`write_json` with the content's own SHA-256 under `seal`."""
    write_bytes(path, sealed(content))


def read_sealed(path: Path) -> dict[str, Any]:
    """A file of :func:`write_sealed`, checked, without its seal; FileNotFoundError where there is none.

    Raises:
        SealError: when it is not what was written.
    """
    if (content := unsealed(path.read_bytes())) is None:
        raise SealError(path)
    return content


def sealed(content: dict[str, Any]) -> bytes:
    """What :func:`write_sealed` writes."""
    return _text(content | {SEAL: digest(content)}).encode()


def unsealed(text: bytes) -> dict[str, Any] | None:
    """The content of a sealed file without its seal; None when it is not what was written."""
    try:
        content = json.loads(text)
        same = text.endswith(b"}\n") and re.sub(rb"\n *", b"", text) == _one_line(content).encode()
        return content if content.pop(SEAL) == digest(content) and same else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _one_line(content: Any) -> str:
    """:func:`_text` without line breaks and indentation: several times faster, since json's C encoder makes it."""
    return json.dumps(content, sort_keys=True, separators=(",", ": "), allow_nan=False)


def _text(content: Any) -> str:
    return json.dumps(content, sort_keys=True, indent=1, allow_nan=False) + "\n"


def alive(process: str) -> bool:
    """Whether a process of this machine with that number runs."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError, PermissionError):
        return True
    return True


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
