"""How much a kernel may receive ahead of a download: little over a short path, as it likes over a long one."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from model_provisioner.transfer.http import receive_buffer
from model_provisioner.transfer.http.client import open_client
from tests.transfer.http.test_curl_request import LISTED

BUFFER = (socket.SOL_SOCKET, socket.SO_RCVBUF)
HEADER = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


def size_of(descriptor: int) -> int:
    """The limit of the buffer in bytes. Linux doubles what is asked for, for its own bookkeeping."""
    connection = socket.socket(fileno=descriptor)
    try:
        return connection.getsockopt(*BUFFER) // 2
    finally:
        connection.detach()


@pytest.fixture
def connected() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        yield client


def is_allowed() -> bool:
    with socket.socket() as probe:
        probe.setsockopt(*BUFFER, receive_buffer.BYTES)
        return size_of(probe.fileno()) == receive_buffer.BYTES


def test_a_buffer_is_limited_and_the_socket_stays_open(connected: socket.socket) -> None:
    before = size_of(connected.fileno())
    receive_buffer.limit(connected.fileno())
    assert size_of(connected.fileno()) == (receive_buffer.BYTES if is_allowed() else before)


def test_a_connection_that_is_gone_is_left_alone() -> None:
    receive_buffer.limit(-1)


def test_a_kernel_that_allows_less_is_left_alone(connected: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit would be as low as what it allows."""
    monkeypatch.setattr(receive_buffer, "BYTES", 2**30)
    before = size_of(connected.fileno())
    receive_buffer.limit(connected.fileno())
    assert size_of(connected.fileno()) == before


@pytest.mark.parametrize(("near_seconds", "limited"), [(10.0, True), (0.0, False)])
async def test_only_a_short_path_is_limited(
    near_seconds: float, limited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive_buffer, "NEAR_SECONDS", near_seconds)
    found: list[int] = []
    monkeypatch.setattr(receive_buffer, "limit", found.append)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(HEADER)
            await writer.drain()
            writer.write(bytes(1_000_000))
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening, open_client(LISTED) as client:
        port = listening.sockets[0].getsockname()[1]
        for _ in range(2):  # the second one over the same connection
            async with await client.get(f"http://127.0.0.1:{port}/", {}, None) as reply:
                assert sum([len(chunk) async for chunk in reply.chunks()]) == 1_000_000
    assert len(found) == (2 if limited else 0)
    assert all(descriptor > 0 for descriptor in found)
