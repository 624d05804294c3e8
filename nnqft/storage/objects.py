"""A prefix of an object store: S3 and what speaks its protocol, Google, Azure, or a folder used like one.

Credentials and endpoints are the environment's (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, GOOGLE_..., AZURE_...), on every
host; a URL never holds any. Needs obstore (``pip install nnqft[object]``), which retries what can be retried.
"""

import tempfile
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nnqft.core.errors import InputError
from nnqft.storage.place import Item, Place, Result

SCHEMES = ("s3", "gs", "az", "abfs", "abfss", "file")
ROOT = "zarr.json"
"""The key of a zarr store without which nothing in it is found: written last, removed first."""


@dataclass(frozen=True)
class Objects(Place):
    """The objects of a bucket (`base`, a URL) whose keys begin with a prefix."""

    base: str
    prefix: str = ""

    def __truediv__(self, key: str) -> "Objects":
        return Objects(self.base, self._key(key))

    def __str__(self) -> str:
        return f"{self.base}/{self.prefix}" if self.prefix else self.base

    def get(self, key: str) -> bytes | None:
        """The object, or None where there is none; OSError when the store does not answer."""
        try:
            return bytes(self._call("get", self._key(key)).bytes())
        except FileNotFoundError:
            return None

    def put(self, key: str, content: bytes) -> None:
        """One request, or one multipart upload: both appear at once."""
        self._call("put", self._key(key), content)

    def create(self, key: str, content: bytes) -> bool:
        """Put an object where there is none; whether there was none. (A conditional request: one of several wins.)"""
        try:
            self._call("put", self._key(key), content, mode="create")
        except FileExistsError:
            return False
        return True

    def size(self, key: str) -> int:
        """Bytes of an object."""
        found = self._head(key)
        return 0 if found is None else int(found["size"])

    def state(self, key: str) -> Hashable:
        """Its ETag and size."""
        found = self._head(key)
        return None if found is None else (found.get("e_tag"), found["size"], found["last_modified"])

    def remove(self, key: str) -> None:
        """Delete an object."""
        try:
            self._call("delete", self._key(key))
        except FileNotFoundError:
            return

    def names(self, under: str = "") -> Iterator[str]:
        """All objects under a prefix: one request for each thousand."""
        start = len(self.prefix) + 1 if self.prefix else 0
        with _told(self, "list"):
            for part in self._call("list", self._key(under) or None):
                yield from (str(entry["path"])[start:] for entry in part)

    def move(self, old: str, new: str) -> None:
        """One by one, on the server."""
        found = list(self.names(old))
        self.many(lambda key: self._call("rename", self._key(key), self._key(new + key[len(old) :])), found)

    def exists(self) -> bool:
        """Whether there is any object."""
        return next(self.names(), None) is not None

    def zarr(self, writable: bool = False) -> Any:
        """Zarr's store."""
        from zarr.storage import ObjectStore

        return ObjectStore(_bucket(str(self)), read_only=not writable)

    @contextmanager
    def replaced(self) -> Iterator[Path]:
        """What is here loses its root first, and what comes gets its root last: a reader, or a crash between, finds the
        old store, the new one or none, and never a mixture.
        """
        with tempfile.TemporaryDirectory(prefix="nnqft-") as name:
            fresh = Path(name) / "fresh"
            yield fresh
            files = {p.relative_to(fresh).as_posix(): p for p in fresh.rglob("*") if p.is_file()}
            old = set(self.names())
            self.remove(ROOT)
            self.many(self.remove, sorted(old - set(files) - {ROOT}))
            self.many(lambda key: self.put(key, files[key].read_bytes()), sorted(set(files) - {ROOT}))
            self.put(ROOT, files[ROOT].read_bytes())

    def many(self, function: Callable[[Item], Result], items: Sequence[Item], at_once: int = 32) -> list[Result]:
        """In threads."""
        if len(items) < 2:
            return [function(item) for item in items]
        with ThreadPoolExecutor(min(at_once, len(items))) as pool:
            return list(pool.map(function, items))

    def _key(self, key: str) -> str:
        return "/".join(part for part in (self.prefix, key) if part)

    def _head(self, key: str) -> Any:
        try:
            return self._call("head", self._key(key))
        except FileNotFoundError:
            return None

    def _call(self, operation: str, *arguments: Any, **options: Any) -> Any:
        import obstore

        with _told(self, operation):
            return getattr(obstore, operation)(_bucket(self.base), *arguments, **options)


def objects(url: str) -> Objects:
    """The place that a URL names.

    Raises:
        InputError: for another scheme, credentials or a query in the URL, or when obstore is not installed.
    """
    parts = urlsplit(url)
    where = f"NNQFT_STORE={parts.scheme}://{parts.hostname or ''}{parts.path}"  # never credentials
    if parts.scheme not in SCHEMES or not (parts.netloc or parts.scheme == "file"):
        raise InputError(where, "is no object store", "e.g. s3://bucket/prefix, gs://, az://, file:///folder")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise InputError(where, "holds more than a bucket and a prefix", "credentials go into the environment")
    if ".." in parts.path.split("/") or any(not c.isprintable() or c in "#?%*" for c in parts.path):
        raise InputError(where, "has a prefix that cannot be used", "use letters, digits, - and _")
    try:
        import obstore  # noqa: F401
    except ImportError:
        raise InputError(where, "needs obstore", "pip install 'nnqft[object]'") from None
    return Objects(url.rstrip("/"))


@contextmanager
def _told(place: Objects, operation: str) -> Iterator[None]:
    """OSError for whatever obstore finds wrong; FileNotFoundError and FileExistsError where it is just that."""
    from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError

    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise FileNotFoundError(str(place)) from error
    except (AlreadyExistsError, FileExistsError) as error:
        raise FileExistsError(str(place)) from error
    except BaseError as error:
        raise OSError(f"{place}: {operation} failed: {_short(error)}") from None


@cache
def _bucket(url: str) -> Any:
    from obstore.store import LocalStore, from_url

    if url.startswith("file://"):
        return LocalStore(urlsplit(url).path, mkdir=True)
    return from_url(url)


def _short(error: Exception) -> str:
    """The first sentence of obstore's chain of causes, without its debugging dump."""
    return " ".join(str(error).split("\n\nDebug")[0].split())[:300]
