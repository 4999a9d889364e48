"""A hub for benchmarks: nginx with a few responses of the hub's API as static text, and the model as a file.

Two origins over TLS, as the real hub has: the API, whose `/resolve/` redirects, and the content host. All files that
nginx writes are in a directory of their own.
"""

import contextlib
import getpass
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme

from benchmarks.transfer.model import FILE, REPOSITORY, Model
from deploy.local.processes import Child, start

_COMMIT = "0123456789abcdef0123456789abcdef01234567"
_PATIENCE_SECONDS = 10.0

_CONFIGURATION = """
daemon off;
user {user};
worker_processes auto;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  log_format sent '$server_port $body_bytes_sent';
  access_log {directory}/access.log sent;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 75s;
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
      return 302 https://{host}:{content_port}/{file};
    }}
  }}
  server {{
    listen {host}:{content_port} ssl;
    root {content};
  }}
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

    def content_bytes_sent(self) -> int:
        """Bytes sent by all requests that have ended, read by the client or not."""
        lines = [line.split() for line in (self.directory / "access.log").read_text().splitlines()]
        return sum(int(sent) for port, sent in lines if int(port) == self.content_port)


@contextlib.contextmanager
def running(
    model: Model,
    scratch: Path,
    *,
    bytes_per_connection: int = 0,
    host: str = "127.0.0.1",
    server_prefix: tuple[str, ...] = (),
    command_prefix: tuple[str, ...] = (),
) -> Iterator[Hub]:
    """A hub that runs within the block. `bytes_per_connection` is the rate of each connection a second; 0: no limit."""
    directory = scratch / "hub"
    directory.mkdir()
    api_port, content_port = _free_ports()
    hub = Hub(model, host, api_port, content_port, directory, command_prefix)
    _prepare(hub)
    listen = [sys.executable, "-m", "benchmarks.transfer.listen", host, str(bytes_per_connection)]
    nginx = [_nginx(), "-p", str(directory), "-c", str(directory / "nginx.conf")]
    command = [*server_prefix, *listen, str(api_port), str(content_port), "--", *nginx]
    child = start("nginx", command, directory / "output.log")
    try:
        _wait_until_it_serves(child, directory)
        yield hub
    finally:
        child.stop()
        shutil.rmtree(directory)


def _prepare(hub: Hub) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(hub.ca_file))
    authority.issue_cert(hub.host).private_key_and_cert_chain_pem.write_to_path(str(hub.directory / "server.pem"))
    (hub.directory / "info.json").write_text(json.dumps(_info(hub.model)))
    (hub.directory / "nginx.conf").write_text(
        _CONFIGURATION.format(
            user=getpass.getuser(),
            directory=hub.directory,
            host=hub.host,
            api_port=hub.api_port,
            content_port=hub.content_port,
            repository=REPOSITORY,
            commit=_COMMIT,
            size=hub.model.size,
            sha256=hub.model.sha256,
            file=FILE,
            content=hub.model.path.parent,
        )
    )


def _info(model: Model) -> dict[str, object]:
    """The fields of `/api/models/<repository>?blobs=true` that `huggingface_hub` 2.4 reads (hf_api.py)."""
    lfs = {"sha256": model.sha256, "size": model.size, "pointerSize": 134}
    file = {"rfilename": FILE, "size": model.size, "blobId": _COMMIT, "lfs": lfs}
    return {"id": REPOSITORY, "sha": _COMMIT, "private": False, "gated": False, "tags": [], "siblings": [file]}


def _nginx() -> str:
    """The path of nginx: /usr/sbin is not on every user's PATH."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "nginx"


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])


def _wait_until_it_serves(child: Child, directory: Path) -> None:
    """nginx writes its process id when it has inherited the sockets."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (directory / "nginx.pid").exists():
        child.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"nginx does not start: see {directory / 'error.log'}")
        time.sleep(0.02)
