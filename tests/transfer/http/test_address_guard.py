"""The address guard: names that resolve to another address the second time, and the pages of a list."""

import ast
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pycurl
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

import model_provisioner
from model_provisioner.aio.threads import DetachedThreads
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import AddressNotAllowed, SourceUnavailable
from model_provisioner.domain.network.addresses import HostPort, NetworkPolicy, Origin, parse_network
from model_provisioner.domain.refs.hugging_face import HuggingFaceRef
from model_provisioner.transfer.clients.hubs.hub_client import HubClient
from model_provisioner.transfer.http.address_guard import Guard
from model_provisioner.transfer.http.client import Client, NetworkSettings, open_client
from tests.support.hub import Hub

LISTED = NetworkPolicy(allowed_hosts=(HostPort("127.0.0.1"), HostPort("localhost")))
GUARDED = (
    "transfer/",
    "domain/",
    "worker_protocol/",
    "aio/",
    "controller/",
    "worker_pod/",
    "worker_processes/",
    "proxy_file.py",
    "cli.py",
)
OUTSIDE = "127.0.0.2"  # stands for a public address
INSIDE = "127.0.0.1"


class ScriptedResolver:
    """Returns the next of `answers` for each call, and the last one from then on."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return [self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]]


class Inside:
    """A service on loopback that must not be reached. Records bytes and counts connections."""

    def __init__(self) -> None:
        self.connections = 0
        self.bytes = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.bytes += await reader.read(65536)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def inside() -> AsyncIterator[tuple[Inside, int]]:
    service = Inside()
    async with await asyncio.start_server(service.serve, INSIDE, 0) as listening:
        yield service, listening.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    "answers", [(INSIDE,), ("169.254.169.254",), ("::ffff:169.254.169.254",), ("64:ff9b::a9fe:a9fe",)]
)
async def test_a_name_that_leads_inside_is_never_connected_to(answers: tuple[str, ...]) -> None:
    async with inside() as (service, port):
        async with open_client(NetworkSettings(), ScriptedResolver(*answers)) as client:
            with pytest.raises(AddressNotAllowed, match=r"rebind\.example resolves to"):
                await client.get(f"https://rebind.example:{port}/", {}, None)
        assert service.connections == 0


async def test_a_name_that_leads_inside_only_the_second_time_is_not_connected_to_again() -> None:
    """DNS rebinding: a public address first, an internal one for the request after the redirect."""
    resolver = ScriptedResolver(OUTSIDE, INSIDE)
    with Hub(host=OUTSIDE, names=("rebind.example",)) as hub:
        settings = NetworkSettings(NetworkPolicy((parse_network(OUTSIDE),)), hub.ca_file)
        async with inside() as (service, port), open_client(settings, resolver) as client:
            hub.fail(302, where="api", headers={"Location": f"https://rebind.example:{port}/"})
            with pytest.raises(AddressNotAllowed, match=rf"resolves to {INSIDE}"):
                await client.get(f"{hub.endpoint.replace(OUTSIDE, 'rebind.example')}/api/models/a/b", {}, None)
            assert service.connections == 0
        assert len(hub.log) == 1
    assert resolver.asked == ["rebind.example"] * 2


async def test_the_peer_is_judged_before_it_is_connected_to_whoever_resolved_the_name() -> None:
    """As if the name had resolved to another address a moment before."""
    policy = NetworkPolicy(allowed_hosts=(HostPort("other.example"),))
    async with inside() as (service, port), pycurl.AsyncCurlMulti() as multi:
        curl = pycurl.Curl()
        guard = Guard(policy, Origin("http", "rebind.example", port))
        curl.setopt(pycurl.URL, f"http://rebind.example:{port}/")
        curl.setopt(pycurl.RESOLVE, [f"rebind.example:{port}:{INSIDE}"])
        curl.setopt(pycurl.OPENSOCKETFUNCTION, guard.open_socket)
        with pytest.raises(pycurl.error):
            await multi.perform(curl)
        assert service.connections == 0
    assert "rebind.example resolves to 127.0.0.1" in str(guard.refusal)


async def test_a_connection_of_one_host_is_not_lent_to_another_that_may_not_have_it() -> None:
    policy = NetworkPolicy(allowed_hosts=(HostPort("listed.example"),))
    async with inside() as (service, port), open_client(NetworkSettings(policy), ScriptedResolver(INSIDE)) as client:
        async with await client.get(f"http://listed.example:{port}/", {}, None) as answer:
            assert (answer.status, await answer.read()) == (200, b"")
        with pytest.raises(AddressNotAllowed):
            await client.get(f"http://other.example:{port}/", {}, None)
        assert service.bytes.count(b"GET") == 1


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "127.1"])
async def test_an_address_in_disguise_is_judged_as_what_it_is(host: str) -> None:
    async with inside() as (service, port), open_client(NetworkSettings()) as client:
        with pytest.raises(AddressNotAllowed, match=r"127\.0\.0\.1"):
            await client.get(f"https://{host}:{port}/", {}, None)
        assert service.connections == 0


@asynccontextmanager
async def server(handler: object) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_get("/{path:.*}", handler)  # type: ignore[arg-type]
    async with TestServer(application) as running:
        yield str(running.make_url("")).rstrip("/")


class Pages:
    """A hub whose list of files continues at `next_page`, and another host. Records the Authorization headers."""

    def __init__(self) -> None:
        self.authorizations: dict[str, list[str | None]] = {"hub": [], "foreign": []}
        self.next_page = ""

    async def hub(self, request: web.Request) -> web.Response:
        self.authorizations["hub"].append(request.headers.get("Authorization"))
        link = {"Link": f'<{self.next_page}>; rel="next"'} if "cursor" not in request.query else {}
        return web.json_response([], headers=link)

    async def foreign(self, request: web.Request) -> web.Response:
        self.authorizations["foreign"].append(request.headers.get("Authorization"))
        return web.json_response([])


async def list_tree(client: Client, endpoint: str) -> None:
    credentials = Credentials("hf_canary", (endpoint,))
    await HubClient(client, endpoint, HuggingFaceRef("owner", "model"), credentials, DetachedThreads(1)).tree("main")


async def test_every_page_of_a_list_is_asked_for_at_home() -> None:
    """The host that a page names as that of the next one gets neither a request nor the token."""
    pages = Pages()
    async with (
        server(pages.hub) as hub,
        server(pages.foreign) as foreign,
        open_client(NetworkSettings(LISTED)) as client,
    ):
        targets = (hub, foreign, "http://169.254.169.254", "https://10.0.0.1")
        for pages.next_page in (f"{target}/next?cursor=1" for target in targets):
            await list_tree(client, hub)
    assert pages.authorizations == {"hub": ["Bearer hf_canary"] * 8, "foreign": []}


@pytest.mark.parametrize("target", ["http://169.254.169.254/latest", "https://[::1/", "file:///etc/passwd", ""])
async def test_a_next_page_that_can_not_be_asked_for_is_a_named_error(target: str) -> None:
    pages = Pages()
    pages.next_page = target
    async with server(pages.hub) as hub, open_client(NetworkSettings(LISTED)) as client:
        with pytest.raises(SourceUnavailable, match=hub):
            await list_tree(client, hub)


async def test_headers_of_a_caller_stay_at_home_but_for_ranges() -> None:
    arrived: list[dict[str, str]] = []

    async def there(request: web.Request) -> web.Response:
        arrived.append(dict(request.headers))
        return web.Response()

    async with server(there) as foreign:

        async def here(request: web.Request) -> web.Response:
            arrived.append(dict(request.headers))
            raise web.HTTPFound(f"{foreign}/")

        async with server(here) as home, open_client(NetworkSettings(LISTED)) as client:
            headers = {"Range": "bytes=0-1", "X-Api-Key": "canary", "Cookie": "a=canary"}
            (await client.get(f"{home}/", headers, Credentials("canary", (home,)))).close()
    assert "canary" in arrived[0]["X-Api-Key"] + arrived[0]["Authorization"]
    assert arrived[1]["Range"] == "bytes=0-1"
    assert "canary" not in str(arrived[1])
    assert "Referer" not in arrived[1]


def test_nothing_else_in_the_package_makes_connections_of_its_own() -> None:
    """All URLs that a ref leads to go through one client. `kube` has clients of the API server, `gateway` a server.

    In the controller, aiohttp serves probes, metrics and the door for worker pods.
    """
    root = Path(model_provisioner.__file__).parent
    allowed = {
        "transfer/http/client.py": {"pycurl"},
        "transfer/http/address_guard.py": {"pycurl", "socket"},
        "transfer/http/curl_errors.py": {"pycurl"},
        "transfer/http/curl_request.py": {"pycurl"},
        "worker_processes/worker_server.py": {"socket"},  # a pair of sockets with its child process
        "transfer/worker/worker_server.py": {"socket"},  # the other one of the pair
        "transfer/worker/sending.py": {"socket"},  # a Unix socket of the operator
        "worker_pod/connection.py": {"aiohttp"},  # to the operator, at an address of the Job
        "controller/workers/door/door.py": {"aiohttp"},
        "controller/workers/door/file_route.py": {"aiohttp"},
        "controller/workers/pod_service.py": {"aiohttp"},
        "controller/process/health.py": {"aiohttp"},
        "controller/process/http.py": {"aiohttp"},
        "controller/metrics/metrics.py": {"aiohttp"},
    }
    clients = {
        "aiohttp",
        "pycurl",
        "httpx",
        "httpx2",
        "requests",
        "urllib3",
        "socket",
        "http",
        "huggingface_hub",
        "ftplib",
    }
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
    guarded = {name: path for name, path in files.items() if name.startswith(GUARDED)}
    assert allowed.keys() <= guarded.keys(), "a file that may make connections is not where this test looks for it"
    for name, path in guarded.items():
        assert imported(path) & clients <= allowed.get(name, set()), name
        assert "urllib.request" not in path.read_text(), name


def imported(path: Path) -> set[str]:
    """The top-level packages that a module imports, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found
