"""Object stores for tests: an S3-compatible server of this machine, and a folder used like one."""

import pytest
from buckets import PYTHON, s3_server

from nnqft.storage import objects as module


@pytest.fixture(scope="module")
def server():
    if not PYTHON.exists():
        pytest.skip("there is no S3 server; make .venv/.s3 installs one")
    with s3_server() as environment:
        yield environment


@pytest.fixture(params=["s3", "file"])
def url(request, monkeypatch, tmp_path):
    """Of an empty object store."""
    module._bucket.cache_clear()
    if request.param == "file":
        return f"file://{tmp_path}/objects"
    for name, value in request.getfixturevalue("server").items():
        monkeypatch.setenv(name, value)
    return f"s3://bucket/{tmp_path.name}"
