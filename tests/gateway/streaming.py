"""The event stream in this process, over real HTTP on loopback: the test plays the cluster and sets the clock.

For what must be exact: bytes, endings, and clients that misbehave. Nothing here asks an API server.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, cast

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from model_provisioner.domain.annotations import RECONCILE_AT
from model_provisioner.domain.lifecycle.snapshot import Event
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import Status
from model_provisioner.gateway.access import Access
from model_provisioner.gateway.api.calls import CALLS, routes
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.problems import problems
from model_provisioner.gateway.stream.limiter import StreamLimiter
from model_provisioner.gateway.stream.progress import ProgressStreams, Rhythm
from model_provisioner.gateway.stream.tickets import Tickets
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.resource import status_document
from tests.support.samples import NOW, after

LONG_AGO = NOW - timedelta(hours=1)
PROGRESS = "/v1/models/download/progress"
Document = dict[str, Any]


def document(name: str, version: int, *events: Event, at: datetime = NOW, reconcile_at: str | None = None) -> Document:
    """A ModelDownload as the watch brings it, in the state that `events` lead to; its uid is `uid-<name>`."""
    metadata = {
        "namespace": "models",
        "name": name,
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "annotations": {RECONCILE_AT: reconcile_at} if reconcile_at else {},
    }
    status = status_document(project(after(*events), 1, at, Status())) if events else {}
    return {"metadata": metadata, "spec": {"modelRef": f"hf:acme/{name}"}, "status": status}


class Reader:
    """A client that keeps every byte of a stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.body = b""
        self._seen = 0

    async def until(self, piece: bytes) -> None:
        """Reads until `piece` has come, after what was waited for before, and its event is whole."""
        async with asyncio.timeout(10):
            while (found := self.body.find(piece, self._seen)) < 0 or (end := self.body.find(b"\n\n", found)) < 0:
                await self._more(piece)
            self._seen = end + 2

    async def to_the_end(self) -> bytes:
        """The whole stream, once the gateway has ended it."""
        async with asyncio.timeout(10):
            self.body += await self.response.content.read()
        return self.body

    async def _more(self, piece: bytes) -> None:
        read = await self.response.content.readany()
        assert read, f"the stream ended before {piece!r}: {self.body!r}"
        self.body += read


class Service:
    """A running stream server. Its board hears what the test says."""

    def __init__(
        self,
        board: Board,
        seats: StreamLimiter,
        streams: ProgressStreams,
        server: TestServer,
        session: aiohttp.ClientSession,
    ) -> None:
        self.board = board
        self.seats = seats
        self.streams = streams
        self.server = server
        self._session = session

    @asynccontextmanager
    async def reading(self, query: str = "", **headers: str) -> AsyncIterator[Reader]:
        address = self.server.make_url(f"{PROGRESS}?{query}")
        async with self._session.get(address, headers=headers) as response:
            assert response.status == 200
            yield Reader(response)

    async def get(self, query: str = "", **headers: str) -> aiohttp.ClientResponse:
        """Asks for a stream and reads only a refusal."""
        address = self.server.make_url(f"{PROGRESS}?{query}")
        response = await self._session.get(address, headers=headers)
        if response.status == 200:
            response.close()
        else:
            await response.read()
        return response

    async def goodbye(self) -> None:
        """As on SIGTERM."""
        await self.streams.close(web.Application())


@asynccontextmanager
async def serving(
    access: Access | None = None,
    *,
    heartbeat: float = 60,
    patience: float = 30,
    pace: float = 0,
    seats: StreamLimiter | None = None,
    tickets: Tickets | None = None,
) -> AsyncIterator[Service]:
    """Streams that everybody may read, unless `access` says otherwise."""
    board, rhythm = Board(), Rhythm(heartbeat, patience, pace)
    allowed = access or Access(cast("KubeApi", None), "models", open_to_all=True)  # which asks no API server
    seats = seats or StreamLimiter(100, 100)
    streams = ProgressStreams(board, allowed, seats, tickets or Tickets(), lambda: NOW, rhythm)
    app = web.Application(middlewares=[problems])
    handlers = streams.handlers()
    app.add_routes(routes(handlers, [call for call in CALLS if call.operation_id in handlers]))
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0.1)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        try:
            yield Service(board, seats, streams, server, session)
        finally:
            await streams.close(app)
            await server.close()
