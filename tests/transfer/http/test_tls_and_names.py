"""Untrusted certificates and unknown names: each raises its own error, and no request is sent."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from model_provisioner.domain.errors import NameResolutionFailed, SourceUnavailable, TLSVerificationFailed
from model_provisioner.domain.network.addresses import HostPort, NetworkPolicy
from model_provisioner.transfer.http.client import NetworkSettings, open_client
from tests.support.bad_server import BadServer

HOSTS = (HostPort("127.0.0.1"), HostPort("localhost"))
LONG_AGO = datetime(2001, 1, 1, tzinfo=UTC)
AUTHORITY = trustme.CA()


@pytest.fixture
def settings(tmp_path: Path) -> NetworkSettings:
    AUTHORITY.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return NetworkSettings(NetworkPolicy(allowed_hosts=HOSTS), tmp_path / "ca.pem")


def context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(serving)
    return serving


def old_protocol() -> ssl.SSLContext:
    serving = context(AUTHORITY.issue_cert("127.0.0.1"))
    serving.set_ciphers("ALL:@SECLEVEL=0")
    serving.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    serving.maximum_version = ssl.TLSVersion.TLSv1_1
    return serving


UNTRUSTED: dict[str, tuple[Callable[[], ssl.SSLContext], str]] = {
    "expired": (
        lambda: context(AUTHORITY.issue_cert("127.0.0.1", not_before=LONG_AGO, not_after=LONG_AGO)),
        "certificate has expired",
    ),
    "another host's": (lambda: context(AUTHORITY.issue_cert("other.example")), "does not match|no alternative"),
    "unknown authority": (
        lambda: context(trustme.CA().issue_cert("127.0.0.1")),
        "unable to get local issuer|self-signed",
    ),
}


@pytest.mark.parametrize("kind", UNTRUSTED)
async def test_a_certificate_that_proves_nothing_is_told_and_nothing_is_sent(
    settings: NetworkSettings, kind: str
) -> None:
    serving, message = UNTRUSTED[kind]
    async with BadServer(b"", tls=serving()).running() as server, open_client(settings) as client:
        with pytest.raises(TLSVerificationFailed, match=message) as caught:
            await client.get(f"{server.url}?Signature=canary", {"X-Secret": "canary"}, None)
    assert "--ca-file" in caught.value.message
    assert "canary" not in caught.value.message
    assert server.log == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_a_protocol_that_is_broken_is_not_spoken(settings: NetworkSettings) -> None:
    async with BadServer(b"", tls=old_protocol()).running() as server, open_client(settings) as client:
        with pytest.raises(SourceUnavailable, match="no agreement on TLS"):
            await client.get(server.url, {}, None)
    assert server.log == []


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"\x16\x03\x01\x00\x05"])
async def test_a_handshake_that_breaks_leads_to_nothing_in_clear(settings: NetworkSettings, greeting: bytes) -> None:
    received = bytearray()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.read(4096))
        writer.write(greeting)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening, open_client(settings) as client:
        port = listening.sockets[0].getsockname()[1]
        with pytest.raises(SourceUnavailable):
            await client.get(f"https://127.0.0.1:{port}/file?Signature=canary", {}, None)
    assert received.startswith(b"\x16\x03")  # a TLS handshake record: RFC 8446, 5.1
    assert b"canary" not in received


async def test_a_name_that_is_not_found_for_a_moment_is_asked_for_again(settings: NetworkSettings) -> None:
    answers: list[OSError | list[str]] = [OSError("SERVFAIL"), OSError("NXDOMAIN"), ["127.0.0.1"]]

    async def resolve(host: str, port: int) -> list[str]:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    tls = context(AUTHORITY.issue_cert("localhost"))
    async with BadServer(b"abc", tls=tls).running() as server, open_client(settings, resolve) as client:
        url = server.url.replace("127.0.0.1", "localhost")
        for _ in range(2):
            with pytest.raises(NameResolutionFailed, match="localhost can't be resolved"):
                await client.get(url, {}, None)
        async with await client.get(url, {}, None) as reply:
            assert await reply.read() == b"abc"


async def test_connections_are_used_again(settings: NetworkSettings) -> None:
    connections = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\n\r\nabc")

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening, open_client(settings) as client:
        port = listening.sockets[0].getsockname()[1]
        for _ in range(5):
            async with await client.get(f"http://127.0.0.1:{port}/", {}, None) as reply:
                assert b"".join([chunk async for chunk in reply.chunks()]) == b"abc"
    assert connections == 1
