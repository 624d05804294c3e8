"""An object store for tests: an S3-compatible server of this machine, in a process of its own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

PYTHON = Path(sys.prefix) / "s3" / "bin" / "python"
"""Of an environment of its own: `make .venv/.s3`."""

SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """The environment that reaches it; it has a bucket `bucket`."""
    command = [str(PYTHON), "-W", "ignore", "-c", SERVER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            port = server.stdout.readline().decode().strip()
            url = f"http://127.0.0.1:{port}"
            _bucket(url)
            yield {
                "AWS_ACCESS_KEY_ID": "testing",
                "AWS_SECRET_ACCESS_KEY": "testing",
                "AWS_REGION": "us-east-1",
                "AWS_ALLOW_HTTP": "true",
                "AWS_ENDPOINT_URL": url,
            }
        finally:
            server.kill()


def _bucket(url: str) -> None:
    for _ in range(50):
        try:
            urlopen(Request(f"{url}/bucket", method="PUT"), timeout=5).close()
            return
        except URLError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")
