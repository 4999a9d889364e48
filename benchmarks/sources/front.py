"""An nginx before a server: it counts what is sent, can limit each connection, and can let tokens or addresses expire.

Called by `servers`. Which request may pass is decided in `gate`, a process of its own: nginx asks it, and it answers
with a refusal or with `X-Accel-Redirect`, so the bytes of the model pass nginx only.
"""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.sources import origins
from benchmarks.transfer import nginx
from deploy.local.processes import Child, start

_PATIENCE_SECONDS = 10.0
_PASSED = """
      proxy_set_header Host $http_host;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
"""
_OPEN = "location / {{ proxy_pass {behind}; {passed} }}"
_GATED = """
    location / {{ proxy_pass http://127.0.0.1:{gate}; {passed} }}
    location /passed/ {{ internal; proxy_pass {behind}/; {passed} }}
"""


@dataclass(frozen=True, slots=True)
class Gate:
    """What expires `seconds` after it was given: `tokens` of a registry, else addresses that are signed for S3.

    `told`: how long a token server says that a token lives.
    """

    tokens: bool
    seconds: float
    told: int = 0


@dataclass(frozen=True, slots=True)
class Front:
    host: str
    directory: Path

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def content_sent(self) -> int:
        return origins.content_sent(self.directory)

    @property
    def refused(self) -> int:
        """How many requests came with a token or an address that had expired."""
        return sum(one.status in {401, 403} for one in nginx.sent(self.directory))


@contextlib.contextmanager
def running(directory: Path, behind: str, gate: Gate | None, bytes_per_connection: int) -> Iterator[Front]:
    """A front of the server at the URL `behind`, within the block. `directory` is made, and removed afterwards.

    `bytes_per_connection` is the rate of each connection a second; 0: no limit.
    """
    directory.mkdir()
    port, gate_port = nginx.free_ports()
    locations = _GATED.format(gate=gate_port, behind=behind, passed=_PASSED)
    if gate is None:
        locations = _OPEN.format(behind=behind, passed=_PASSED)
    servers = f"server {{ listen 127.0.0.1:{port}; client_max_body_size 0; {locations} }}"
    front = Front(f"127.0.0.1:{port}", directory)
    with (
        _gate(gate, gate_port, front) if gate else contextlib.nullcontext(),
        nginx.running(directory, servers, [port], bytes_per_connection=bytes_per_connection, exact=True),
    ):
        yield front


@contextlib.contextmanager
def _gate(gate: Gate, port: int, front: Front) -> Iterator[None]:
    kind = "tokens" if gate.tokens else "addresses"
    command = [sys.executable, "-m", "benchmarks.sources.gate", kind, str(port), front.url]
    child = start("gate", [*command, str(gate.seconds), str(gate.told)], front.directory / "gate.log")
    try:
        _wait_until_it_answers(child, port)
        yield
    finally:
        child.stop()


def _wait_until_it_answers(child: Child, port: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        child.check()
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/")
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"the gate does not start: see {child.log}")
        time.sleep(0.05)
