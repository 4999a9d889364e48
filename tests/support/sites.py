"""Real servers of the sources besides hubs, each with the same files: nginx, the Versity gateway, and a registry.

Called by tests that put a `front` before them.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from model_provisioner.domain.credentials.credentials import Credentials
from tests.support import buckets, nginx, registry


@dataclass(frozen=True)
class Site:
    """`port` is the real server's. `ref` makes the ref of a file of the server that is reached at another port.

    `credentials` are those for that port. `endpoint`: whether the server is asked as an endpoint.
    """

    name: str
    port: int
    ref: Callable[[str, int], str]
    credentials: Callable[[str], Credentials]
    endpoint: bool = False


@contextlib.contextmanager
def web_site(directory: Path, files: Mapping[str, bytes]) -> Iterator[Site]:
    """With a password, at nginx."""
    private = directory / "private"
    private.mkdir()
    for name, content in files.items():
        (private / f"{name}.gguf").write_bytes(content)
    with nginx.serving(directory, directory) as url:
        yield Site(
            "https",
            urlsplit(url).port or 0,
            lambda name, port: f"http://127.0.0.1:{port}/private/{name}.gguf",
            lambda url: Credentials(None, (url,), username="reader", password="basic-canary"),
        )


@contextlib.contextmanager
def bucket_site(directory: Path, files: Mapping[str, bytes]) -> Iterator[Site]:
    """In a private bucket, of a server that checks signatures."""
    with buckets.versity(directory) as server:
        server.put("models")
        for name, content in files.items():
            server.put(f"models/{name}.gguf", content)
        yield Site(
            "s3",
            urlsplit(server.url).port or 0,
            lambda name, _: f"s3://models/{name}.gguf",
            lambda url: Credentials(None, (url,), aws=buckets.KEYS),
            endpoint=True,
        )


@contextlib.contextmanager
def registry_site(directory: Path, files: Mapping[str, bytes]) -> Iterator[Site]:
    """In a registry with a password."""
    with registry.running(directory, protected=True) as url:
        for name, content in files.items():
            pusher = registry.Pusher(url, f"team/{name}", (registry.USER, registry.PASSWORD))
            pusher.artifact("v1", [pusher.blob(content, registry.GGUF)])
        yield Site(
            "oci",
            urlsplit(url).port or 0,
            lambda name, port: f"oci://127.0.0.1:{port}/team/{name}:v1",
            lambda url: Credentials(None, (url,), username=registry.USER, password=registry.PASSWORD),
        )


SITES = {"https": web_site, "s3": bucket_site, "oci": registry_site}
