"""One request over libcurl and its answer, as asyncio reads it.

libcurl does TLS and HTTP/1.1 for a third of the processor time that Python's own takes. It calls back with
headers and pieces of the body; a reader that does not keep up stops it, so that little is ever in memory. Which
requests are made, and to whom, is `client`'s; what its errors mean for people is `curl_errors`'.
"""

import asyncio
import contextlib
from collections import deque

import pycurl
from multidict import CIMultiDict

_MAX_BUFFERED_BYTES = 2 * 1024 * 1024
_MIN_BYTES_PER_REQUEST = 128 * 1024
_WAKE_DELAY_SECONDS = 0.02
_FIRST_FINAL_STATUS = 200


class ReadTimeout(Exception):
    """The other side has sent nothing for as long as it was waited for."""


class BufferLimit:
    """What may wait for its readers, shared by all requests that are open."""

    def __init__(self) -> None:
        self.open_requests = 0

    @property
    def bytes_per_request(self) -> int:
        """Bytes."""
        return max(_MIN_BYTES_PER_REQUEST, _MAX_BUFFERED_BYTES // max(1, self.open_requests))


class CurlRequest:
    """`curl` has all options of the request set. `status` and `headers` are there once `wait_for_header` returns."""

    def __init__(self, curl: pycurl.Curl, buffer_limit: BufferLimit) -> None:
        self._curl = curl
        self._buffer_limit = buffer_limit
        self._multi: pycurl.AsyncCurlMulti | None = None
        self._header_complete = False
        self._ended = False
        self._error: BaseException | None = None
        self._chunks: deque[bytes] = deque()
        self._buffered_bytes = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._wake_timer: asyncio.TimerHandle | None = None
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()
        curl.setopt(pycurl.HEADERFUNCTION, self._on_header)
        curl.setopt(pycurl.WRITEFUNCTION, self._on_body)

    def start(self, multi: pycurl.AsyncCurlMulti) -> None:
        self._multi = multi
        self._buffer_limit.open_requests += 1
        multi.add_handle(self._curl).add_done_callback(self._on_done)

    async def wait_for_header(self, seconds: float) -> None:
        """Waits for status and headers. Raises pycurl.error, ReadTimeout."""
        while not self._header_complete:
            if self._ended:
                raise self._error or pycurl.error(pycurl.E_GOT_NOTHING, "no answer")
            await self._wait(seconds)

    async def read(self, seconds: float, max_bytes: int | None = None) -> bytes:
        """What has come of the body, at most about `max_bytes` bytes of it; b"" at its end.

        Raises pycurl.error, ReadTimeout after `seconds` without a byte.
        """
        while not self._chunks and not self._ended:
            await self._wait(seconds)
        if self._chunks:
            return self._take_buffered(max_bytes)
        if self._error:
            raise self._error
        return b""

    def close(self) -> None:
        """The connection is kept where the body was read to its end."""
        if self._multi is not None:
            self._buffer_limit.open_requests -= 1
            with contextlib.suppress(RuntimeError):  # it is over
                self._multi.remove_handle(self._curl)
            self._multi = None
        self._curl.close()

    async def _wait(self, seconds: float) -> None:
        """Until something has come. Cheaper than an Event and a timeout, of which a fast download needs thousands."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self._wake, ReadTimeout())
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self, error: ReadTimeout | None = None) -> None:
        if self._waiter is None or self._waiter.done():
            return
        if error is None:
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(error)

    def _take_buffered(self, max_bytes: int | None) -> bytes:
        """All that waits, or whole pieces of it until `max_bytes` are reached."""
        if max_bytes is None or self._buffered_bytes <= max_bytes:
            pieces = list(self._chunks)
            self._chunks.clear()
        else:
            pieces, size = [], 0
            while self._chunks and size < max_bytes:
                pieces.append(self._chunks.popleft())
                size += len(pieces[-1])
        self._buffered_bytes -= sum(map(len, pieces))
        if self._wake_timer:
            self._wake_timer.cancel()
            self._wake_timer = None
        if self._paused:
            self._paused = False
            self._curl.pause(pycurl.PAUSE_CONT)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _on_body(self, piece: bytes) -> int | None:
        limit = self._buffer_limit.bytes_per_request
        if self._buffered_bytes >= limit:
            self._paused = True
            return int(pycurl.WRITEFUNC_PAUSE)
        self._chunks.append(piece)
        self._buffered_bytes += len(piece)
        if self._buffered_bytes >= limit // 2:
            self._wake()
        elif self._wake_timer is None:
            self._wake_timer = asyncio.get_running_loop().call_later(_WAKE_DELAY_SECONDS, self._wake)
        return None

    def _on_header(self, line: bytes) -> None:
        """A line of the header, or of a trailer, which says nothing that we want to know."""
        if self._header_complete:
            return
        text = line.decode("latin-1").strip()
        if not text:
            self._header_complete = self.status >= _FIRST_FINAL_STATUS
            self._wake()
        elif text.startswith("HTTP/"):
            self.status = int(text.split()[1])
            self.headers.clear()
        else:
            name, _, value = text.partition(":")
            self.headers.add(name.strip(), value.strip())

    def _on_done(self, transfer: asyncio.Future[pycurl.Curl]) -> None:
        self._ended = True
        self._error = None if transfer.cancelled() else transfer.exception()
        self._wake()
