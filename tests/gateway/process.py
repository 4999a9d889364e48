"""A gateway as a real process in front of a scripted API server, and clients that are raw sockets.

For what one client can do to the process: its memory, its log, its connections. No control plane is needed.
"""

import asyncio
import contextlib
import resource
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.kube import watch_server
from tests.support.programs import Program, eventually, free_port, is_listening, running

MIB = 1024**2
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A running gateway; `port` is on loopback."""

    program: Program
    port: int

    def memory(self, key: str = "VmRSS") -> float:
        """In MiB (Linux); `VmHWM` is the most so far."""
        text = Path(f"/proc/{self.program.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(key)) / 1024

    def connect(self, data: bytes = b"") -> socket.socket:
        client = socket.create_connection((HOST, self.port), timeout=30)
        client.sendall(data)
        return client

    def ask(self, data: bytes, seconds: float = 30) -> bytes:
        """Sends bytes, and reads until the gateway closes the connection."""
        with self.connect(data) as client:
            client.settimeout(seconds)
            return read_to_the_end(client)


def read_to_the_end(client: socket.socket | ssl.SSLSocket) -> bytes:
    answer = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65536):
            answer += piece
    return answer


def flood(client: socket.socket, data: bytes) -> None:
    """Sends as much of `data` as the gateway takes at once."""
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError, ConnectionError):
        while data:
            data = data[client.send(data) :]


def is_open(client: socket.socket) -> bool:
    """False if the gateway has closed the connection; what it has sent before is dropped."""
    client.setblocking(False)
    try:
        while piece := client.recv(65536):
            assert piece
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False


def raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _ApiServer(watch_server.WatchServer):
    """There is no Lease: no operator acts."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "/leases/" in request.path:
            return web.json_response({"kind": "Status", "reason": "NotFound", "message": "scripted"}, status=404)
        return await super().answer(request)


@contextlib.contextmanager
def api_server(directory: Path, objects: Sequence[dict[str, Any]] = ()) -> Iterator[Path]:
    """The kubeconfig of a scripted API server in a thread, which lists `objects` and never sends a change."""
    server = _ApiServer([watch_server.listing(len(objects) + 1, *objects)], [[None]])
    started, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        async with watch_server.serving(server, directory):
            loops.append(asyncio.get_running_loop())
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(30)
        yield directory / "kubeconfig"
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(30)


@contextlib.contextmanager
def gateway_process(
    directory: Path, *flags: str, objects: Sequence[dict[str, Any]] = (), tls: ssl.SSLContext | None = None
) -> Iterator[GatewayProcess]:
    """A gateway with `--auth none` unless the flags say otherwise; `tls` is the context of a client."""
    directory.mkdir(exist_ok=True)
    raise_file_limit()
    port = free_port()
    with api_server(directory, objects) as kubeconfig:
        auth = [] if any(flag.startswith("--auth") for flag in flags) else ["--auth=none"]
        arguments = ["gateway", f"--listen={HOST}:{port}", f"--kubeconfig={kubeconfig}", *auth, *flags]
        with running(arguments, directory / "gateway.log") as program:
            eventually(lambda: is_listening(port), "the gateway listens")
            found = GatewayProcess(program, port)
            eventually(lambda: is_ready(found, tls), "the gateway is ready")
            yield found


def is_ready(gateway: GatewayProcess, tls: ssl.SSLContext | None) -> bool:
    with gateway.connect() as plain, tls.wrap_socket(plain) if tls else plain as client:
        client.sendall(get("/readyz"))
        return b" 200 " in read_to_the_end(client)


def get(path: str, host: str = "localhost", more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n".encode()
