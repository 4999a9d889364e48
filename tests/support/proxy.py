"""A forward proxy on loopback: CONNECT for https, absolute URLs for http, with or without a password.

Called by tests of the HTTP client. It keeps its requests, and maps host names that do not exist to real hosts.
"""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlsplit

from tests.support.hub.listener import LoopThread


@dataclass(frozen=True)
class Asked:
    """One request: `target` as it was sent, and every header that the proxy can read (names in lower case)."""

    method: str
    target: str
    headers: Mapping[str, str]


class Proxy:
    """`names` maps host names to the hosts that the proxy connects to. If `user` is set, requests need the credentials.

    `tls` is the server context of a proxy with TLS. `log` has the requests. With `refuse_with` set, the proxy answers
    every request with that status.
    """

    def __init__(
        self,
        names: Mapping[str, str] | None = None,
        user: str | None = None,
        password: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.log: list[Asked] = []
        self.refuse_with: int | None = None
        self._names = dict(names or {})
        self._credentials = None if user is None else base64.b64encode(f"{user}:{password}".encode()).decode()
        self._tls = tls
        self._thread: LoopThread | None = None
        self._server: asyncio.Server | None = None

    def __enter__(self) -> "Proxy":
        self._thread = LoopThread()
        self._server = self._thread.run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread and self._server:
            self._thread.run(self._close(self._server))
            self._thread.stop()

    @property
    def host_port(self) -> str:
        if self._server is None:
            raise RuntimeError("the proxy is not started")
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host_port}"

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked = _parsed(head)
        self.log.append(asked)
        refusal = self._refusal(asked)
        if refusal:
            writer.write(f"HTTP/1.1 {refusal} Refused\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        host, port = _target(asked)
        far_reader, far_writer = await asyncio.open_connection(self._names.get(host, host), port)
        if asked.method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            far_writer.write(_forwarded(head))
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    def _refusal(self, asked: Asked) -> int | None:
        if self._credentials and asked.headers.get("proxy-authorization") != f"Basic {self._credentials}":
            return 407
        return self.refuse_with


def _parsed(head: bytes) -> Asked:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    pairs = (line.split(": ", 1) for line in lines if line)
    return Asked(method, target, {name.lower(): value for name, value in pairs})


def _target(asked: Asked) -> tuple[str, int]:
    parts = urlsplit(f"//{asked.target}" if asked.method == "CONNECT" else asked.target)
    return parts.hostname or "", parts.port or 80


def _forwarded(head: bytes) -> bytes:
    """The request as the origin expects it, on a connection that ends with the answer."""
    first, rest = head.split(b"\r\n", 1)
    method, target, version = first.split(b" ")
    path = urlsplit(target.decode())._replace(scheme="", netloc="").geturl() or "/"
    kept = [line for line in rest.split(b"\r\n") if line and not line.lower().startswith((b"proxy-", b"connection:"))]
    return b"\r\n".join([b" ".join((method, path.encode(), version)), *kept, b"Connection: close", b"", b""])


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()
