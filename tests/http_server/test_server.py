"""The deadlines of the HTTP server, with a real client on loopback and short times."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web

from model_provisioner.http_server.connection import Connection
from model_provisioner.http_server.limits import Limits
from model_provisioner.http_server.server import HttpServer, ListenError

GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
LIMITS = Limits(connections=10, head_seconds=2, body_seconds=3, idle_seconds=4, response_seconds=2)
MIB = 1024**2


@asynccontextmanager
async def serving(handler_seconds: float = 0.0, body: bytes = b"ok") -> AsyncIterator[int]:
    async def answer(_request: web.Request) -> web.Response:
        await asyncio.sleep(handler_seconds)
        return web.Response(body=body)

    app = web.Application()
    app.add_routes([web.get("/", answer)])
    server = HttpServer(app, LIMITS)
    await server.start("127.0.0.1:0", "--listen")
    try:
        yield server.port
    finally:
        await server.close()


async def at_end(reader: asyncio.StreamReader) -> bool:
    """Waits for the end of the connection."""
    try:
        return await reader.read() == b""
    except ConnectionError:
        return True


async def test_a_response_that_is_not_read_ends() -> None:
    async with serving(body=bytes(16 * MIB)) as port:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", port))
            deaf.sendall(GET + b"\r\n")
            await asyncio.sleep(LIMITS.response_seconds + 2)
            reader, _ = await asyncio.open_connection(sock=deaf.dup())
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(16 * MIB)


async def test_an_idle_connection_takes_a_second_request_and_then_ends() -> None:
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(GET + b"\r\n")
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
            await asyncio.sleep(LIMITS.head_seconds + 0.5)
        async with asyncio.timeout(LIMITS.idle_seconds + 60):
            assert await at_end(reader)
        writer.close()


async def test_a_handler_that_takes_long_is_not_interrupted() -> None:
    async with serving(handler_seconds=LIMITS.body_seconds + 2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET + b"\r\n")
        assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
        writer.close()


async def test_a_request_that_comes_early_is_answered_after_the_first() -> None:
    async with serving(handler_seconds=0.2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((GET + b"\r\n") * 5)
        for _ in range(5):
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200 OK")
        writer.close()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (GET + b"".join(b"h%d: %b\r\n" % (n, b"x" * 8000) for n in range(5)) + b"\r\n", b"431"),
        (GET + b"x: " + b"x" * 9000 + b"\r\n\r\n", b"400"),
        (GET + b"".join(b"h%d: \r\n" % n for n in range(70)) + b"\r\n", b"400"),
    ],
    ids=["all headers", "one header", "number of headers"],
)
async def test_headers_are_bounded(request_bytes: bytes, status: bytes) -> None:
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes)
        answer = await reader.read()
        assert answer.startswith((b"HTTP/1.1 " + status, b"HTTP/1.0 " + status))
        assert b"application/problem+json" in answer
        writer.close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:{taken}", "Address already in use"),
        ("192.0.2.1:8080", "Cannot assign requested address"),
        ("127.0.0.1:70000", "it is not HOST:PORT with a port from 0 to 65535"),
        ("127.0.0.1:http", "it is not HOST:PORT with a port from 0 to 65535"),
        ("nothing", "it is not HOST:PORT with a port from 0 to 65535"),
    ],
)
async def test_an_address_that_can_t_be_listened_on_is_told_with_its_option(address: str, reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = address.format(taken=other.getsockname()[1])
        server = HttpServer(web.Application(), LIMITS)
        with pytest.raises(ListenError, match=rf"^--listen: can't listen on {address}: {reason}$"):
            await server.start(address, "--listen")


async def test_a_stream_is_read_no_faster_than_it_may_send() -> None:
    """As a client of a WebSocket may send frames without an end that are no message."""
    taken: list[int] = []
    enough = asyncio.Event()

    def pause(size: int) -> float:
        taken.append(size)
        if sum(taken) >= MIB:
            enough.set()
        return 3600.0 if enough.is_set() else 0.0

    async def stream(request: web.Request) -> web.WebSocketResponse:
        assert isinstance(request.protocol, Connection)
        request.protocol.becomes_stream(pause)
        response = web.WebSocketResponse()
        await response.prepare(request)
        await response.receive()
        return response

    app = web.Application()
    app.add_routes([web.get("/", stream)])
    server = HttpServer(app, LIMITS, shutdown_seconds=0.1)
    await server.start("127.0.0.1:0", "--listen")
    async with ClientSession() as client, client.ws_connect(f"http://127.0.0.1:{server.port}/") as socket:
        connection = socket._response.connection
        assert connection
        writer = connection.transport
        assert writer
        writer.write(b"\x01\x80abcd" + b"\x00\x80abcd" * MIB)
        await enough.wait()
        await asyncio.sleep(0.1)
        assert sum(taken) < 2 * MIB
        writer.abort()
    await server.close()
