"""A hub for benchmarks: nginx with a few responses of the hub's API as static text, and the model as a file.

Two origins over TLS, as the real hub has: the API, whose `/resolve/` redirects, and the content host.
"""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from benchmarks.transfer import nginx
from benchmarks.transfer.model import FILE, REPOSITORY, Model

COMMIT = "0123456789abcdef0123456789abcdef01234567"

_SERVERS = """
  ssl_certificate {directory}/server.pem;
  ssl_certificate_key {directory}/server.pem;
  ssl_protocols TLSv1.2 TLSv1.3;
  server {{
    listen {host}:{api_port} ssl;
    location = /api/models/{repository} {{ default_type application/json; alias {directory}/info.json; }}
    location /{repository}/resolve/ {{
      add_header X-Repo-Commit {commit};
      add_header X-Linked-Size {size};
      add_header X-Linked-ETag '"{sha256}"';
      return 302 {content_url};
    }}
    {locations}
  }}
  server {{
    listen {host}:{content_port} ssl;
    root {content};
  }}
"""


@dataclass(frozen=True, slots=True)
class Hub:
    """`command_prefix` is put before the command of a client, so that it reaches the hub."""

    model: Model
    host: str
    api_port: int
    content_port: int
    directory: Path
    command_prefix: tuple[str, ...] = ()

    @property
    def endpoint(self) -> str:
        return f"https://{self.host}:{self.api_port}"

    @property
    def url(self) -> str:
        return f"{self.endpoint}/{REPOSITORY}/resolve/main/{FILE}"

    @property
    def ca_file(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def content_url(self) -> str:
        """Where the file is."""
        return f"https://{self.host}:{self.content_port}/{FILE}"

    def content_bytes_sent(self) -> int:
        """Bytes of the file sent by all requests that have ended, read by the client or not."""
        answers = nginx.sent(self.directory)
        return sum(one.size for one in answers if one.port == self.content_port and one.is_content)


@contextlib.contextmanager
def running(
    model: Model,
    scratch: Path,
    *,
    bytes_per_connection: int = 0,
    exact: bool = False,
    host: str = "127.0.0.1",
    server_prefix: tuple[str, ...] = (),
    command_prefix: tuple[str, ...] = (),
    locations: Callable[[Hub], str] = lambda _: "",
) -> Iterator[Hub]:
    """A hub that runs within the block. `bytes_per_connection` is the rate of each connection a second; 0: no limit.

    `exact` is that of `nginx.running`. `locations` are more of the API's, in the language of nginx.
    """
    directory = scratch / "hub"
    directory.mkdir()
    ports = nginx.free_ports()
    hub = Hub(model, host, *ports, directory, command_prefix)
    _prepare(hub)
    servers = _SERVERS.format(
        directory=directory,
        host=host,
        api_port=hub.api_port,
        content_port=hub.content_port,
        repository=REPOSITORY,
        commit=COMMIT,
        size=model.size,
        sha256=model.sha256,
        content_url=hub.content_url,
        content=model.path.parent,
        locations=locations(hub),
    )
    rate = bytes_per_connection
    with nginx.running(
        directory, servers, ports, host=host, bytes_per_connection=rate, exact=exact, prefix=server_prefix
    ):
        yield hub


def _prepare(hub: Hub) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(hub.ca_file))
    authority.issue_cert(hub.host).private_key_and_cert_chain_pem.write_to_path(str(hub.directory / "server.pem"))
    (hub.directory / "info.json").write_text(json.dumps(_info(hub.model)))


def _info(model: Model) -> dict[str, object]:
    """The fields of `/api/models/<repository>?blobs=true` that `huggingface_hub` 2.4 reads (hf_api.py)."""
    lfs = {"sha256": model.sha256, "size": model.size, "pointerSize": 134}
    file = {"rfilename": FILE, "size": model.size, "blobId": COMMIT, "lfs": lfs}
    return {"id": REPOSITORY, "sha": COMMIT, "private": False, "gated": False, "tags": [], "siblings": [file]}
