"""One request over libcurl: which header and body count as the response, and that a slow reader slows the sender."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import AccessDenied, SourceUnavailable
from model_provisioner.domain.network.addresses import HostPort, NetworkPolicy
from model_provisioner.transfer.http.ca_bundle import trusted_authorities
from model_provisioner.transfer.http.client import NetworkSettings, Reply, open_client

MIB = 1024 * 1024
LISTED = NetworkSettings(NetworkPolicy(allowed_hosts=(HostPort("127.0.0.1"),)))

Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def asking(serve: Serve) -> AsyncIterator[Reply]:
    """The reply of a server that runs `serve` after it has read the header of the request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        try:
            await serve(writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening, open_client(LISTED) as client:
        port = listening.sockets[0].getsockname()[1]
        async with await client.get(f"http://127.0.0.1:{port}/", {}, None) as reply:
            yield reply


def says(*parts: bytes) -> Serve:
    async def serve(writer: asyncio.StreamWriter) -> None:
        writer.writelines(parts)
        await writer.drain()

    return serve


async def test_interim_answers_are_passed_over() -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    async with asking(says(hint, hint, b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")) as reply:
        assert (reply.status, "Link" in reply.headers, await reply.read(), await reply.read()) == (
            200,
            False,
            b"abc",
            b"",
        )


async def test_what_follows_the_body_changes_no_header() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nETag: a\r\nTransfer-Encoding: chunked\r\nTrailer: ETag\r\n\r\n"
    async with asking(says(chunked, b"3\r\nabc\r\n0\r\nETag: b\r\n\r\n")) as reply:
        assert b"".join([chunk async for chunk in reply.chunks()]) == b"abc"
        assert dict(reply.headers)["ETag"] == "a"


async def test_names_of_headers_ignore_case() -> None:
    async with asking(
        says(b"HTTP/1.1 404 Not Found\r\ncontent-LENGTH: 0\r\nx-error-code:RepoNotFound\r\n\r\n")
    ) as reply:
        assert (reply.status, reply.headers["Content-Length"], reply.headers["X-Error-Code"]) == (
            404,
            "0",
            "RepoNotFound",
        )


async def test_what_came_before_the_end_is_read_before_it_is_told() -> None:
    async with asking(says(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")) as reply:
        assert await reply.read() == b"abc"
        with pytest.raises(SourceUnavailable, match="it ended early"):
            await reply.read()


async def test_no_more_than_asked_for_is_handed_out_but_for_a_piece() -> None:
    body = bytes(range(256)) * 4 * 1024
    async with asking(says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body)) as reply:
        pieces = []
        while piece := await reply.read(50_000):
            pieces.append(piece)
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) < 50_000 + 16 * 1024 + 1


async def test_a_slow_reader_stops_the_sender() -> None:
    sent, stopped = 0, asyncio.Event()

    async def serve(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 * MIB))
        while True:
            writer.write(bytes(MIB))
            try:
                await asyncio.wait_for(writer.drain(), 2)
            except TimeoutError:
                stopped.set()
                return
            sent += MIB

    async with asking(serve) as reply:
        await reply.read()
        await stopped.wait()
    assert sent < 64 * MIB, "what is not read stays with the sender, but for the buffers of the system"


@pytest.mark.parametrize("addresses", [["::1"], ["::1", "127.0.0.1"]])
@pytest.mark.parametrize("host", ["[::1]", "six.example"])
async def test_addresses_of_the_new_protocol(host: str, addresses: list[str]) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async def resolve(_host: str, _port: int) -> list[str]:
        return addresses

    policy = NetworkPolicy(allowed_hosts=(HostPort("::1"), HostPort("six.example")))
    async with (
        await asyncio.start_server(answer, "::1", 0) as listening,
        open_client(NetworkSettings(policy), resolve) as client,
    ):
        port = listening.sockets[0].getsockname()[1]
        async with await client.get(f"http://{host}:{port}/", {}, None) as reply:
            assert reply.status == 204


async def test_a_token_of_more_than_one_line_is_not_sent() -> None:
    async with open_client(LISTED) as client:
        with pytest.raises(AccessDenied, match="line break"):
            await client.get("http://127.0.0.1:1/", {}, Credentials("hf_a\r\nX-Evil: 1", ("http://127.0.0.1:1",)))


def test_the_administrators_authorities_are_added_to_the_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs, hashed = (trustme.CA().cert_pem.bytes() for _ in range(3))
    (tmp_path / "ours.pem").write_bytes(ours)
    (tmp_path / "theirs.pem").write_bytes(theirs)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "theirs.pem"))
    with trusted_authorities(tmp_path / "ours.pem") as path:
        assert Path(path).read_bytes() == theirs + b"\n" + ours
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "0123abcd.0").write_bytes(hashed)
    (tmp_path / "directory" / "README").write_bytes(b"no certificate")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "directory"))
    with trusted_authorities(None) as path:
        assert Path(path).read_bytes() == hashed


async def test_the_round_trip_does_not_include_the_work_of_the_server() -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with asking(slow) as reply:
        assert 0 < reply.round_trip < 0.5
