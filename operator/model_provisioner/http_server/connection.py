"""One connection: aiohttp's, with what `limits` must know of it, and without request text in responses and log.

`server` makes them and closes those that are late. aiohttp itself has a deadline only between two requests.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from model_provisioner.http_server.limits import Limits
from model_provisioner.http_server.malformed import MalformedRequests

NOSNIFF = {"X-Content-Type-Options": "nosniff"}
_BODY_BUFFER_BYTES = 16 * 1024
_MAX_LINE_BYTES = 16 * 1024  # room for the longest ref, percent-encoded
_MAX_HEADERS = 64
_HEADER_OVERHEAD_BYTES = 4  # colon, space, end of line
_HEAD_OVERHEAD_BYTES = 64  # more than the method, the version and the ends of lines take
_DRAINING_MARGIN_SECONDS = 1.0
_REASONS = {
    400: ("BadRequest", "this is no valid HTTP/1.1 request; a header has at most 8190 bytes, and there are at most 64"),
    504: ("Timeout", "the server did not answer in time"),
}


class Connection(RequestHandler):
    """`server` is aiohttp's, `address` the client's. `malformed` counts requests that can't be read.

    `count` is told how many more bytes of unfinished requests are in memory, negative for fewer.
    """

    __slots__ = (
        "_aborted",
        "_count",
        "_draining",
        "_head",
        "_hold",
        "_is_stream",
        "_limits",
        "_malformed",
        "_pause",
        "_request",
        "_responding",
        "_until",
        "address",
        "received",
        "since",
    )

    def __init__(
        self,
        server: web.Server,
        address: str,
        limits: Limits,
        malformed: MalformedRequests,
        count: Callable[[int], None],
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # aiohttp's own way to turn the log off
            keepalive_timeout=limits.idle_seconds,
            lingering_time=limits.head_seconds,
            max_line_size=_MAX_LINE_BYTES,
            max_headers=_MAX_HEADERS,
            read_bufsize=_BODY_BUFFER_BYTES,
        )
        self.address = address
        self.received = 0
        self.since = self._loop.time()
        self._aborted = False
        self._count = count
        self._draining = False
        self._head = 0
        self._hold: asyncio.TimerHandle | None = None
        self._is_stream = False
        self._limits = limits
        self._malformed = malformed
        self._pause: Callable[[int], float] = lambda _: 0.0
        self._request: web.BaseRequest | None = None
        self._responding = False
        self._until = self.since + limits.head_seconds

    @property
    def is_unfinished(self) -> bool:
        """Whether the connection waits for a request, or for the rest of one."""
        return not self._aborted and (self._request is None or not self._request.content.is_eof())

    def is_late(self, now: float) -> bool:
        """Whether its client takes longer than the limits allow. `now` is in seconds of the loop's clock."""
        return now >= self._until and (self.is_unfinished or self._responding)

    def request_begins(self, request: web.BaseRequest) -> bool:
        """The head of a request is complete. False if it is too long, and is not to be handled."""
        if self._draining:
            self._draining = False
            self._resize(0)
        self._request = request
        self._until = self._loop.time() + self._limits.body_seconds
        self._head = (
            _HEAD_OVERHEAD_BYTES
            + len(request.raw_path)
            + sum(len(name) + len(value) + _HEADER_OVERHEAD_BYTES for name, value in request.raw_headers)
        )
        if request.content.is_eof():
            self._request_is_complete(request)
        return self._head <= self._limits.head_bytes

    def becomes_stream(self, pause: Callable[[int], float]) -> None:
        """The handler has taken the connection over, as a WebSocket. What follows is no request.

        `pause` is told of each number of bytes that arrives, and returns the seconds for which no more are read.
        """
        self._is_stream = True
        self._pause = pause

    def abort(self) -> None:
        self._aborted = True
        self._resize(0)
        if self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._aborted = True
        self._resize(0)
        super().connection_lost(exc)
        # Errors among them refer to frames with the bytes received, and these to us, until a garbage collection.
        self._messages.clear()

    def data_received(self, data: bytes) -> None:
        if self._aborted:
            return
        request = self._request
        is_behind = request is not None and request.content.is_eof() and not self._is_stream
        if request is None and data and not self.received:
            self._until = min(self._until, self._loop.time() + self._limits.head_seconds)
        if not (self._draining or self._is_stream) and not self._takes(len(data), is_behind=is_behind):
            return
        try:
            super().data_received(data)
        except Exception as error:  # noqa: BLE001 -- asyncio would log the message, which may quote the request
            self._malformed.note(self.address, type(error).__name__)
            self.abort()
        if self._is_stream and (seconds := self._pause(len(data))):
            self._stop_reading(seconds)
        if request is not None and not (is_behind or self._is_stream or self._draining) and request.content.is_eof():
            self._request_is_complete(request)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends the response, or ends the one that the handler has sent; then the connection waits again."""
        self._responding = True
        self._until = self._loop.time() + self._limits.response_seconds
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._responding = False
            self.since = self._loop.time()
            self._draining = self._request is not None and not request.content.is_eof()
            if self._draining:  # aiohttp reads the rest for `lingering_time`, so that the client can read the response
                self._until = self.since + self._limits.head_seconds + _DRAINING_MARGIN_SECONDS
            else:
                self._request = None
                wait = self._limits.head_seconds if self.received else self._limits.idle_seconds
                self._until = self.since + wait

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 -- it quotes the request
    ) -> web.StreamResponse:
        """The response to a request that can't be read, in the form of the gateway's other errors (RFC 9457)."""
        self._malformed.note(self.address, type(exc).__name__)
        if exc is not None:
            exc.with_traceback(None)  # its frames hold the bytes received until a garbage collection
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the response is sent already")
        response = problem(status, *_REASONS.get(status, ("InternalError", "the server can't answer this request")))
        response.force_close()
        return response

    def log_exception(self, *_args: Any, exc_info: BaseException | None = None, **_more: Any) -> None:
        """aiohttp's errors outside of a handler: their messages may quote the request."""
        self._malformed.note(self.address, type(exc_info).__name__)

    def _stop_reading(self, seconds: float) -> None:
        if self.transport is not None and self._hold is None:
            self.transport.pause_reading()
            self._hold = self._loop.call_later(seconds, self._read_on)

    def _read_on(self) -> None:
        self._hold = None
        if self.transport is not None and not self._reading_paused:  # else aiohttp goes on when there is room
            self.transport.resume_reading()

    def _takes(self, size: int, *, is_behind: bool) -> bool:
        """Counts bytes that have arrived. False if there are too many."""
        self._resize(self.received + size)
        if is_behind:
            self._check_bytes_behind()
        elif self.received > self._limits.request_bytes:
            if self._request is None:
                self.abort()
            else:
                self.close()  # the handler answers with 413, or with 408 if it waits for the rest
            return False
        return not self._aborted

    def _request_is_complete(self, request: web.BaseRequest) -> None:
        """From here on, only what the client has sent behind the request counts as unfinished."""
        self._resize(max(0, self.received - self._head - request.content.total_bytes))
        self._check_bytes_behind()

    def _check_bytes_behind(self) -> None:
        """A client may send its next request early, but not many: they stay in memory for as long as a stream runs."""
        if self.received > self._limits.behind_bytes:
            self.abort()

    def _resize(self, received: int) -> None:
        before, self.received = self.received, received
        self._count(received - before)


def problem(status: int, title: str, detail: str) -> web.Response:
    """A problem document (RFC 9457) for what no handler of the application has seen."""
    document = {"type": title, "title": title, "status": status, "detail": detail}
    return web.json_response(document, status=status, headers=NOSNIFF, content_type="application/problem+json")
