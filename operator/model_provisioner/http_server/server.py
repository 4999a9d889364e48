"""Accepts connections for an aiohttp application, under `limits`. `gateway.app` and `controller.process.http` call it.

aiohttp's own listener has no limit of connections, and asyncio's keeps those in a TLS handshake out of sight.
"""

import asyncio
import logging
import resource
import socket
import ssl
import time
from asyncio import sslproto
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web, web_protocol

from model_provisioner.http_server.connection import NOSNIFF, Connection, problem
from model_provisioner.http_server.limits import Limits, excess, largest
from model_provisioner.http_server.malformed import MalformedRequests

_LOG = logging.getLogger(__name__)
_BACKLOG = 1024
_ACCEPTED_AT_ONCE = 64
_CHECK_SECONDS = 1.0
_TLS_SHUTDOWN_SECONDS = 5.0
_RECEIVE_BUFFER_BYTES = 32 * 1024
_TLS_BUFFER_BYTES = 16 * 1024  # the longest TLS record (RFC 8446, section 5.1)
_REQUESTS_AHEAD = 2
_SPARE_FILES = 64
_LARGEST_PORT = 65535

_Handler = Callable[[Any], Awaitable[web.StreamResponse]]


@dataclass(eq=False, slots=True)
class _Opening:
    """An accepted connection that aiohttp does not know yet, for instance because of its TLS handshake."""

    address: str
    since: float
    task: asyncio.Task[None] | None = None
    received: int = 0

    def abort(self) -> None:
        if self.task:
            self.task.cancel()


class ListenError(Exception):
    """A server can't listen. The message names the option, the address and the reason."""


class HttpServer:
    """Serves `app` until `close`. `limits` are for all its addresses together; with `tls`, it serves HTTPS.

    `shutdown_seconds` is the time that running requests have to end when it closes.
    """

    def __init__(
        self, app: web.Application, limits: Limits, tls: ssl.SSLContext | None = None, shutdown_seconds: float = 60.0
    ) -> None:
        app.on_response_prepare.append(_forbid_sniffing)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=shutdown_seconds)
        self._limits = limits
        self._tls = tls
        self._malformed = MalformedRequests(time.monotonic)
        self._sockets: list[socket.socket] = []
        self._opening: set[_Opening] = set()
        self._unfinished_bytes = 0
        self._next_check: asyncio.TimerHandle | None = None

    async def start(self, address: str, option: str) -> None:
        """Listens at HOST:PORT; an IPv6 host is in brackets, no host means all addresses.

        `option` is the flag that `address` comes from. Raises ListenError.
        """
        _shrink_buffers()
        await self._runner.setup()
        self._server.request_handler = _announcing(self._server.request_handler)
        try:
            await self._listen_at(address)
        except (OSError, ValueError) as error:
            await self.close()
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ListenError(f"{option}: can't listen on {address}: {reason}") from error
        self._check()

    async def close(self) -> None:
        """Ends listening, then waits for running requests."""
        if self._next_check:
            self._next_check.cancel()
        for listening in self._sockets:
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        for opening in self._opening:
            opening.abort()
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port that it listens at; the kernel has chosen it if the address has 0."""
        return int(self._sockets[0].getsockname()[1])

    @property
    def _server(self) -> web.Server:
        assert self._runner.server is not None
        return self._runner.server

    @property
    def _connections(self) -> list[Connection]:
        return [one for one in self._server.connections if isinstance(one, Connection)]

    async def _listen_at(self, address: str) -> None:
        """Raises OSError, or ValueError if there is no port in `address`."""
        host, _, port = address.rpartition(":")
        if not (port.isdecimal() and int(port) <= _LARGEST_PORT):  # the kernel would take it modulo 65536
            raise ValueError(f"it is not HOST:PORT with a port from 0 to {_LARGEST_PORT}")
        infos = await asyncio.get_running_loop().getaddrinfo(
            host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, name in dict.fromkeys((family, name) for family, _, _, _, name in infos):
            self._listen(family, name)

    def _listen(self, family: int, name: Any) -> None:
        listening = socket.socket(family, socket.SOCK_STREAM)
        self._sockets.append(listening)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. Otherwise the kernel keeps megabytes of a client that sends faster than we read.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(name)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
        self._resume(listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                client, name = listening.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:  # for instance no file is left; without a pause the loop would spin
                _LOG.warning("no connection is accepted for %gs: %s", _CHECK_SECONDS, error)
                asyncio.get_running_loop().remove_reader(listening)
                asyncio.get_running_loop().call_later(_CHECK_SECONDS, self._resume, listening)
                return
            self._admit(client, str(name[0]))

    def _resume(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _admit(self, client: socket.socket, address: str) -> None:
        """Opens a connection. If there are too many, others are closed for it, or itself if none of them waits."""
        if len(self._server.connections) + len(self._opening) >= self._most and not self._make_room():
            client.close()
            return
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        opening = _Opening(address, loop.time())
        self._opening.add(opening)
        opening.task = loop.create_task(self._open(client, opening))

    @property
    def _most(self) -> int:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return min(self._limits.connections, max(1, files - _SPARE_FILES))

    def _make_room(self) -> bool:
        waiting: list[_Opening | Connection] = [*self._opening]
        waiting += [one for one in self._connections if one.is_unfinished]
        closing = excess(waiting)
        for one in closing:
            one.abort()
        return bool(closing)

    async def _open(self, client: socket.socket, opening: _Opening) -> None:
        try:
            connection = Connection(self._server, opening.address, self._limits, self._malformed, self._count)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                client,
                ssl=self._tls,
                ssl_handshake_timeout=self._limits.head_seconds if self._tls else None,
                ssl_shutdown_timeout=_TLS_SHUTDOWN_SECONDS if self._tls else None,
            )
        except OSError:  # also ssl.SSLError: the client speaks no TLS, or has left
            client.close()
        except asyncio.CancelledError:  # to make room, or at the end
            client.close()
            raise
        finally:
            self._opening.discard(opening)

    def _count(self, more: int) -> None:
        self._unfinished_bytes += more
        if more > 0 and self._unfinished_bytes > self._limits.unfinished_bytes:
            waiting = [one for one in self._connections if one.is_unfinished]
            for one in largest(waiting, self._limits.unfinished_bytes):
                one.abort()

    def _check(self) -> None:
        """Closes the connections that are late, and comes again."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection in self._connections:
            if connection.is_late(now):
                connection.abort()
        self._next_check = loop.call_later(_CHECK_SECONDS, self._check)


def _announcing(handler: _Handler) -> _Handler:
    """Tells the connection of each request before `handler` runs."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        if isinstance(connection, Connection) and not connection.request_begins(request):
            response = problem(431, "RequestHeaderFieldsTooLarge", "the headers of this request are too long together")
            response.force_close()
            return response
        return await handler(request)

    return handle


async def _forbid_sniffing(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(NOSNIFF)


def _shrink_buffers() -> None:
    """For each connection, asyncio makes a TLS buffer of 256 KiB, and aiohttp parses up to 32 requests in advance.

    Both are constants of the libraries without a parameter.
    """
    sslproto.SSLProtocol.max_size = _TLS_BUFFER_BYTES
    web_protocol.MAX_MSG_QUEUE_SIZE = _REQUESTS_AHEAD
