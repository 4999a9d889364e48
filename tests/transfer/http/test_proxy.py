"""Downloads through a real proxy on loopback, with the client and with the command line."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import AccessDenied, AddressNotAllowed, SourceUnavailable
from model_provisioner.domain.network.addresses import NetworkPolicy, parse_allowed_host
from model_provisioner.domain.network.proxy import parse_no_proxy, parse_proxy
from model_provisioner.proxy_file import load_proxy
from model_provisioner.transfer.http.address_guard import Resolve
from model_provisioner.transfer.http.client import Client, NetworkSettings, open_client
from tests.support.certificates import server_context
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub
from tests.support.proxy import Proxy

NAME = "owner/Model-GGUF"
CONTENT = tiny_gguf()
PASSWORD = "canary:p@ss/word"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub(names=("hub.example", "127.0.0.1")) as running:
        running.repository(NAME, private=True, tokens=frozenset({"hf_canary"})).add("m.Q4_K_M.gguf", CONTENT)
        yield running


def through(proxy: Proxy, hub: Hub | None, *hosts: str, no_proxy: str = "") -> NetworkSettings:
    policy = NetworkPolicy(allowed_hosts=tuple(map(parse_allowed_host, hosts)))
    parsed = replace(parse_proxy(proxy.url), no_proxy=parse_no_proxy(no_proxy))
    return NetworkSettings(policy, hub.ca_file if hub else None, parsed)


async def status(client: Client, url: str, credentials: Credentials | None = None) -> int:
    async with await client.get(url, {}, credentials) as reply:
        return reply.status


async def test_https_goes_through_a_tunnel_to_a_name_that_only_the_proxy_knows(hub: Hub) -> None:
    url = hub.endpoint.replace("127.0.0.1", "hub.example")
    with Proxy({"hub.example": "127.0.0.1"}) as proxy:
        async with open_client(through(proxy, hub, "*.example")) as client:
            assert await status(client, f"{url}/api/models/a/b", Credentials("hf_canary", (url,))) == 404
    (asked,) = proxy.log
    assert (asked.method, asked.target) == ("CONNECT", url.removeprefix("https://"))
    assert "canary" not in str(asked)
    assert hub.log[0].authorization


async def test_http_goes_through_it_to_a_listed_host() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.raw_path)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    async with TestServer(application) as running:
        url = f"http://127.0.0.1:{running.port}/a%2Fb?x=%20"
        with Proxy(user="user", password="secret") as proxy:
            settings = through(proxy, None, "127.0.0.1")
            named = parse_proxy(f"http://user:secret@{proxy.host_port}")
            async with open_client(NetworkSettings(settings.policy, None, named)) as client:
                assert await status(client, url) == 200
    assert [(asked.method, asked.target) for asked in proxy.log] == [("GET", url)]


async def test_the_proxy_itself_may_be_spoken_to_over_tls(hub: Hub, tmp_path: Path) -> None:
    tls = server_context(["127.0.0.1"], tmp_path / "proxy.pem")
    both = tmp_path / "both.pem"
    both.write_bytes(hub.ca_file.read_bytes() + (tmp_path / "proxy.pem").read_bytes())
    with Proxy(tls=tls) as proxy:
        settings = NetworkSettings(through(proxy, None, "127.0.0.1").policy, both, parse_proxy(proxy.url))
        async with open_client(settings) as client:
            assert await status(client, f"{hub.endpoint}/api/models/a/b") == 401
    assert [asked.method for asked in proxy.log] == ["CONNECT"]
    assert len(hub.log) == 1


async def test_a_host_that_is_not_listed_is_not_even_asked_of_the_proxy(hub: Hub) -> None:
    with Proxy() as proxy:
        async with open_client(through(proxy, hub, "other.example")) as client:
            with pytest.raises(AddressNotAllowed, match=r"with a proxy only listed hosts.*--allow-host"):
                await status(client, hub.endpoint)
    assert proxy.log == []


async def test_a_redirect_through_it_may_not_leave_the_list(hub: Hub) -> None:
    hub.fail(302, where="api", headers={"Location": "https://elsewhere.example/"})
    with Proxy() as proxy:
        async with open_client(through(proxy, hub, hub.host_port)) as client:
            with pytest.raises(AddressNotAllowed, match=r"elsewhere\.example is not listed, and with a proxy"):
                await status(client, f"{hub.endpoint}/api/models/a/b")
    assert len(proxy.log) == 1


async def test_even_a_listed_metadata_address_is_not_reached_through_it() -> None:
    with Proxy() as proxy:
        async with open_client(through(proxy, None, "169.254.169.254")) as client:
            with pytest.raises(AddressNotAllowed, match="metadata"):
                await status(client, "http://169.254.169.254/latest/")
    assert proxy.log == []


@pytest.mark.parametrize(("given", "message"), [("user:wrong", r"asks for a user name and password"), (None, r"407")])
async def test_a_proxy_that_does_not_let_us_in(hub: Hub, given: str | None, message: str) -> None:
    with Proxy(user="user", password=PASSWORD) as proxy:
        url = f"http://{given}@{proxy.host_port}" if given else proxy.url
        settings = NetworkSettings(through(proxy, hub, "127.0.0.1").policy, hub.ca_file, parse_proxy(url))
        async with open_client(settings) as client:
            with pytest.raises(AccessDenied, match=message) as refused:
                await status(client, hub.endpoint)
    assert "wrong" not in refused.value.message


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (403, AddressNotAllowed, r"the proxy does not lead to https://127\S+ \(403\)"),
        (502, SourceUnavailable, r"the proxy got no connection to https://127\S+ \(502\)"),
    ],
)
async def test_a_proxy_that_does_not_lead_there(hub: Hub, code: int, error: type[Exception], message: str) -> None:
    with Proxy() as proxy:
        proxy.refuse_with = code
        async with open_client(through(proxy, hub, "127.0.0.1")) as client:
            with pytest.raises(error, match=message):
                await status(client, hub.endpoint)


async def test_a_proxy_that_is_down_is_told_as_such(hub: Hub) -> None:
    with Proxy() as proxy:
        settings = through(proxy, hub, "127.0.0.1")
    async with open_client(settings) as client:
        with pytest.raises(SourceUnavailable, match=r"no connection to the proxy 127\.0\.0\.1"):
            await status(client, hub.endpoint)


async def test_a_host_in_no_proxy_is_connected_to_directly_and_its_redirects_are_not(hub: Hub) -> None:
    content = hub.content_origin.removeprefix("https://")
    hub.fail(302, where="api", headers={"Location": f"{hub.content_origin}/x"})
    with Proxy() as proxy:
        async with open_client(through(proxy, hub, "127.0.0.1", no_proxy=hub.host_port)) as client:
            await status(client, f"{hub.endpoint}/api/models/a/b")
    assert [asked.target for asked in proxy.log] == [content]


async def test_a_name_is_not_resolved_to_find_out_whether_it_is_in_no_proxy(hub: Hub) -> None:
    url = hub.endpoint.replace("127.0.0.1", "hub.example")
    with Proxy({"hub.example": "127.0.0.1"}) as proxy:
        settings = through(proxy, hub, "hub.example", no_proxy="127.0.0.0/8")
        async with open_client(settings, answering("127.0.0.1")) as client:
            assert await status(client, f"{url}/api/models/a/b") == 401
    assert len(proxy.log) == 1


async def test_a_host_in_no_proxy_has_to_be_listed_too(hub: Hub) -> None:
    with Proxy() as proxy:
        async with open_client(through(proxy, hub, "other.example", no_proxy="127.0.0.1")) as client:
            with pytest.raises(AddressNotAllowed, match=r"with a proxy only listed hosts.*--allow-host"):
                await status(client, hub.endpoint)
    assert proxy.log == []
    assert hub.log == []


async def test_the_addresses_of_a_host_in_no_proxy_are_guarded() -> None:
    with Proxy({"inside.example": "127.0.0.1"}) as proxy:
        settings = through(proxy, None, "inside.example", no_proxy=".example")
        async with open_client(settings, answering("169.254.169.254")) as client:
            with pytest.raises(AddressNotAllowed, match="metadata"):
                await status(client, "http://inside.example/latest/")
    assert proxy.log == []


async def test_a_host_in_no_proxy_that_is_down_is_not_told_as_the_proxy(hub: Hub) -> None:
    with Proxy() as proxy:
        async with open_client(through(proxy, hub, "127.0.0.1", no_proxy="127.0.0.1")) as client:
            with pytest.raises(SourceUnavailable, match=r"no connection to http://127\.0\.0\.1:1:"):
                await status(client, "http://127.0.0.1:1/")
    assert proxy.log == []


def answering(address: str) -> Resolve:
    """A resolver that has this address for every name."""

    async def resolve(host: str, port: int) -> list[str]:
        return [address]

    return resolve


def fetch(arguments: list[str], token: str | None = "hf_canary") -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    command = [sys.executable, "-m", "model_provisioner.cli", "fetch", f"hf:{NAME}", *arguments]
    environment |= {"HF_TOKEN": token} if token else {}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=60)


def flags(hub: Hub, directory: Path, proxy: str) -> list[str]:
    reached = ["--endpoint", hub.endpoint, "--ca-file", str(hub.ca_file), "--send-token"]
    return ["--to", str(directory), *reached, "--proxy", proxy]


def test_a_model_comes_through_a_proxy_with_a_password_that_is_never_shown(hub: Hub, tmp_path: Path) -> None:
    """Resolving (huggingface_hub) and downloading (engine) connect through the proxy only."""
    with Proxy(user="user", password=PASSWORD) as proxy:
        secret = tmp_path / "proxy"
        secret.write_text(f"http://user:canary%3Ap%40ss%2Fword@{proxy.host_port}\n")
        done = fetch([*flags(hub, tmp_path / "models", f"@{secret}"), "--allow-host", "127.0.0.1"])
        secret.write_text(f"http://user:canary@{proxy.host_port}\n")
        wrong = fetch([*flags(hub, tmp_path / "other", f"@{secret}"), "--allow-host", "127.0.0.1"])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models" / "hf" / NAME / "m.Q4_K_M.gguf").read_bytes() == CONTENT
    assert {asked.target for asked in proxy.log} == {hub.host_port, hub.content_origin.removeprefix("https://")}
    assert wrong.stderr.splitlines()[-1].startswith("AccessDenied: the proxy asks for a user name")
    assert "canary" not in done.stdout + done.stderr + wrong.stdout + wrong.stderr


@pytest.mark.parametrize("written", [["--no-proxy", "{hub}", "--no-proxy=.svc"], ["--no-proxy=.svc,{hub}"]], ids=str)
def test_a_hub_inside_is_reached_without_the_proxy(hub: Hub, tmp_path: Path, written: list[str]) -> None:
    with Proxy() as proxy:
        no_proxy = [text.format(hub=hub.host_port) for text in written]
        done = fetch([*flags(hub, tmp_path / "models", proxy.url), "--allow-host", "127.0.0.1", *no_proxy])
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "models" / "hf" / NAME / "m.Q4_K_M.gguf").read_bytes() == CONTENT
    assert {asked.target for asked in proxy.log} == {hub.content_origin.removeprefix("https://")}


def test_a_proxy_without_hosts_is_refused_at_once(hub: Hub, tmp_path: Path) -> None:
    done = fetch(flags(hub, tmp_path / "models", "http://proxy.example:3128"))
    assert done.returncode == 2
    assert "--proxy: a proxy hides which addresses are connected to" in done.stderr
    assert "--allow-host huggingface.co:443" in done.stderr
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_not_used(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with Proxy() as proxy:
        monkeypatch.setenv(name, proxy.url)
        arguments = flags(hub, tmp_path / "models", "")[:-2]
        assert fetch([*arguments, "--allow-host", "127.0.0.1"]).returncode == 0
    assert proxy.log == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("http://user:canary@proxy.example:3128", "put its URL in a file"),
        ("proxy.example:3128", "malformed"),
        ("socks5://proxy.example", "malformed"),
        ("http://proxy.example:3128/path?canary", "more than a host and a port: write http://proxy.example:3128"),
        ("", "malformed"),
        ("@/nonexistent/proxy", "can't be read from /nonexistent/proxy: No such file"),
    ],
)
def test_what_is_no_proxy(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as refused:
        load_proxy(text)
    assert "canary" not in str(refused.value)


def test_its_credentials_are_not_in_its_representation() -> None:
    proxy = parse_proxy("http://user:canary%40@proxy.example:3128")
    assert (proxy.username, proxy.password, str(proxy.origin)) == ("user", "canary@", "http://proxy.example:3128")
    assert "user" not in repr(proxy)
    assert "canary" not in repr(proxy)
