"""How the gateway is served: base path, TLS, other origins. Also queries, lists and metrics, in this process."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request, Response, json_response
from kubernetes.aio.client import Configuration

from deploy.local.cluster import Cluster
from model_provisioner.domain.lifecycle.events import Available
from model_provisioner.gateway.app import make_app
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.tls import Certificate
from model_provisioner.kube.client import KubeApi
from model_provisioner.settings.gateway import GatewaySettings
from tests.gateway.caller import opened
from tests.gateway.process import api_server
from tests.gateway.streaming import PROGRESS, document
from tests.kube import watch_server
from tests.support.programs import Program
from tests.support.samples import MODEL

PAGE = "https://dashboard.example"
Client = TestClient[Request, Application]


@asynccontextmanager
async def gateway(
    directory: Path, board: Board, **settings: object
) -> AsyncIterator[tuple[Client, watch_server.WatchServer]]:
    """All routes of the gateway in this process, and its API server, which always answers 500."""
    server = watch_server.WatchServer([500], [])
    async with watch_server.serving(server, directory) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        app = make_app(api, board, {}, GatewaySettings.model_validate({"auth": "none", **settings}))
        async with TestClient(TestServer(app)) as client:
            yield client, server
        await api.close()


async def test_everything_but_the_probes_is_below_the_base_path(tmp_path: Path) -> None:
    async with gateway(tmp_path, Board(), base_path="/team/models") as (client, _):
        for path in ("/team/models/v1/models", "/team/models/openapi.json", "/team/models/", "/readyz", "/metrics"):
            assert (await client.get(path)).status == 200, path
        for path in ("/v1/models", "/openapi.json", "/"):
            assert (await client.get(path)).status == 404, path
        bare = await client.get("/team/models", allow_redirects=False)
        assert (bare.status, bare.headers["Location"]) == (308, "/team/models/")


def test_a_download_is_found_at_its_address_below_the_base_path(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with opened(cluster, namespace, tmp_path, "--base-path=/models") as desk:
        editor = desk.caller("editor")
        started = editor.call("POST", "/models/v1/models/download", json={"model_ref": "hf:acme/tiny"})
        assert started.headers["Location"].startswith("/models/v1/models/downloads/")
        assert editor.call("GET", started.headers["Location"]).status_code == 200


async def test_no_other_origin_may_call_unless_it_was_named(tmp_path: Path) -> None:
    asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    async with gateway(tmp_path, Board()) as (client, _):
        for answer in (
            await client.options("/v1/models/download", headers=asks),
            await client.get("/v1/models", headers=asks),
        ):
            assert not [name for name in answer.headers if name.startswith("Access-Control")]
    async with gateway(tmp_path, Board(), cors_origin=[PAGE]) as (client, _):
        question = await client.options("/v1/models/download", headers=asks)
        assert question.status == 204
        assert question.headers["Access-Control-Allow-Origin"] == PAGE
        assert "Authorization" in question.headers["Access-Control-Allow-Headers"]
        assert "Access-Control-Allow-Credentials" not in question.headers
        for path in ("/v1/models", PROGRESS, "/v1/models/local"):
            answer = await client.get(path, headers={"Origin": PAGE})
            assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["Vary"]) == (PAGE, "Origin")
            answer.close()
        other = await client.get("/v1/models", headers={"Origin": "https://evil.example"})
        assert "Access-Control-Allow-Origin" not in other.headers


@pytest.mark.parametrize("path", ["/", "/v1/models", "/v1/models/downloads", PROGRESS, "/v1/nothing", "/openapi.json"])
async def test_no_answer_sets_a_cookie(tmp_path: Path, path: str) -> None:
    async with gateway(tmp_path, Board()) as (client, _):
        answer = await client.get(path)
        assert "Set-Cookie" not in answer.headers
        answer.close()


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
async def test_a_form_of_another_page_starts_no_download(tmp_path: Path, kind: str) -> None:
    """A browser sends these content types to another origin without a preflight request."""
    async with gateway(tmp_path, Board(), anonymous_writes=True) as (client, server):
        body = b'{"model_ref": "hf:a/b"}'
        answer = await client.post("/v1/models/download", data=body, headers={"Content-Type": kind})
        assert answer.status == 415
        assert server.requests == []


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/models?limit=0", "limit:"),
        ("/v1/models?limit=many", "limit:"),
        ("/v1/models?continue=nonsense", "continue:"),
        ("/v1/models?continue=WzFd", "continue:"),
        ("/v1/models/downloads?all=yes", "all:"),
        ("/v1/models/downloads?al=true", "al: is not known; this call knows namespace"),
        ("/v1/models?namespace=a&namespace=b", "namespace: is given more than once"),
        ("/v1/models?namespace=../kube-system", "namespace:"),
        ("/v1/models/local", "model_ref:"),
        (f"{PROGRESS}?download=x", "download: is not known"),
    ],
)
async def test_a_wrong_query_is_answered_with_the_field(tmp_path: Path, path: str, says: str) -> None:
    async with gateway(tmp_path, Board()) as (client, _):
        answer = await client.get(path)
        assert answer.status == 400
        assert (await answer.json(content_type=None))["detail"].startswith(says)


async def test_a_method_that_is_not_served_is_answered_with_those_that_are(tmp_path: Path) -> None:
    async with gateway(tmp_path, Board()) as (client, _):
        answer = await client.put("/v1/models/download")
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert answer.content_type == "application/problem+json"


async def test_a_stream_has_no_head_without_a_body(tmp_path: Path) -> None:
    async with gateway(tmp_path, Board()) as (client, _):
        assert (await client.head(PROGRESS)).status == 405
        assert (await client.head("/v1/models")).status == 200


async def test_pages_stay_in_step_while_the_list_changes(tmp_path: Path) -> None:
    board = Board()
    for number in range(7):
        board.on_event("ADDED", document(f"m{number}", number + 1, Available(MODEL)))
    async with gateway(tmp_path, board) as (client, _):
        first = await (await client.get("/v1/models?limit=3")).json()
        assert [one["name"] for one in first["models"]] == ["m0", "m1", "m2"]
        board.on_event("DELETED", document("m1", 20, Available(MODEL)))
        board.on_event("DELETED", document("m2", 21, Available(MODEL)))
        second = await (await client.get("/v1/models", params={"limit": 3, "continue": first["continue"]})).json()
        assert [one["name"] for one in second["models"]] == ["m3", "m4", "m5"]
        last = await (await client.get("/v1/models", params={"limit": 3, "continue": second["continue"]})).json()
        assert ([one["name"] for one in last["models"]], "continue" in last) == (["m6"], False)
        whole = await (await client.get("/v1/models/downloads?all=true&limit=1000")).json()
        assert (len(whole["downloads"]), "continue" in whole) == (5, False)


async def test_the_catalog_is_answered_from_memory_alone(tmp_path: Path) -> None:
    board = Board()
    for number in range(100):
        board.on_event("ADDED", document(f"m{number}", number + 1, Available(MODEL)))
    async with gateway(tmp_path, board) as (client, server):
        for path in ("/v1/models", "/v1/models/local?model_ref=hf:acme/m7", "/v1/models/downloads?all=true"):
            assert (await client.get(path)).status == 200
        assert server.requests == []


async def test_a_model_that_is_no_longer_ready_is_not_offered(tmp_path: Path) -> None:
    """The cached encoding must not be used either."""
    board, find = Board(), "/v1/models/local?model_ref=hf:acme/m"
    board.on_event("ADDED", document("m", 1, Available(MODEL)))
    async with gateway(tmp_path, board) as (client, _):
        assert (await (await client.get(find)).json())["path"] == MODEL.path
        board.on_event("MODIFIED", document("m", 2))
        assert (await client.get(find)).status == 404
        assert await (await client.get("/v1/models")).json() == {"models": []}


async def test_metrics_are_figures(tmp_path: Path) -> None:
    async with gateway(tmp_path, Board()) as (client, _):
        stream = await client.get(PROGRESS)
        text = await (await client.get("/metrics")).text()
        assert "\nmodel_provisioner_gateway_streams 1.0\n" in text
        assert all(line.startswith("#") or float(line.split(" ")[1]) >= 0 for line in text.splitlines())
        stream.close()


async def test_a_deletion_is_finished_if_the_caller_disconnects_in_the_middle(tmp_path: Path) -> None:
    """The first of its two steps alone would leave a model whose file is deleted with it later."""
    patched, go_on, deleted = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answer(request: Request) -> Response:
        if request.method == "PATCH":
            patched.set()
            await go_on.wait()
        else:
            deleted.set()
        return json_response({})

    behind = Application()
    behind.router.add_route("*", "/{path:.*}", answer)
    board = Board()
    board.on_event("ADDED", document("m", 1, Available(MODEL)))
    async with TestServer(behind) as server:
        configuration = Configuration()
        configuration.host = str(server.make_url("")).rstrip("/")
        api = KubeApi(configuration, ClientSession())
        app = make_app(api, board, {}, GatewaySettings(auth="none", anonymous_writes=True))
        async with TestServer(app) as front:
            _, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(b"DELETE /v1/models?model_ref=hf:acme/m HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(60):
                await patched.wait()
                writer.transport.abort()
                await asyncio.sleep(0.05)
                go_on.set()
                await deleted.wait()
        await api.close()


def issue(directory: Path) -> tuple[trustme.CA, Path, Path]:
    authority, chain, key = trustme.CA(), directory / "tls.crt", directory / "tls.key"
    leaf = authority.issue_cert("127.0.0.1")
    leaf.cert_chain_pems[0].write_to_path(str(chain))
    leaf.private_key_pem.write_to_path(str(key))
    return authority, chain, key


def test_a_certificate_makes_it_https(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    _, chain, key = issue(tmp_path)
    flags = [f"--tls-cert={chain}", f"--tls-key={key}"]
    with opened(cluster, namespace, tmp_path, *flags, scheme="https") as desk:
        assert desk.caller("reader").call("GET", "/v1/models").status_code == 200
        with desk.caller("reader").stream() as stream:
            stream.next("sync")


async def test_a_renewed_certificate_is_served_without_a_restart(tmp_path: Path) -> None:
    _, chain, key = issue(tmp_path)
    looks = asyncio.Semaphore(0)

    async def look_when_told(_seconds: float) -> None:
        await looks.acquire()

    certificate = Certificate(chain, key, look_when_told)
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=certificate.context)
    port = server.sockets[0].getsockname()[1]
    fresh = asyncio.create_task(certificate.keep_fresh())

    async def is_trusted_by(authority: trustme.CA) -> bool:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        except ssl.SSLError:
            return False
        writer.close()
        return True

    chain.write_text("half of it")
    looks.release()
    await asyncio.sleep(0)
    assert not fresh.done()
    renewed, *_ = issue(tmp_path)
    assert not await is_trusted_by(renewed)
    looks.release()
    await asyncio.sleep(0.01)
    assert await is_trusted_by(renewed)
    fresh.cancel()
    server.close()


def test_a_port_that_is_in_use_ends_the_gateway_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, api_server(tmp_path) as kubeconfig:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        arguments = ["gateway", f"--listen={address}", f"--kubeconfig={kubeconfig}"]
        gateway = Program(arguments, tmp_path / "gateway.log")
        assert gateway.process.wait(60) == 1
    lines = gateway.output().splitlines()
    assert lines[-1] == f"model-provisioner gateway: --listen: can't listen on {address}: Address already in use"
    assert not [line for line in lines if "Traceback" in line]
