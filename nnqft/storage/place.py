"""Where data are: a folder of files, or a prefix of an object store (:mod:`nnqft.storage.objects`).

A place holds byte strings by key, a relative path with slashes. Whatever is put appears whole or not at all, and what
has been put is there for every reader: POSIX renames, and the strong consistency of today's object stores.
"""

import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nnqft.storage.files import alive, locked, write_bytes

Item = TypeVar("Item")
Result = TypeVar("Result")

ABSENT = FileNotFoundError, NotADirectoryError
"""Other errors say that something cannot be read, which does not mean that it is not there."""


class Place(ABC):
    """Plain data: it can travel to a worker. `str` of it is what messages name."""

    @abstractmethod
    def __truediv__(self, key: str) -> "Place":
        """The part of this place under a key."""

    @abstractmethod
    def get(self, key: str) -> bytes | None:
        """What is there, or None."""

    @abstractmethod
    def put(self, key: str, content: bytes) -> None:
        """Replace what is there in one step."""

    def put_safely(self, key: str, content: bytes) -> None:
        """:meth:`put`, and survive a crash of the machine."""
        self.put(key, content)

    @abstractmethod
    def size(self, key: str) -> int:
        """Bytes there, 0 where there is nothing."""

    @abstractmethod
    def state(self, key: str) -> Hashable:
        """Something that changes whenever the content does; None where there is nothing."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove what is there, if there is anything."""

    @abstractmethod
    def names(self, under: str = "") -> Iterator[str]:
        """All keys (under another one), in no order."""

    @abstractmethod
    def move(self, old: str, new: str) -> None:
        """Move everything under a key to another one, where there is nothing."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is such a place: a folder, or an object."""

    @abstractmethod
    def zarr(self, writable: bool = False) -> Any:
        """What zarr and xarray open."""

    @abstractmethod
    def replaced(self) -> AbstractContextManager[Path]:
        """A new local folder to fill, whose files take the place of all that is here when the context ends."""

    def many(self, function: Callable[[Item], Result], items: Sequence[Item], at_once: int = 32) -> list[Result]:
        """A function that waits for this place, of many arguments: `at_once` at a time where waiting is long."""
        return [function(item) for item in items]

    def sweep(self) -> None:  # noqa: B027 - an object is there or not: nothing to sweep
        """Remove what writers that were killed left half-written."""


@dataclass(frozen=True)
class Folder(Place):
    """A folder of this machine or of a shared file system."""

    path: str

    def __truediv__(self, key: str) -> "Folder":
        return Folder(f"{self.path}/{key}")

    def __str__(self) -> str:
        return self.path

    def __fspath__(self) -> str:
        return self.path

    def get(self, key: str) -> bytes | None:
        """What is there, or None where there is no file; OSError where it cannot be read."""
        try:
            with open(f"{self.path}/{key}", "rb") as stream:  # noqa: PTH123 - a Path costs more than the call
                return stream.read()
        except (*ABSENT, IsADirectoryError):
            return None

    def put(self, key: str, content: bytes) -> None:
        """By way of a file beside it; readers on other hosts see the old or the new."""
        path = f"{self.path}/{key}"
        temporary = f"{path}.{secrets.token_hex(8)}.partial"
        try:
            try:
                stream = open(temporary, "wb")  # noqa: PTH123, SIM115
            except FileNotFoundError:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                stream = open(temporary, "wb")  # noqa: PTH123, SIM115
            with stream:
                stream.write(content)
            Path(temporary).replace(path)
        except BaseException:  # the disk is full, say
            Path(temporary).unlink(missing_ok=True)
            raise

    def put_safely(self, key: str, content: bytes) -> None:
        """With fsync of the file and its folder."""
        write_bytes(Path(f"{self.path}/{key}"), content)

    def size(self, key: str) -> int:
        """Bytes of the file."""
        try:
            return os.stat(f"{self.path}/{key}").st_size  # noqa: PTH116
        except ABSENT:
            return 0

    def state(self, key: str) -> Hashable:
        """Time of writing, size and inode."""
        try:
            found = os.stat(f"{self.path}/{key}")  # noqa: PTH116
        except ABSENT:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def remove(self, key: str) -> None:
        """Remove a file."""
        Path(f"{self.path}/{key}").unlink(missing_ok=True)

    def names(self, under: str = "") -> Iterator[str]:
        """All files."""
        root = Path(self.path)
        return (p.relative_to(root).as_posix() for p in (root / under).rglob("*") if p.is_file())

    def move(self, old: str, new: str) -> None:
        """Rename a folder."""
        Path(f"{self.path}/{old}").rename(f"{self.path}/{new}")

    def exists(self) -> bool:
        """Whether it is a folder."""
        return Path(self.path).is_dir()

    def zarr(self, writable: bool = False) -> str:
        """Its path."""
        return self.path

    @contextmanager
    def replaced(self) -> Iterator[Path]:
        """A crash leaves either the old folder or the new one."""
        path = Path(self.path)
        fresh, old = (path.with_name(f".{path.name}.{tag}.{os.getpid()}") for tag in ("new", "old"))
        for left in [*path.parent.glob(f".{path.name}.new.*"), *path.parent.glob(f".{path.name}.old.*")]:
            if not alive(left.suffix[1:]):
                shutil.rmtree(left, ignore_errors=True)
        yield fresh
        with locked(path.parent / "receipts" / ".lock", patience=60):
            if path.exists():
                path.rename(old)
            fresh.rename(path)
        shutil.rmtree(old, ignore_errors=True)

    def sweep(self) -> None:
        """Remove `*.partial` and `.*.tmp`."""
        for left in [*Path(self.path).rglob("*.partial"), *Path(self.path).glob(".*.tmp")]:
            left.unlink(missing_ok=True)
