"""`/v1/models/download/progress`: the state of downloads as a stream of server-sent events.

A stream begins with a snapshot. `sync` closes it with the ids of all downloads, so that a client sees what was deleted
while it was away. Then follow the changes, the newest state only.

An event id (`Last-Event-ID`) is sent only with the last event of a version: a client that loses the connection in the
middle and resumes with its last id misses nothing. A client that does not read is disconnected by the write timeout.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.typedefs import Handler

from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.refs.refs import parse_lenient
from model_provisioner.domain.stream import Message, deleted, ended_recently, has_ended, messages, started
from model_provisioner.gateway.access import Authorizer, Grant, bearer
from model_provisioner.gateway.api.documents import IssuedTicket
from model_provisioner.gateway.api.queries import Scoped, StreamQuery
from model_provisioner.gateway.api.request_parsing import json_response, parse_query
from model_provisioner.gateway.board import Board, Predicate, Subscription
from model_provisioner.gateway.limiter import StreamLimiter
from model_provisioner.gateway.problems import Problem, unauthorized
from model_provisioner.gateway.stream import sse
from model_provisioner.gateway.stream.numbers import NumberSet
from model_provisioner.gateway.stream.tickets import LIFETIME_SECONDS, Tickets

_RETRY_MILLISECONDS = 3000
_MAX_ID_LENGTH = 20
_WRITE_BYTES = 16 * 1024
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


@dataclass(frozen=True, slots=True)
class StreamTiming:
    """All in seconds. After `heartbeat` without a change a comment is sent; a write may take `write_timeout`.

    Between two writes to one client are at least `min_interval`; what changes meanwhile is sent once.
    """

    heartbeat: float = 15.0
    write_timeout: float = 30.0
    min_interval: float = 0.25


class EventStreamHandler:
    """Serves all event streams. `now` is the wall clock, which decides what has ended recently."""

    def __init__(
        self,
        board: Board,
        authorizer: Authorizer,
        limiter: StreamLimiter,
        tickets: Tickets,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        timing: StreamTiming | None = None,
    ) -> None:
        self._board = board
        self._authorizer = authorizer
        self._limiter = limiter
        self._tickets = tickets
        self._now = now
        self._timing = timing or StreamTiming()
        self._closing = False

    def handlers(self) -> dict[str, Handler]:
        """By operation id, see `api.calls`."""
        return {"streamProgress": self.stream_progress, "issueTicket": self.issue_ticket}

    async def close(self, _app: web.Application) -> None:
        """Ends all streams (`on_shutdown`): otherwise the server waits for them when it stops."""
        self._closing = True
        self._board.wake()

    async def issue_ticket(self, request: web.Request) -> web.Response:
        """A ticket for a caller that may watch. Raises Problem (401, 403, 409)."""
        query = parse_query(Scoped, request)
        if self._authorizer.open_to_all:
            raise Problem(409, "NotNeeded", "this gateway asks for no token: open the stream without a ticket")
        await self._authorizer.readable_namespace(request, "watch", query.namespace)
        issued = IssuedTicket(ticket=self._tickets.issue(bearer(request)), expires_in=LIFETIME_SECONDS)
        return json_response(issued, status=201, headers={"Cache-Control": "no-store"})

    async def stream_progress(self, request: web.Request) -> web.StreamResponse:
        """Raises Problem (400, 401, 403, 429), and InvalidRef or UnsupportedSource for a wrong `model_ref`."""
        query = parse_query(StreamQuery, request)
        grant = await self._grant(request, query)
        predicate = _predicate(query, grant.namespace)
        last_id = _last_event_id(request)
        if self._is_over(query, predicate, last_id):
            return web.Response(status=204)  # the only answer after which an EventSource does not reconnect
        with self._limiter.acquire(grant.identity):
            return await self._serve(request, grant, predicate, filtered=_is_filtered(query), last_id=last_id)

    async def _serve(
        self, request: web.Request, grant: Grant, predicate: Predicate, *, filtered: bool, last_id: int | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=_HEADERS)
        writer = await response.prepare(request)
        assert writer is not None  # only a response that was prepared before has none
        _limit_send_buffers(request)
        stream = _EventStream(response, writer, self._board, self._timing.write_timeout, filtered=filtered)
        try:
            with self._board.subscribe(predicate) as subscription:
                await stream.send(sse.retry(_RETRY_MILLISECONDS))
                await self._send_snapshot(stream, predicate, self._in_snapshot(filtered=filtered, last_id=last_id))
                await self._send_changes(stream, subscription, grant, filtered=filtered)
        except (ConnectionError, TimeoutError):
            if request.transport:  # a graceful end waits for a client that does not read; it can reconnect
                request.transport.abort()
        return response

    async def _grant(self, request: web.Request, query: StreamQuery) -> Grant:
        """Raises Problem (401, 403)."""
        if query.ticket is None or self._authorizer.open_to_all:
            return await self._authorizer.grant(request, None, "watch", query.namespace)
        ticket = self._tickets.redeem(query.ticket)
        if ticket is None:
            raise unauthorized("this ticket is not valid any longer: get another one")
        return await self._authorizer.grant(request, ticket.token, "watch", query.namespace, ticket.expires)

    def _is_over(self, query: StreamQuery, predicate: Predicate, last_id: int | None) -> bool:
        """Whether the client resumes a filtered stream that has ended, and has seen its last event."""
        if last_id is None or not _is_filtered(query):
            return False
        downloads = [download for download in self._board.all() if predicate(download)]
        seen = all(has_ended(download) and _version(download) <= last_id for download in downloads)
        return seen and bool(downloads or query.download_id)

    async def _send_snapshot(self, stream: "_EventStream", predicate: Predicate, in_snapshot: Predicate) -> None:
        version = self._board.version
        ids = [download.uid for download in self._board.all() if predicate(download)]
        known = ((uid, self._board.get(uid)) for uid in ids)
        await stream.send_states(((uid, None) for uid, download in known if download and in_snapshot(download)), None)
        await stream.send_sync(sorted(ids), _event_id(version))

    async def _send_changes(
        self, stream: "_EventStream", subscription: Subscription, grant: Grant, *, filtered: bool
    ) -> None:
        while not (filtered and stream.has_ended()):
            changed = {} if self._closing else await subscription.wait(self._timing.heartbeat)
            version = self._board.version
            if self._closing:
                await stream.send(sse.comment("goodbye: the gateway stops; come back"))
                return
            if not await grant.is_valid():
                await stream.send(sse.comment("goodbye: this token may not watch any longer"))
                return
            if not changed:
                await stream.send(sse.comment("heartbeat"))
                continue
            await stream.send_states(changed.items(), _event_id(version))
            await asyncio.sleep(self._timing.min_interval)

    def _in_snapshot(self, *, filtered: bool, last_id: int | None) -> Predicate:
        """True for all downloads of a filtered stream; else for what is active, or has ended recently or after
        `last_id`.
        """

        def in_snapshot(download: ModelDownload) -> bool:
            if filtered or not has_ended(download) or ended_recently(download, self._now()):
                return True
            return last_id is not None and _version(download) > last_id

        return in_snapshot


class _EventStream:
    """One open stream. Remembers which downloads it has sent and, if it is `filtered`, which of them have not ended.

    It keeps no events: each write is made of the newest states when the client has taken the write before.
    `writer` is that of the `response`; `write_timeout` is in seconds.
    """

    def __init__(
        self,
        response: web.StreamResponse,
        writer: AbstractStreamWriter,
        board: Board,
        write_timeout: float,
        *,
        filtered: bool,
    ) -> None:
        self._response = response
        self._writer = writer
        self._board = board
        self._write_timeout = write_timeout
        self._filtered = filtered
        self._sent = NumberSet()
        self._running: set[str] = set()
        self._has_sent = False

    async def send_states(self, changed: Iterable[tuple[str, ModelDownload | None]], event_id: str | None) -> None:
        """Sends, by uid, the newest state of the downloads, or `deleted` with the given last state.

        The last event has `event_id`. Raises TimeoutError, ConnectionError.
        """
        batch: list[bytes] = []
        size = 0
        for uid, last in changed:
            if size > _WRITE_BYTES:
                await self.send(b"".join(batch))
                batch, size = [], 0
            events = self._events(uid, last)
            batch += events
            size += sum(map(len, events))
        await self._send_last(batch, event_id)

    async def send_sync(self, ids: list[str], event_id: str | None) -> None:
        """Closes the snapshot. Raises TimeoutError, ConnectionError."""
        await self._send_last([sse.event("sync", {"ids": ids})], event_id)

    def has_ended(self) -> bool:
        """Whether at least one download was sent, and all that were sent have ended or are deleted."""
        return self._has_sent and not self._running

    async def send(self, data: bytes) -> None:
        """Returns when the client has taken almost all. Raises TimeoutError if it does not read, ConnectionError if it
        has disconnected.
        """
        async with asyncio.timeout(self._write_timeout):
            await self._response.write(data)
            await self._writer.drain()

    async def _send_last(self, events: list[bytes], event_id: str | None) -> None:
        if events and event_id is not None:
            events[-1] = sse.with_id(events[-1], event_id)
        if events:
            await self.send(b"".join(events))

    def _events(self, uid: str, last: ModelDownload | None) -> list[bytes]:
        download = self._board.get(uid)
        if download is None and last is None:
            return []  # deleted after the change: the subscription has that as the next change
        self._has_sent = True
        if download is None:
            self._running.discard(uid)
            return [_encode(deleted(last))] if last else []
        number = self._board.number(uid)
        first = [] if number in self._sent else [self._started_event(download)]
        self._sent.add(number)
        if self._filtered:
            (self._running.discard if has_ended(download) else self._running.add)(uid)
        return [*first, self._state_event(download)]

    def _started_event(self, download: ModelDownload) -> bytes:
        return self._board.encoded(download.uid, "started", None, lambda: _encode(started(download)))

    def _state_event(self, download: ModelDownload) -> bytes:
        position, stale = self._board.queue_position(download.uid), self._board.stale

        def encode() -> bytes:
            return b"".join(_encode(message) for message in messages(download, position, stale=stale))

        return self._board.encoded(download.uid, "state", (position, stale), encode)


def _encode(message: Message) -> bytes:
    return sse.event(message.name, message.data)


def _limit_send_buffers(request: web.Request) -> None:
    """Without limits, kernel and event loop buffer megabytes for each client that does not read."""
    if request.transport is not None:
        request.transport.set_write_buffer_limits(high=_WRITE_BYTES)
    connection = request.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _WRITE_BYTES)


def _event_id(version: int) -> str | None:
    """None before the first event: a client that resumes with 0 would get everything that has ever ended."""
    return str(version) if version else None


def _last_event_id(request: web.Request) -> int | None:
    """None if there is no header, or its value is none of our ids."""
    value = request.headers.get("Last-Event-ID", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) <= _MAX_ID_LENGTH else None


def _version(download: ModelDownload) -> int:
    return int(download.resource_version or 0)


def _is_filtered(query: StreamQuery) -> bool:
    """Whether the stream is about one download or model. Such a stream ends with it."""
    return query.download_id is not None or query.model_ref is not None


def _predicate(query: StreamQuery, namespace: str | None) -> Predicate:
    """Raises InvalidRef, UnsupportedSource if `model_ref` is no ref."""
    ref = str(parse_lenient(query.model_ref)) if query.model_ref else None

    def matches(download: ModelDownload) -> bool:
        return (
            namespace in {None, download.namespace}
            and query.download_id in {None, download.uid}
            and ref in {None, download.spec.model_ref}
        )

    return matches
