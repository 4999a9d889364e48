"""One request over libcurl and its response, read with asyncio.

Called by `client`, which decides what is requested; the meaning of errors is in `curl_errors`. libcurl needs a third of
the processor time that TLS and HTTP/1.1 in Python need. It calls back with header lines and pieces of the body. A slow
reader pauses it, so that the buffers stay small.
"""

import asyncio
import contextlib
from collections import deque

import pycurl
from multidict import CIMultiDict

from model_provisioner.transfer.http import receive_buffer

_MAX_BUFFERED_BYTES = 2 * 1024 * 1024
_MIN_BYTES_PER_REQUEST = 128 * 1024
_WAKE_DELAY_SECONDS = 0.02
_FIRST_FINAL_STATUS = 200


class ReadTimeout(Exception):
    """The server sent nothing for the given number of seconds."""


class BufferLimit:
    """How many bytes of a body each request may buffer: 2 MiB shared by all open requests, at least 128 KiB each."""

    def __init__(self) -> None:
        self._open_requests = 0
        self.bytes_per_request = _MAX_BUFFERED_BYTES

    def count(self, opened: int) -> None:
        """`opened` more requests are open; -1 if one was closed."""
        self._open_requests += opened
        self.bytes_per_request = max(_MIN_BYTES_PER_REQUEST, _MAX_BUFFERED_BYTES // max(1, self._open_requests))


class CurlRequest:
    """A request with the options of `curl`. `status` and `headers` are valid after `wait_for_header`.

    `buffer_limit` is shared by all requests of a client.
    """

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
        self._buffer_limit.count(1)
        multi.add_handle(self._curl).add_done_callback(self._on_done)

    async def wait_for_header(self, seconds: float) -> None:
        """Waits for status and headers. Raises pycurl.error, and ReadTimeout after `seconds`."""
        while not self._header_complete:
            if self._ended:
                raise self._error or pycurl.error(pycurl.E_GOT_NOTHING, "no answer")
            await self._wait(seconds)
        if not self._ended and (self.connect_seconds or self.answer_seconds) < receive_buffer.NEAR_SECONDS:
            receive_buffer.limit(self._curl.getinfo(pycurl.ACTIVESOCKET))

    async def read(self, seconds: float, max_bytes: int | None = None) -> bytes:
        """The bytes of the body received so far, at most about `max_bytes`; b"" at the end.

        Waits for the first byte. Raises pycurl.error, and ReadTimeout after `seconds` without a byte.
        """
        while not self._chunks and not self._ended:
            await self._wait(seconds)
        if self._chunks:
            return self._take_buffered(max_bytes)
        if self._error:
            raise self._error
        return b""

    @property
    def connect_seconds(self) -> float:
        """The time of the TCP handshake, with the proxy if there is one; 0 if the connection was open before."""
        return float(self._curl.getinfo(pycurl.CONNECT_TIME))

    @property
    def answer_seconds(self) -> float:
        """From the request to the first byte of the answer; valid after `wait_for_header`."""
        return float(self._curl.getinfo(pycurl.STARTTRANSFER_TIME) - self._curl.getinfo(pycurl.PRETRANSFER_TIME))

    def close(self) -> None:
        """Keeps the connection for reuse if the body was read to its end, else closes it."""
        if self._multi is not None:
            self._buffer_limit.count(-1)
            with contextlib.suppress(RuntimeError):  # the transfer has ended
                self._multi.remove_handle(self._curl)
            self._multi = None
        self._curl.close()

    async def _wait(self, seconds: float) -> None:
        """Waits for `_wake`. A download waits thousands of times, and a bare future costs less than an Event."""
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
        """All buffered bytes, or whole pieces of them until `max_bytes` are reached."""
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
        """A line of the header. Those of a trailer are ignored."""
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
