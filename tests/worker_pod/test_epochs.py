"""A worker pod serves the newest operator that it has seen: an older one is left, and writes nothing.

The door of the operator and the connection of the pod, over TLS on loopback; the workers of the pod are the test's.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from model_provisioner.controller.workers.door.certificates import issue, new_authority
from model_provisioner.controller.workers.door.door import Door
from model_provisioner.controller.workers.door.door_tls import load, server_context
from model_provisioner.controller.workers.door.pod_process import PodProcess
from model_provisioner.controller.workers.worker_pod import WorkerPod
from model_provisioner.domain.errors import WorkerLost
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.http_server.limits import Limits
from model_provisioner.http_server.server import HttpServer
from model_provisioner.worker_pod.connection import Connection, Operator
from model_provisioner.worker_pod.outbox import Outbox
from model_provisioner.worker_pod.requests import Requests
from model_provisioner.worker_protocol.forking import Role
from model_provisioner.worker_protocol.messages import (
    AddressGiven,
    Answer,
    Limit,
    Request,
    Survey,
    Surveyed,
)

STORE = StoreRef("/models", None)


class Slow:
    """Answers when `go` is set. `asked` and `cancelled` have the ids of requests."""

    def __init__(self) -> None:
        self.asked = asyncio.Queue[str]()
        self.cancelled: list[str] = []
        self.go = asyncio.Event()

    async def call(self, request: Request, *_: object, **__: object) -> Answer:
        self.asked.put_nowait(request.id)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request.id)
            raise
        return Surveyed(request.id, None)

    async def next(self) -> str:
        """The id of the next request that comes."""
        async with asyncio.timeout(30):
            return await self.asked.get()

    def notify(self, request: Limit | AddressGiven) -> None:
        """Nothing is limited."""

    async def start(self) -> None:
        """It is there."""

    async def stop(self) -> None:
        """It ends with the test."""


class Side:
    """One operator. `worker` is the pod as it sees it."""

    def __init__(self, epoch: int) -> None:
        self.process = PodProcess(epoch, epoch)
        self.worker = WorkerPod(self._launch)

    async def _launch(self) -> PodProcess:
        return self.process

    def ask(self, request_id: str) -> asyncio.Task[Answer]:
        return asyncio.create_task(self.worker.call(Survey(request_id, STORE)))


class Site:
    """The address at which `operator`, the one that the Service leads to, is found. `pod` is what works in the pod."""

    def __init__(self) -> None:
        self.operator = Side(2)
        self.pod = Slow()

    def find(self, _job: str, _token: str) -> PodProcess:
        return self.operator.process

    async def move_to(self, other: Side) -> None:
        """The Service leads to `other` from now on, and the connection before is cut."""
        before, self.operator = self.operator, other
        assert before.process._socket
        await before.process._socket.close()


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[Site]:
    site, authority, context = Site(), new_authority(datetime.now(UTC)), server_context()
    load(context, issue(authority, datetime.now(UTC)))
    app = web.Application()
    app.add_routes([Door(site.find).route()])
    server = HttpServer(app, Limits(connections=10), context, shutdown_seconds=0.1)
    await server.start("127.0.0.1:0", "--worker-listen")
    (directory / "ca.crt").write_bytes(authority.certificate)
    (directory / "token").write_text("token")
    outbox = Outbox()
    requests = Requests(dict.fromkeys((Role.FETCHER, Role.STORE), site.pod), "/models", outbox.post)
    operator = Operator(f"127.0.0.1:{server.port}", "team/job", directory)
    running = asyncio.create_task(Connection(operator, requests, outbox, jitter=lambda: 0.0).run())
    try:
        yield site
    finally:
        site.operator.process.end(0)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await server.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(tmp_path) as found:
        yield found


async def cut_off(process: PodProcess) -> None:
    """Waits until the pod has been there and has left."""
    async with asyncio.timeout(30):
        while not process.is_cut_off:
            await process.changed.wait()
            process.changed.clear()


async def test_an_older_operator_is_left_and_does_not_interrupt_what_the_newer_one_has_asked(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    newer, older = site.operator, Side(1)
    running = newer.ask("of the newer one")
    assert await site.pod.next() == "of the newer one"
    await site.move_to(older)
    lost = older.ask("of the older one")
    for _ in range(2):  # it tries again and again: the Service may lead to another one next time
        older.process.has_connected = False
        await cut_off(older.process)
    assert "epoch 1 is older than the one before, 2" in caplog.text
    assert site.pod.asked.empty()
    assert site.pod.cancelled == []

    site.operator = newer
    site.pod.go.set()
    assert await running == Surveyed("of the newer one", None)
    older.process.end(1)
    with pytest.raises(WorkerLost):
        await lost


async def test_a_newer_operator_has_what_the_one_before_asked_cancelled_and_asks_anew(site: Site) -> None:
    lost = site.operator.ask("before")
    assert await site.pod.next() == "before"
    before, after = site.operator, Side(3)
    await site.move_to(after)
    asked = after.ask("after")
    assert await site.pod.next() == "after"
    assert site.pod.cancelled == ["before"]
    site.pod.go.set()
    assert await asked == Surveyed("after", None)
    before.process.end(1)
    with pytest.raises(WorkerLost):
        await lost
