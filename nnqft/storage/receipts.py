"""Receipts of products: what stands for a store in the workflow, and whether the store is still what it stands for."""

import hashlib
from pathlib import Path

from nnqft.storage.files import SealError, read_sealed
from nnqft.storage.place import Place

AT_ONCE = 4
"""Files in memory at a time."""


def files_checksum(store: Place) -> str:
    """SHA-256 over the relative names and the bytes of all files of a store, hidden ones left out."""
    sha = hashlib.sha256()
    names = sorted(key for key in store.names() if key.rpartition("/")[2][0] != ".")
    for start in range(0, len(names), AT_ONCE):
        some = names[start : start + AT_ONCE]
        for name, content in zip(some, store.many(store.get, some), strict=True):
            if content is None:
                raise OSError(f"{store}/{name}: cannot be read")
            sha.update(f"{name}\0{len(content)}\0".encode())
            sha.update(content)
    return sha.hexdigest()


def fault(store: Place, receipt: Path) -> str:
    """What is wrong with a product, one clause; empty when its files are those of its receipt."""
    try:
        content = read_sealed(receipt)
    except FileNotFoundError:
        return "has no receipt"
    except SealError:
        return "has a receipt that is damaged or edited"
    if not store.exists():
        return "is not there"
    try:
        return "" if files_checksum(store) == content.get("files") else "has contents that differ from the receipt"
    except OSError as error:
        return f"cannot be read ({error})"
