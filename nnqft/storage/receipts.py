"""Receipts of products: what stands for a store in the workflow, and whether the store is still what it stands for."""

import hashlib
from pathlib import Path

from nnqft.storage.files import SealError, read_sealed


def files_checksum(store: Path) -> str:
    """SHA-256 over the relative names and the bytes of all files of a store, hidden ones left out."""
    sha = hashlib.sha256()
    files = {p.relative_to(store).as_posix(): p for p in store.rglob("*") if p.is_file() and p.name[0] != "."}
    for name, path in sorted(files.items()):
        sha.update(f"{name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as stream:
            while part := stream.read(1 << 20):
                sha.update(part)
    return sha.hexdigest()


def fault(store: Path, receipt: Path) -> str:
    """What is wrong with a product, one clause; empty when its files are those of its receipt."""
    try:
        content = read_sealed(receipt)
    except FileNotFoundError:
        return "has no receipt"
    except SealError:
        return "has a receipt that is damaged or edited"
    if not store.is_dir():
        return "is not there"
    try:
        return "" if files_checksum(store) == content.get("files") else "has contents that differ from the receipt"
    except OSError as error:
        return f"cannot be read ({error})"
