"""The HTTP client: address guard, redirects, credentials and errors below HTTP."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import (
    AddressNotAllowed,
    NameResolutionFailed,
    SourceUnavailable,
    TLSVerificationFailed,
)
from model_provisioner.domain.network.addresses import HostPort, NetworkPolicy, parse_network
from model_provisioner.transfer.http.client import Client, NetworkSettings, open_client
from tests.support.hub import Hub

LOOPBACK = NetworkPolicy(allowed_networks=(parse_network("127.0.0.0/8"),))
LISTED = NetworkPolicy(allowed_hosts=(HostPort("127.0.0.1"), HostPort("localhost")))


@asynccontextmanager
async def server(handler: object) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_get("/{path:.*}", handler)  # type: ignore[arg-type]
    async with TestServer(application) as running:
        yield str(running.make_url("")).rstrip("/")


async def status(client: Client, url: str, credentials: Credentials | None = None) -> int:
    async with await client.get(url, {}, credentials) as reply:
        return reply.status


@pytest.fixture
def tls_hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_loopback_address_needs_a_network_or_a_host(tls_hub: Hub, host: str) -> None:
    url = tls_hub.endpoint.replace("127.0.0.1", host)
    async with open_client(NetworkSettings(NetworkPolicy(), tls_hub.ca_file)) as client:
        with pytest.raises(AddressNotAllowed, match="--allow-network"):
            await status(client, url)
    for policy in (LOOPBACK, LISTED):
        async with open_client(NetworkSettings(policy, tls_hub.ca_file)) as client:
            assert await status(client, url) == 404
    assert all(request.status == 404 for request in tls_hub.log)


async def test_a_redirect_may_not_lead_to_a_service_inside() -> None:
    async def redirect(request: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/latest/meta-data/")

    async with server(redirect) as url, open_client(NetworkSettings(LISTED)) as client:
        with pytest.raises(AddressNotAllowed):
            await status(client, url)


async def test_a_redirect_may_not_give_up_encryption(tls_hub: Hub) -> None:
    tls_hub.fail(302, where="api", headers={"Location": "http://127.0.0.1:1/"})
    async with open_client(NetworkSettings(LISTED, tls_hub.ca_file)) as client:
        with pytest.raises(AddressNotAllowed, match="not encrypted"):
            await status(client, f"{tls_hub.endpoint}/api/models/a/b")


async def test_plain_http_is_for_listed_hosts() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response()

    async with server(answer) as url:
        async with open_client(NetworkSettings(LOOPBACK)) as client:
            with pytest.raises(AddressNotAllowed, match="use https"):
                await status(client, url)
        async with open_client(NetworkSettings(LISTED)) as client:
            assert await status(client, url) == 200


async def test_redirects_are_followed_five_times() -> None:
    async def count_down(request: web.Request) -> web.Response:
        left = int(request.match_info["path"])
        if left == 0:
            return web.Response()
        raise web.HTTPTemporaryRedirect(f"/{left - 1}")

    async with server(count_down) as url, open_client(NetworkSettings(LISTED)) as client:
        assert await status(client, f"{url}/5") == 200
        with pytest.raises(SourceUnavailable, match="redirects again and again"):
            await status(client, f"{url}/6")


async def test_a_credential_stays_with_its_origin_and_does_not_come_back_to_it() -> None:
    seen: list[tuple[str, bool]] = []

    async def first(request: web.Request) -> web.Response:
        seen.append(("first", "Authorization" in request.headers))
        if request.path == "/end":
            return web.Response()
        raise web.HTTPFound(f"{other}/")

    async def second(request: web.Request) -> web.Response:
        seen.append(("second", "Authorization" in request.headers))
        raise web.HTTPFound(f"{url}/end")

    async with server(first) as url, server(second) as other, open_client(NetworkSettings(LISTED)) as client:
        assert await status(client, f"{url}/start", Credentials("secret", (url,))) == 200
    assert seen == [("first", True), ("second", False), ("first", False)]


async def test_the_signature_of_an_address_is_sent_as_it_is_spelled() -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        return web.Response()

    spelled = "/a%2Fb/%C3%A9?Signature=a%2Bb%7E~&x=%20"
    async with server(answer) as url, open_client(NetworkSettings(LISTED)) as client:
        await status(client, f"{url}{spelled}")
    assert seen == [spelled]


async def test_no_compression_and_no_cookies_are_asked_for() -> None:
    seen: list[tuple[str | None, bool]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.headers.get("Accept-Encoding"), "Cookie" in request.headers))
        return web.Response(headers={"Set-Cookie": "a=b"})

    async with server(answer) as url, open_client(NetworkSettings(LISTED)) as client:
        await status(client, url)
        await status(client, url)
    assert seen == [("identity", False)] * 2


async def test_the_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch, tls_hub: Hub) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with open_client(NetworkSettings(LISTED, tls_hub.ca_file)) as client:
        assert await status(client, tls_hub.endpoint) == 404


async def test_an_unknown_name_is_a_resolution_failure() -> None:
    async with open_client(NetworkSettings()) as client:
        with pytest.raises(NameResolutionFailed, match=r"hub\.invalid"):
            await status(client, "https://hub.invalid/model")


async def test_a_certificate_of_an_unknown_authority_is_told(tls_hub: Hub) -> None:
    async with open_client(NetworkSettings(LISTED)) as client:
        with pytest.raises(TLSVerificationFailed, match=r"--ca-file"):
            await status(client, tls_hub.endpoint)


async def test_an_authority_of_our_own_is_trusted(tls_hub: Hub) -> None:
    async with open_client(NetworkSettings(LISTED, tls_hub.ca_file)) as client:
        assert await status(client, tls_hub.endpoint) == 404


async def test_a_ca_file_that_is_none_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "ca.pem"
    broken.write_text("not a certificate")
    with pytest.raises(ssl.SSLError):
        async with open_client(NetworkSettings(LISTED, broken)):
            pass


async def test_what_breaks_is_told_without_the_query() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.transport.abort()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        async with open_client(NetworkSettings(LISTED)) as client:
            with pytest.raises(SourceUnavailable) as caught:
                await status(client, f"http://127.0.0.1:{port}/file?Signature=canary")
    assert f"http://127.0.0.1:{port}" in caught.value.message
    assert "canary" not in caught.value.message
