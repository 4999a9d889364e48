"""nginx for benchmarks, on sockets that it inherits, and what it has sent. Called by `hub` and `benchmarks.sources`.

All files that nginx writes are in a directory of their own. What it serves is up to the callers.
"""

import contextlib
import getpass
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.processes import Child, start

_PATIENCE_SECONDS = 10.0
_ONE_BYTE = "bytes=0-0"
_UNSENT_BYTES = 128 * 1024

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
  log_format sent '$server_port $status $body_bytes_sent $http_range $request_uri';
  access_log {directory}/access.log sent;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 75s;
  {servers}
}}
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """An answer that has ended: `size` bytes of its body were sent, read by the client or not."""

    port: int
    status: int
    size: int
    range: str
    uri: str

    @property
    def is_content(self) -> bool:
        """Not a refusal, and not the answer to a question for one byte, with which a source learns of a file."""
        return self.status in {200, 206} and self.range != _ONE_BYTE


def sent(directory: Path) -> list[Sent]:
    """The answers of the nginx that runs in `directory`, all that have ended."""
    lines = (line.split(" ", 4) for line in (directory / "access.log").read_text().splitlines())
    return [Sent(int(port), int(status), int(size), asked, uri) for port, status, size, asked, uri in lines]


@contextlib.contextmanager
def running(
    directory: Path,
    servers: str,
    ports: Sequence[int],
    *,
    host: str = "127.0.0.1",
    bytes_per_connection: int = 0,
    exact: bool = False,
    prefix: Sequence[str] = (),
) -> Iterator[None]:
    """Runs within the block, in the existing `directory`, which is removed afterwards.

    `servers` are the blocks of the configuration for `ports` of `host`. `bytes_per_connection` is the rate of each
    connection a second; 0: no limit. With `exact`, the kernel takes hardly more than it sends, so that `sent` does not
    count what never left the server. `prefix` is put before the command.
    """
    configuration = _CONFIGURATION.format(user=getpass.getuser(), directory=directory, servers=servers)
    (directory / "nginx.conf").write_text(configuration)
    numbers = (bytes_per_connection, _UNSENT_BYTES if exact else 0, *ports)
    listen = [sys.executable, "-m", "benchmarks.transfer.listen", host, *map(str, numbers)]
    nginx = [_nginx(), "-p", str(directory), "-c", str(directory / "nginx.conf")]
    child = start("nginx", [*prefix, *listen, "--", *nginx], directory / "output.log")
    try:
        _wait_until_it_serves(child, directory)
        yield
    finally:
        child.stop()
        shutil.rmtree(directory)


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])


def _nginx() -> str:
    """The path of nginx: /usr/sbin is not on every user's PATH."""
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "nginx"


def _wait_until_it_serves(child: Child, directory: Path) -> None:
    """nginx writes its process id when it has inherited the sockets."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (directory / "nginx.pid").exists():
        child.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"nginx does not start: see {directory / 'error.log'}")
        time.sleep(0.02)
