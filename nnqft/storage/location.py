"""Whether the data of a results folder are in it, or in an object store: ``store.json``, and whose the objects are.

Receipts, locks, figures, tables and the report are always in the folder. In an object store a scan has the prefix
``<store>/<name>/`` with an object ``owner.json``, made by a conditional request: two folders, each with its own lock,
would otherwise write the same objects without knowing of each other.
"""

import secrets
from pathlib import Path

from nnqft.core.errors import InputError
from nnqft.storage.files import locked, read_sealed, sealed, unsealed, write_sealed
from nnqft.storage.objects import Objects, objects
from nnqft.storage.place import Folder, Place

POINTER, OWNER, LOCK = "store.json", "owner.json", ".store.lock"


def located(root: Path, store: str = "") -> Place:
    """Where the data of a results folder are, or would be.

    store: URL of an object store, for a folder that has no data yet.

    Raises:
        InputError: for a URL that is none, or one that is not the folder's.
        SealError: for a damaged `store.json`.
    """
    pointer = _pointer(root)
    if not pointer:
        if store and next(root.glob("leaves/*/index*.json"), None):
            remedy = "unset it, or give the scan another name"
            raise InputError(f"NNQFT_STORE={store}", f"{root} holds its data itself", remedy)
        return objects(store) / root.name if store else Folder(str(root))
    place = objects(pointer["store"])
    if store and str(objects(store)) != str(place):
        remedy = f"unset it, or set it to {place}"
        raise InputError(f"NNQFT_STORE={store}", f"the data of {root} are in {place}", remedy)
    return place / root.name


def claim(root: Path, store: str, take: bool = False) -> None:
    """Before anything is written: make the objects of a scan this folder's. Does nothing where data are in the folder.

    take: although they are another folder's, or an earlier one's that is gone.

    Raises:
        InputError: when they are another folder's; see also :func:`located`.
        TimeoutError: when another process of this folder does not get through.
        OSError: when the object store does not answer.
    """
    place = located(root, store)
    if not isinstance(place, Objects):
        return
    with locked(root / LOCK, patience=60):  # jobs of one run may come at once
        known = _pointer(root)
        owner = known["owner"] if known else secrets.token_hex(8)
        mark = sealed({"owner": owner})
        if not known:  # before the objects have an owner: who is killed between the two is known again
            write_sealed(root / POINTER, {"store": place.base, "owner": owner})
        try:
            if place.create(OWNER, mark) or _owner(place) == owner:
                return
            if not take:
                remedy = "use another name or prefix; or, when no run of it is under way, set NNQFT_STORE_TAKE=1 once"
                raise InputError(str(place), "belongs to another results folder", remedy)
            place.put(OWNER, mark)
        except (InputError, OSError):  # the next try may name another store
            if not known:
                (root / POINTER).unlink()
            raise


def _pointer(root: Path) -> dict[str, str]:
    try:
        return read_sealed(root / POINTER)
    except FileNotFoundError:
        return {}


def _owner(place: Place) -> str:
    found = unsealed(place.get(OWNER) or b"")
    return str(found["owner"]) if found else ""
