"""`GET /v1/models/local?wait=…` over real HTTP on loopback: the test plays the cluster."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from model_provisioner.domain.errors import SourceNotFound
from model_provisioner.domain.lifecycle.events import Available, Failed, Progressed, ReconcileHandled, Started
from model_provisioner.gateway.access import Authorizer
from model_provisioner.gateway.api.calls import CALLS, routes
from model_provisioner.gateway.api.local import LocalModel
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.limiter import StreamLimiter
from model_provisioner.gateway.problems import middleware
from model_provisioner.kube.client import KubeApi
from tests.gateway.caller import Desk, started
from tests.gateway.clock import Clock
from tests.gateway.streaming import document
from tests.gateway.test_access import ALLOWED, DENIED
from tests.kube import watch_server
from tests.support.programs import eventually
from tests.support.samples import MODEL

FAILED = Failed(SourceNotFound("no such repository"), None)
HANDLED = "2026-01-01T00:00:01.000Z"
Document = dict[str, Any]


class Service:
    """A running server of this call alone."""

    def __init__(
        self,
        board: Board,
        limiter: StreamLimiter,
        local: LocalModel,
        clock: Clock,
        server: TestServer,
        session: aiohttp.ClientSession,
    ) -> None:
        self.board, self.limiter, self.local, self.clock = board, limiter, local, clock
        self._server, self._session = server, session

    async def ask(self, query: str = "wait=10m", **headers: str) -> tuple[int, Document]:
        """The status and the document of an answer."""
        address = self._server.make_url(f"/v1/models/local?model_ref=hf:acme/tiny&{query}")
        async with self._session.get(address, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    @asynccontextmanager
    async def asking(
        self, query: str = "wait=10m", **headers: str
    ) -> AsyncIterator["asyncio.Task[tuple[int, Document]]"]:
        """A request that waits."""
        task = asyncio.create_task(self.ask(query, **headers))
        try:
            await self.until(1)
            yield task
        finally:
            task.cancel()

    async def until(self, waiting: int) -> None:
        async with asyncio.timeout(30):
            while self.limiter.open != waiting:  # noqa: ASYNC110 - the state of another task
                await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(
    authorizer: Authorizer | None = None, limiter: StreamLimiter | None = None, longest_sleep: float = 60
) -> AsyncIterator[Service]:
    board, limiter, clock = Board(), limiter or StreamLimiter(10, 10), Clock()
    authorizer = authorizer or Authorizer(cast("KubeApi", None), "models", open_to_all=True)  # asks no API server
    local = LocalModel(board, authorizer, limiter, clock, longest_sleep)
    app = web.Application(middlewares=[middleware])
    app.add_routes(routes(local.handlers(), [call for call in CALLS if call.operation_id in local.handlers()]))
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0.1)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        try:
            yield Service(board, limiter, local, clock, server, session)
        finally:
            await local.close(app)
            await server.close()


async def test_it_is_answered_as_soon_as_the_model_is_ready() -> None:
    async with serving() as service:
        service.board.on_event("ADDED", document("tiny", 1, Started(MODEL, 0)))
        async with service.asking() as asked:
            service.board.on_event("MODIFIED", document("tiny", 2, Started(MODEL, 0), Progressed(600, 0, 100, 4)))
            service.board.on_event("ADDED", document("other", 3, Available(MODEL)))
            await asyncio.sleep(0.05)
            assert not asked.done()
            service.board.on_event("MODIFIED", document("tiny", 4, Available(MODEL)))
            status, found = await asked
        assert (status, found["name"], found["path"]) == (200, "tiny", MODEL.path)
        await service.until(0)


async def test_a_model_that_is_ready_is_answered_at_once() -> None:
    async with serving() as service:
        service.board.on_event("ADDED", document("tiny", 1, Available(MODEL)))
        assert (await service.ask())[0] == 200


async def test_a_download_that_is_started_meanwhile_is_waited_for() -> None:
    async with serving() as service, service.asking() as asked:
        service.board.on_event("ADDED", document("tiny", 1))
        service.board.on_event("MODIFIED", document("tiny", 2, Available(MODEL)))
        assert (await asked)[0] == 200


async def test_at_the_deadline_the_answer_says_how_far_it_is() -> None:
    async with serving(longest_sleep=0.01) as service:
        service.board.on_event("ADDED", document("tiny", 1, Started(MODEL, 0)))
        async with service.asking("wait=30s") as asked:
            service.clock.seconds = 29.9
            await asyncio.sleep(0.05)
            assert not asked.done()
            service.clock.seconds = 30
            status, problem = await asked
        assert (status, problem["title"]) == (404, "NotFound")
        (named,) = problem["downloads"]
        assert named == {"download_id": "uid-tiny", "namespace": "models", "name": "tiny", "state": "Downloading"}
        assert "models/tiny is Downloading" in problem["detail"]


async def test_a_download_that_stalls_ends_it_unless_it_is_asked_to_try_again() -> None:
    async with serving() as service:
        service.board.on_event("ADDED", document("tiny", 1, FAILED, reconcile_at=HANDLED))
        async with service.asking() as asked:
            await asyncio.sleep(0.05)
            assert not asked.done()
            again = document("tiny", 2, ReconcileHandled(HANDLED), FAILED, reconcile_at=HANDLED)
            service.board.on_event("MODIFIED", again)
            status, problem = await asked
        assert (status, problem["downloads"][0]["state"]) == (404, "SourceNotFound")
        assert "no such repository" in problem["detail"]
        assert (await service.ask())[0] == 404, "it has stalled before"


async def test_one_stalled_download_of_two_ends_nothing() -> None:
    async with serving() as service:
        service.board.on_event("ADDED", document("tiny", 1, FAILED))
        going = document("going", 2, Started(MODEL, 0))
        going["spec"]["modelRef"] = "hf:acme/tiny"
        service.board.on_event("ADDED", going)
        async with service.asking() as asked:
            service.board.on_event("MODIFIED", document("tiny", 3, FAILED))
            await asyncio.sleep(0.05)
            assert not asked.done()
            going["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "resourceVersion": "4"}
            service.board.on_event("DELETED", going)
            assert (await asked)[0] == 404


async def test_a_client_that_disconnects_frees_everything() -> None:
    async with serving() as service:
        async with service.asking() as asked:
            asked.cancel()
            await service.until(0)
        assert not service.board._subscriptions


async def test_those_that_wait_count_as_streams() -> None:
    async with serving(limiter=StreamLimiter(10, 1)) as service, service.asking():
        status, problem = await service.ask()
        assert (status, problem["title"]) == (429, "TooManyStreams")
        assert (await service.ask("wait=0"))[0] == 404, "one that does not wait is not counted"


async def test_it_ends_with_the_right_to_read(tmp_path: Path) -> None:
    reviews = watch_server.WatchServer([ALLOWED, DENIED], [])
    async with watch_server.serving(reviews, tmp_path) as kubeconfig:
        api, clock = await KubeApi.connect(kubeconfig), Clock()
        authorizer = Authorizer(api, "models", open_to_all=False, monotonic=clock)
        async with (
            serving(authorizer, longest_sleep=0.01) as service,
            service.asking(Authorization="Bearer secret") as asked,
        ):
            clock.seconds = 61
            status, problem = await asked
        assert (status, problem["title"]) == (403, "Forbidden")
        await api.close()


async def test_without_a_token_nothing_waits(tmp_path: Path) -> None:
    async with watch_server.serving(watch_server.WatchServer([], []), tmp_path) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        async with serving(Authorizer(api, "models", open_to_all=False)) as service:
            assert (await service.ask())[0] == 401
        await api.close()


async def test_a_gateway_that_stops_answers_at_once() -> None:
    async with serving() as service, service.asking() as asked:
        await service.local.close(web.Application())
        status, problem = await asked
        assert (status, problem["title"]) == (503, "NotReady")


@pytest.mark.parametrize(
    ("wait", "says"),
    [("soon", "is not a duration"), ("-1", "is not a duration"), ("11m", "at most 10m"), ("", "write 90")],
)
async def test_a_wrong_duration_is_refused(wait: str, says: str) -> None:
    async with serving() as service:
        status, problem = await service.ask(f"wait={wait}")
        assert (status, problem["title"]) == (400, "InvalidRequest")
        assert problem["detail"].startswith("wait: ")
        assert says in problem["detail"]


def test_a_script_needs_no_loop_and_sigterm_ends_its_wait(desk: Desk) -> None:
    """With a real API server and a gateway of its own process, from POST to the path."""
    editor, path = desk.caller("editor"), "/v1/models/local?model_ref=hf:acme/tiny&wait=10m"
    name = started(editor, {"model_ref": "hf:acme/tiny"})["name"]

    def waiting(number: int = 1) -> bool:
        return f"model_provisioner_gateway_streams {number}.0" in desk.caller(None).call("GET", "/metrics").text

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(editor.call, "GET", path, timeout=60)
        eventually(waiting, "the request waits")
        desk.tell(name, "Available", done=1000)
        assert (asked.result().status_code, asked.result().json()["name"]) == (200, name)
        eventually(lambda: waiting(0), "the first request counts no more")
        asked = pool.submit(editor.call, "GET", path.replace("tiny", "missing"), timeout=60)
        eventually(waiting, "the request waits")
        assert desk.program.stop() == 0
        assert asked.result().status_code == 503
