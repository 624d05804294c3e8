"""Whose the objects are; object stores that do not answer, and URLs that name none."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nnqft.core.errors import InputError
from nnqft.storage import objects as module
from nnqft.storage.leafstore import LeafStore
from nnqft.storage.location import claim, located
from nnqft.storage.objects import Objects, objects
from nnqft.storage.place import Folder


def test_two_folders_never_share_the_objects_of_a_scan(url, tmp_path):
    folders = [tmp_path / str(number) / "small" for number in range(6)]

    def one(folder):
        try:
            claim(folder, url)
        except InputError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(one, folders))
    owner = answers.index("")
    assert answers.count("") == 1
    assert all("belongs to another results folder" in answer for answer in answers if answer)
    claim(folders[owner], url)
    assert str(located(folders[owner])) == f"{url}/small"
    other = folders[owner - 1]
    claim(other, url, take=True)
    claim(other, "")
    with pytest.raises(InputError, match="NNQFT_STORE_TAKE=1"):
        claim(folders[owner], url)


def test_jobs_of_one_folder_that_come_at_once_are_one_owner(url, tmp_path):
    folder = tmp_path / "small"
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: claim(folder, url), range(6)))
    assert str(located(folder)) == f"{url}/small"


def test_who_was_killed_while_claiming_goes_on(url, tmp_path, monkeypatch):
    folder = tmp_path / "small"
    create = Objects.create
    before, after = (lambda *_: 1 / 0), (lambda *a: create(*a) and 1 / 0)
    for killed in (before, after):  # the objects have an owner; the second time without a word of it
        with monkeypatch.context() as patch:
            patch.setattr(Objects, "create", killed)
            with pytest.raises(ZeroDivisionError):
                claim(folder, url)
    claim(folder, url)
    assert str(located(folder)) == f"{url}/small"


def test_a_store_that_did_not_answer_is_not_kept(url, tmp_path, monkeypatch):
    """As after a URL with a typing error."""
    with monkeypatch.context() as patch:
        patch.setattr(Objects, "create", lambda *_: Path("/no such file").stat())
        with pytest.raises(OSError, match="no such file"):
            claim(tmp_path / "small", f"{url}/typo")
    claim(tmp_path / "small", url)


def test_a_refused_folder_is_as_it_was(url, tmp_path):
    claim(tmp_path / "first" / "small", url)
    with pytest.raises(InputError, match="belongs to another"):
        claim(tmp_path / "second" / "small", url)
    assert located(tmp_path / "second" / "small") == Folder(str(tmp_path / "second" / "small"))


def test_a_store_that_does_not_answer_is_an_error_and_never_an_empty_one(monkeypatch, tmp_path):
    module._bucket.cache_clear()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    store = LeafStore(tmp_path, objects("s3://bucket/x"))
    with pytest.raises(OSError, match="s3://bucket/x: get failed") as caught:
        store.rows()
    assert "very-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://host/x", "is no object store"),
        ("bucket/x", "is no object store"),
        ("s3:///x", "is no object store"),
        ("s3://key:secret@bucket/x", "credentials go into the environment"),
        ("s3://bucket/x?secret=1", "credentials go into the environment"),
        ("s3://bucket/../x", "prefix that cannot be used"),
        ("s3://bucket/a%2e", "prefix that cannot be used"),
    ],
)
def test_urls_that_are_refused(url, said):
    with pytest.raises(InputError, match=said) as caught:
        objects(url)
    assert "secret" not in str(caught.value)
