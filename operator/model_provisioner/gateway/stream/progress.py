"""`/v1/models/download/progress`: the state of downloads as a stream of server-sent events.

On connect a snapshot, closed by `sync` with all ids so that deletions during a gap are seen; then
whatever changes, newest wins. Nothing queues up for a client that reads slowly, and one that does not
read at all is cut by the time limit on writing. An id stands only where everything up to it was told,
so that a client that was cut in the middle and comes back with its last id misses nothing.
"""

import asyncio
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from aiohttp import web
from aiohttp.typedefs import Handler

from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.refs.refs import parse_lenient
from model_provisioner.domain.stream import Message, deleted, ended_recently, has_ended, messages, started
from model_provisioner.gateway.access import Access, Permit, bearer
from model_provisioner.gateway.api.documents import IssuedTicket, Scoped, StreamQuery
from model_provisioner.gateway.api.request_parsing import answer, query
from model_provisioner.gateway.board import Board, Subscriber, Wanted
from model_provisioner.gateway.problems import Problem, unauthorized
from model_provisioner.gateway.stream import sse
from model_provisioner.gateway.stream.limiter import StreamLimiter
from model_provisioner.gateway.stream.tickets import LIFETIME_SECONDS, Tickets

_RETRY_MILLISECONDS = 3000
_LONGEST_ID = 20
_LONGEST_WRITE = 64 * 1024
_IN_FLIGHT = 16 * 1024
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


@dataclass(frozen=True, slots=True)
class Rhythm:
    """All in seconds: how long a stream may be quiet, how long one write may take, and the least time between two
    writes to one client. What changes meanwhile is told once, so that a busy day costs no more than a quiet one.
    """

    heartbeat: float = 15.0
    patience: float = 30.0
    pace: float = 0.25


class ProgressStreams:
    """Serves every client; after `close` they all end with a goodbye."""

    def __init__(
        self,
        board: Board,
        access: Access,
        limiter: StreamLimiter,
        tickets: Tickets,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        rhythm: Rhythm | None = None,
    ) -> None:
        self._board = board
        self._access = access
        self._limiter = limiter
        self._tickets = tickets
        self._now = now
        self._rhythm = rhythm or Rhythm()
        self._closing = False

    def handlers(self) -> dict[str, Handler]:
        """By operation id, see `api.calls`."""
        return {"streamProgress": self.stream, "issueTicket": self.ticket}

    async def close(self, _app: web.Application) -> None:
        """Before the server stops: streams would keep it waiting."""
        self._closing = True
        self._board.wake()

    async def ticket(self, request: web.Request) -> web.Response:
        """For a caller who may watch. Raises Problem (401, 403)."""
        wanted = query(Scoped, request)
        if self._access.open_to_all:
            raise Problem(409, "NotNeeded", "this gateway asks for no token: open the stream without a ticket")
        await self._access.readable(request, "watch", wanted.namespace)
        issued = IssuedTicket(ticket=self._tickets.issue(bearer(request)), expires_in=LIFETIME_SECONDS)
        return answer(issued, status=201, headers={"Cache-Control": "no-store"})

    async def stream(self, request: web.Request) -> web.StreamResponse:
        asked = query(StreamQuery, request)
        permit = await self._permit(request, asked)
        wanted = _filter(asked, permit.scope)
        known = _last_id(request)
        if self._nothing_more(asked, wanted, known):
            return web.Response(status=204)  # which alone ends an EventSource
        with self._limiter.take(permit.identity):
            return await self._serve(request, permit, wanted, named=_named(asked), known=known)

    async def _serve(
        self, request: web.Request, permit: Permit, wanted: Wanted, *, named: bool, known: int | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        _keep_little_in_flight(request)
        client = _Client(response, self._board, self._rhythm.patience)
        try:
            with self._board.subscribe(wanted) as subscriber:
                await client.send(sse.retry(_RETRY_MILLISECONDS))
                await self._snapshot(client, wanted, self._worth_telling(named=named, known=known))
                await self._follow(client, subscriber, permit, named=named)
        except (ConnectionError, TimeoutError):
            if request.transport:  # not reading: a proper end would wait for it; whoever comes back gets a snapshot
                request.transport.abort()
        return response

    async def _permit(self, request: web.Request, asked: StreamQuery) -> Permit:
        """Raises Problem (401, 403)."""
        if asked.ticket is None or self._access.open_to_all:
            return await self._access.permit(request, None, "watch", asked.namespace)
        ticket = self._tickets.redeem(asked.ticket)
        if ticket is None:
            raise unauthorized("this ticket is not valid any longer: get another one")
        return await self._access.permit(request, ticket.token, "watch", asked.namespace, ticket.expires)

    def _nothing_more(self, asked: StreamQuery, wanted: Wanted, known: int | None) -> bool:
        """Whoever comes back to a stream that has ended has been told everything there will be."""
        if known is None or not _named(asked):
            return False
        there = [one for one in self._board.all() if wanted(one)]
        over = all(has_ended(one) and int(one.resource_version or 0) <= known for one in there)
        return over and bool(there or asked.download_id)

    async def _snapshot(self, client: "_Client", wanted: Wanted, matters: Wanted) -> None:
        version, there = self._board.version, [one for one in self._board.all() if wanted(one)]
        await client.tell({one.uid: None for one in there if matters(one)}, None)
        await client.finish_snapshot(sorted(one.uid for one in there), _id(version))

    async def _follow(self, client: "_Client", subscriber: Subscriber, permit: Permit, *, named: bool) -> None:
        while not (named and client.has_seen_the_last()):
            changed = {} if self._closing else await subscriber.news(self._rhythm.heartbeat)
            version = self._board.version
            if self._closing:
                await client.send(sse.comment("goodbye: the gateway stops; come back"))
                return
            if not await permit.holds():
                await client.send(sse.comment("goodbye: this token may not watch any longer"))
                return
            if not changed:
                await client.send(sse.comment("heartbeat"))
                continue
            await client.tell(changed, _id(version))
            await asyncio.sleep(self._rhythm.pace)

    def _worth_telling(self, *, named: bool, known: int | None) -> Wanted:
        """What is active, what has ended lately or since the client was last here, and what the filter names."""

        def matters(download: ModelDownload) -> bool:
            if named or not has_ended(download) or ended_recently(download, self._now()):
                return True
            return known is not None and int(download.resource_version or 0) > known

        return matters


class _Client:
    """One open stream: which downloads it has been told of, and whether they had ended then."""

    def __init__(self, response: web.StreamResponse, board: Board, patience: float) -> None:
        self._response = response
        self._board = board
        self._patience = patience
        self._ended: dict[str, bool] = {}
        self._told = False

    async def tell(self, changed: Mapping[str, ModelDownload | None], last_id: str | None) -> None:
        """The newest state of these downloads, or what each was before it was deleted; the last event has the id."""
        await self._send_all([piece for uid, last in changed.items() for piece in self._news_of(uid, last)], last_id)

    async def finish_snapshot(self, ids: list[str], last_id: str | None) -> None:
        await self._send_all([sse.event("sync", {"ids": ids})], last_id)

    def has_seen_the_last(self) -> bool:
        """Everything that this stream has told of had ended, or was deleted."""
        return self._told and all(self._ended.values())

    async def send(self, data: bytes) -> None:
        """Raises TimeoutError for a client that does not read, ConnectionError for one that is gone."""
        async with asyncio.timeout(self._patience):
            await self._response.write(data)

    async def _send_all(self, news: list[bytes], last_id: str | None) -> None:
        if news and last_id is not None:
            news[-1] = sse.with_id(news[-1], last_id)
        for batch in _batches(news):
            await self.send(batch)

    def _news_of(self, uid: str, last: ModelDownload | None) -> list[bytes]:
        download = self._board.get(uid)
        if download is None and last is None:
            return []  # deleted a moment ago: that is the next news
        self._told = True
        if download is None:
            self._ended.pop(uid, None)
            return [_encoded(deleted(last))] if last else []
        opening = [] if uid in self._ended else [self._opening_of(download)]
        self._ended[uid] = has_ended(download)
        return [*opening, self._state_of(download)]

    def _opening_of(self, download: ModelDownload) -> bytes:
        return self._board.encoded(download.uid, "started", None, lambda: _encoded(started(download)))

    def _state_of(self, download: ModelDownload) -> bytes:
        position, stale = self._board.queue_position(download.uid), self._board.stale

        def encode() -> bytes:
            return b"".join(_encoded(message) for message in messages(download, position, stale=stale))

        return self._board.encoded(download.uid, "state", (position, stale), encode)


def _encoded(message: Message) -> bytes:
    return sse.event(message.name, message.data)


def _batches(news: list[bytes]) -> Iterator[bytes]:
    """Few writes, but none so long that a slow client could not take it in time."""
    batch: list[bytes] = []
    for piece in news:
        batch.append(piece)
        if sum(map(len, batch)) > _LONGEST_WRITE:
            yield b"".join(batch)
            batch = []
    if batch:
        yield b"".join(batch)


def _keep_little_in_flight(request: web.Request) -> None:
    """Of what nobody reads, the kernel would keep megabytes per client."""
    connection = request.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _IN_FLIGHT)


def _id(version: int) -> str | None:
    """None before anything was heard: coming back with 0 would mean everything that ever ended."""
    return str(version) if version else None


def _last_id(request: web.Request) -> int | None:
    since = request.headers.get("Last-Event-ID", "")
    return int(since) if since.isascii() and since.isdigit() and len(since) <= _LONGEST_ID else None


def _named(asked: StreamQuery) -> bool:
    return asked.download_id is not None or asked.model_ref is not None


def _filter(asked: StreamQuery, scope: str | None) -> Wanted:
    """Raises InvalidRef, UnsupportedSource for a ref that is none."""
    ref = str(parse_lenient(asked.model_ref)) if asked.model_ref else None

    def wanted(download: ModelDownload) -> bool:
        return (
            scope in {None, download.namespace}
            and asked.download_id in {None, download.uid}
            and ref in {None, download.spec.model_ref}
        )

    return wanted
