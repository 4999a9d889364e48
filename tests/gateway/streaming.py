"""The event stream in this process, over real HTTP on loopback: the test plays the cluster and sets the clock.

For exact bytes, the ends of streams, and clients that misbehave. No API server is needed.
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
from model_provisioner.domain.lifecycle.events import Event
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import Status
from model_provisioner.gateway.access import Authorizer
from model_provisioner.gateway.api.calls import CALLS, routes
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.limiter import StreamLimiter
from model_provisioner.gateway.problems import middleware
from model_provisioner.gateway.stream.progress import EventStreamHandler, StreamTiming
from model_provisioner.gateway.stream.tickets import Tickets
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.resource import status_document
from tests.support.samples import NOW, after

LONG_AGO = NOW - timedelta(hours=1)
PROGRESS = "/v1/models/download/progress"
Document = dict[str, Any]


def document(name: str, version: int, *events: Event, at: datetime = NOW, reconcile_at: str | None = None) -> Document:
    """A ModelDownload as in a watch event, in the state after `events`; its uid is `uid-<name>`."""
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
        """Reads until the event that has `piece` is complete. The search starts after the last event found."""
        async with asyncio.timeout(60):
            while (found := self.body.find(piece, self._seen)) < 0 or (end := self.body.find(b"\n\n", found)) < 0:
                await self._more(piece)
            self._seen = end + 2

    async def to_the_end(self) -> bytes:
        """Reads until the gateway ends the stream, and returns all of it."""
        async with asyncio.timeout(60):
            self.body += await self.response.content.read()
        return self.body

    async def _more(self, piece: bytes) -> None:
        read = await self.response.content.readany()
        assert read, f"the stream ended before {piece!r}: {self.body!r}"
        self.body += read


class Service:
    """A running stream server. The test sends events to its board."""

    def __init__(
        self,
        board: Board,
        limiter: StreamLimiter,
        streams: EventStreamHandler,
        server: TestServer,
        session: aiohttp.ClientSession,
    ) -> None:
        self.board = board
        self.limiter = limiter
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
        """Requests a stream. Reads the body only of a refusal."""
        address = self.server.make_url(f"{PROGRESS}?{query}")
        response = await self._session.get(address, headers=headers)
        if response.status == 200:
            response.close()
        else:
            await response.read()
        return response

    async def goodbye(self) -> None:
        """Closes the streams as SIGTERM does."""
        await self.streams.close(web.Application())


@asynccontextmanager
async def serving(
    authorizer: Authorizer | None = None,
    *,
    heartbeat: float = 60,
    write_timeout: float = 30,
    min_interval: float = 0,
    limiter: StreamLimiter | None = None,
    tickets: Tickets | None = None,
) -> AsyncIterator[Service]:
    """A stream server. Without an `authorizer`, streams need no token."""
    board, timing = Board(), StreamTiming(heartbeat, write_timeout, min_interval)
    authorizer = authorizer or Authorizer(cast("KubeApi", None), "models", open_to_all=True)  # asks no API server
    limiter = limiter or StreamLimiter(100, 100)
    streams = EventStreamHandler(board, authorizer, limiter, tickets or Tickets(), lambda: NOW, timing)
    app = web.Application(middlewares=[middleware])
    handlers = streams.handlers()
    app.add_routes(routes(handlers, [call for call in CALLS if call.operation_id in handlers]))
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0.1)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=120)) as session:
        try:
            yield Service(board, limiter, streams, server, session)
        finally:
            await streams.close(app)
            await server.close()
