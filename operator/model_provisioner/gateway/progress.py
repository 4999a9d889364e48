"""`/v1/models/download/progress`: the state of downloads as a stream of server-sent events.

On connect a snapshot, closed by `sync` with all ids so that deletions during a gap are seen; then
whatever changes, newest wins. Nothing queues up for a client that reads slowly, and one that does not
read at all is cut by the time limit on writing. An id stands only where everything up to it was told,
so that a client that was cut in the middle and comes back with its last id misses nothing.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from aiohttp import web

from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.refs import parse_lenient
from model_provisioner.domain.stream import Message, deleted, ended_recently, has_ended, messages, started
from model_provisioner.gateway import sse
from model_provisioner.gateway.access import Access
from model_provisioner.gateway.board import Board, Subscriber, Wanted
from model_provisioner.gateway.problems import Problem
from model_provisioner.kube.client import ApiError

_HEARTBEAT_SECONDS = 15.0
_WRITE_SECONDS = 30.0
_RETRY_MILLISECONDS = 3000
_LONGEST_ID = 20
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class ProgressStreams:
    """Serves every client; after `close` they all end with a goodbye."""

    def __init__(
        self,
        board: Board,
        access: Access,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        heartbeat_seconds: float = _HEARTBEAT_SECONDS,
        write_seconds: float = _WRITE_SECONDS,
    ) -> None:
        self._board = board
        self._access = access
        self._now = now
        self._heartbeat = heartbeat_seconds
        self._write_seconds = write_seconds
        self._closing = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/models/download/progress", self.stream)]

    async def close(self, _app: web.Application) -> None:
        """Before the server stops: streams would keep it waiting."""
        self._closing.set()

    async def stream(self, request: web.Request) -> web.StreamResponse:
        scope = await self._access.readable(request, "watch", request.query.get("namespace"))
        wanted = _filter(request, scope)
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        client = _Client(response, self._board, self._write_seconds)
        try:
            with self._board.subscribe(wanted) as subscriber:
                await client.send(sse.retry(_RETRY_MILLISECONDS))
                await self._snapshot(request, client, wanted)
                await self._follow(request, client, subscriber, scope)
        except (ConnectionError, TimeoutError):
            if request.transport:  # not reading: a proper end would wait for it; whoever comes back gets a snapshot
                request.transport.abort()
        return response

    async def _snapshot(self, request: web.Request, client: "_Client", wanted: Wanted) -> None:
        version, there = self._board.version, [one for one in self._board.all() if wanted(one)]
        matters = self._worth_telling(request)
        await client.tell({one.uid: None for one in there if matters(one)}, None)
        await client.send(sse.event("sync", {"ids": sorted(one.uid for one in there)}, _id(version)))

    async def _follow(self, request: web.Request, client: "_Client", subscriber: Subscriber, scope: str | None) -> None:
        ends = "download_id" in request.query or "model_ref" in request.query
        while not (ends and client.has_seen_the_last()):
            changed = await self._news(subscriber)
            version = self._board.version
            if self._closing.is_set():
                await client.send(sse.comment("goodbye: the gateway stops; come back"))
                return
            if not await self._may_go_on(request, scope):
                await client.send(sse.comment("goodbye: this token may not watch any longer"))
                return
            if not changed:
                await client.send(sse.comment("heartbeat"))
            await client.tell(changed, _id(version))

    async def _may_go_on(self, request: web.Request, scope: str | None) -> bool:
        """Only a refusal ends a stream: an API server that does not answer has refused nothing."""
        try:
            return await self._access.readable(request, "watch", scope) == scope
        except Problem:
            return False
        except ApiError as error:
            return error.status not in {401, 403}

    async def _news(self, subscriber: Subscriber) -> dict[str, ModelDownload | None]:
        """What has changed; also ends, with nothing, when it is time for a heartbeat or to say goodbye."""
        news = asyncio.create_task(subscriber.news(self._heartbeat))
        closing = asyncio.create_task(self._closing.wait())
        try:
            await asyncio.wait({news, closing}, return_when=asyncio.FIRST_COMPLETED)
            return news.result() if news.done() else {}
        finally:
            news.cancel()
            closing.cancel()

    def _worth_telling(self, request: web.Request) -> Wanted:
        """What is active, what has ended lately or since the client was last here, and what the filter names."""
        named = "download_id" in request.query or "model_ref" in request.query
        since = request.headers.get("Last-Event-ID", "")
        known = int(since) if since.isascii() and since.isdigit() and len(since) <= _LONGEST_ID else None

        def matters(download: ModelDownload) -> bool:
            if named or not has_ended(download) or ended_recently(download, self._now()):
                return True
            return known is not None and int(download.resource_version or 0) > known

        return matters


class _Client:
    """One open stream: which downloads it has been told of, and whether they had ended then."""

    def __init__(self, response: web.StreamResponse, board: Board, write_seconds: float) -> None:
        self._response = response
        self._board = board
        self._write_seconds = write_seconds
        self._ended: dict[str, bool] = {}
        self._told = False

    async def tell(self, changed: Mapping[str, ModelDownload | None], last_id: str | None) -> None:
        """The newest state of these downloads, or what each was before it was deleted; the last event has the id."""
        final = next(reversed([*changed]), None)
        for uid, last in changed.items():
            await self.send(_encoded(self._news_of(uid, last), last_id if uid == final else None))

    def has_seen_the_last(self) -> bool:
        """Everything that this stream has told of had ended, or was deleted."""
        return self._told and all(self._ended.values())

    async def send(self, data: bytes) -> None:
        """Raises TimeoutError for a client that does not read, ConnectionError for one that is gone."""
        async with asyncio.timeout(self._write_seconds):
            await self._response.write(data)

    def _news_of(self, uid: str, last: ModelDownload | None) -> list[Message]:
        download = self._board.get(uid)
        if download is None and last is None:
            return []  # deleted a moment ago: that is the next news
        self._told = True
        if download is None:
            self._ended.pop(uid, None)
            return [deleted(last)] if last else []
        opening = [] if uid in self._ended else [started(download)]
        self._ended[uid] = has_ended(download)
        return [*opening, *messages(download, self._board.queue_position(uid))]


def _encoded(news: list[Message], last_id: str | None) -> bytes:
    ids = [*[None] * (len(news) - 1), last_id]
    return b"".join(sse.event(message.name, message.data, id_) for message, id_ in zip(news, ids, strict=False))


def _id(version: int) -> str | None:
    """None before anything was heard: coming back with 0 would mean everything that ever ended."""
    return str(version) if version else None


def _filter(request: web.Request, scope: str | None) -> Wanted:
    """Raises InvalidRef, UnsupportedSource for a ref that is none."""
    uid, text = request.query.get("download_id"), request.query.get("model_ref")
    ref = str(parse_lenient(text)) if text else None

    def wanted(download: ModelDownload) -> bool:
        return (
            scope in {None, download.namespace}
            and uid in {None, download.uid}
            and ref in {None, download.spec.model_ref}
        )

    return wanted
