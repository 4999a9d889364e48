"""`/v1/models/download/progress`: the state of downloads as a stream of server-sent events.

On connect a snapshot, closed by `sync` with all ids so that deletions during a gap are seen; then
whatever changes, newest wins. Nothing queues up for a client that reads slowly, and one that does not
read at all is cut by the time limit on writing.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from aiohttp import web

from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.refs import parse_lenient
from model_provisioner.domain.stream import Message, deleted, ended_recently, has_ended, messages, started
from model_provisioner.gateway import sse
from model_provisioner.gateway.access import Access
from model_provisioner.gateway.board import Board, Subscriber, Wanted

_HEARTBEAT_SECONDS = 15.0
_WRITE_SECONDS = 30.0
_RETRY_MILLISECONDS = 3000
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
    ) -> None:
        self._board = board
        self._access = access
        self._now = now
        self._heartbeat = heartbeat_seconds
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
        client = _Client(response, self._board)
        try:
            with self._board.subscribe(wanted) as subscriber:
                await client.send_raw(sse.retry(_RETRY_MILLISECONDS))
                await client.snapshot(self._worth_telling(request, wanted))
                await self._follow(request, client, subscriber, scope)
        except (ConnectionError, TimeoutError):
            pass  # gone, or not reading: whoever comes back gets a snapshot
        return response

    async def _follow(self, request: web.Request, client: "_Client", subscriber: Subscriber, scope: str | None) -> None:
        ends = "download_id" in request.query or "model_ref" in request.query
        while not (ends and client.has_seen_the_last()):
            changed = await self._news(subscriber)
            if self._closing.is_set():
                await client.send_raw(sse.comment("goodbye: the gateway stops; come back"))
                return
            if await self._access.readable(request, "watch", scope) != scope:
                return
            if not changed:
                await client.send_raw(sse.comment("heartbeat"))
            for uid, last in changed.items():
                await client.tell(uid, last)

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

    def _worth_telling(self, request: web.Request, wanted: Wanted) -> list[ModelDownload]:
        """What is active, what has ended lately or since the client was last here, and what the filter names."""
        named = "download_id" in request.query or "model_ref" in request.query
        since = request.headers.get("Last-Event-ID", "")

        def matters(download: ModelDownload) -> bool:
            if named or not has_ended(download) or ended_recently(download, self._now()):
                return True
            return since.isdigit() and int(download.resource_version or 0) > int(since)

        return [one for one in self._board.all() if wanted(one) and matters(one)]


class _Client:
    """One open stream: which downloads it has been told of, and how far it is."""

    def __init__(self, response: web.StreamResponse, board: Board) -> None:
        self._response = response
        self._board = board
        self._known: set[str] = set()
        self._last_id = 0

    async def snapshot(self, downloads: Iterable[ModelDownload]) -> None:
        for download in downloads:
            await self.tell(download.uid, None)
        await self.send_raw(sse.event("sync", {"ids": sorted(self._known)}))

    async def tell(self, uid: str, last: ModelDownload | None) -> None:
        """The newest state of a download; `last` is what it was before it was deleted."""
        download = self._board.get(uid)
        if download is None:
            if last:
                self._known.discard(uid)
                await self._send(deleted(last), last)
            return
        if uid not in self._known:
            self._known.add(uid)
            await self._send(started(download), download)
        for message in messages(download, self._board.queue_positions().get(uid)):
            await self._send(message, download)

    def has_seen_the_last(self) -> bool:
        """Everything that this stream has told of has ended."""
        known = [self._board.get(uid) for uid in self._known]
        return bool(known) and all(one is None or has_ended(one) for one in known)

    async def send_raw(self, data: bytes) -> None:
        async with asyncio.timeout(_WRITE_SECONDS):
            await self._response.write(data)

    async def _send(self, message: Message, download: ModelDownload) -> None:
        """The id is the newest version told so far: a client that comes back with it is told what is newer."""
        self._last_id = max(self._last_id, int(download.resource_version or 0))
        await self.send_raw(sse.event(message.name, message.data, str(self._last_id)))


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
