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

_MOST_WAITING_BYTES = 2 * 1024 * 1024
_LEAST_SHARE_BYTES = 128 * 1024
_WORTH_WAKING_SECONDS = 0.02
_FIRST_FINAL_STATUS = 200


class Silence(Exception):
    """The other side has sent nothing for as long as it was waited for."""


class Memory:
    """What may wait for its readers, shared by the `exchanges` that are open."""

    def __init__(self) -> None:
        self.exchanges = 0

    @property
    def share(self) -> int:
        """Bytes."""
        return max(_LEAST_SHARE_BYTES, _MOST_WAITING_BYTES // max(1, self.exchanges))


class CurlRequest:
    """`curl` has all options of the request set. `status` and `headers` are there once `answered` returns."""

    def __init__(self, curl: pycurl.Curl, memory: Memory) -> None:
        self._curl = curl
        self._memory = memory
        self._multi: pycurl.AsyncCurlMulti | None = None
        self._answered = False
        self._over = False
        self._error: BaseException | None = None
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._held_back = False
        self._reader: asyncio.Future[None] | None = None
        self._soon: asyncio.TimerHandle | None = None
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()
        curl.setopt(pycurl.HEADERFUNCTION, self._take_header)
        curl.setopt(pycurl.WRITEFUNCTION, self._take)

    def start(self, multi: pycurl.AsyncCurlMulti) -> None:
        self._multi = multi
        self._memory.exchanges += 1
        multi.add_handle(self._curl).add_done_callback(self._end)

    async def answered(self, seconds: float) -> None:
        """Waits for status and headers. Raises pycurl.error, Silence."""
        while not self._answered:
            if self._over:
                raise self._error or pycurl.error(pycurl.E_GOT_NOTHING, "no answer")
            await self._wait(seconds)

    async def read(self, seconds: float, most: int | None = None) -> bytes:
        """What has come of the body, at most about `most` bytes of it; b"" at its end.

        Raises pycurl.error, Silence after `seconds` without a byte.
        """
        while not self._waiting and not self._over:
            await self._wait(seconds)
        if self._waiting:
            return self._hand_out(most)
        if self._error:
            raise self._error
        return b""

    def close(self) -> None:
        """The connection is kept where the body was read to its end."""
        if self._multi is not None:
            self._memory.exchanges -= 1
            with contextlib.suppress(RuntimeError):  # it is over
                self._multi.remove_handle(self._curl)
            self._multi = None
        self._curl.close()

    async def _wait(self, seconds: float) -> None:
        """Until something has come. Cheaper than an Event and a timeout, of which a fast download needs thousands."""
        loop = asyncio.get_running_loop()
        self._reader = loop.create_future()
        silence = loop.call_later(seconds, self._wake, Silence())
        try:
            await self._reader
        finally:
            silence.cancel()
            self._reader = None

    def _wake(self, error: Silence | None = None) -> None:
        if self._reader is None or self._reader.done():
            return
        if error is None:
            self._reader.set_result(None)
        else:
            self._reader.set_exception(error)

    def _hand_out(self, most: int | None) -> bytes:
        """All that waits, or whole pieces of it until `most` are reached."""
        if most is None or self._waiting_bytes <= most:
            pieces = list(self._waiting)
            self._waiting.clear()
        else:
            pieces, size = [], 0
            while self._waiting and size < most:
                pieces.append(self._waiting.popleft())
                size += len(pieces[-1])
        self._waiting_bytes -= sum(map(len, pieces))
        if self._soon:
            self._soon.cancel()
            self._soon = None
        if self._held_back:
            self._held_back = False
            self._curl.pause(pycurl.PAUSE_CONT)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _take(self, piece: bytes) -> int | None:
        share = self._memory.share
        if self._waiting_bytes >= share:
            self._held_back = True
            return int(pycurl.WRITEFUNC_PAUSE)
        self._waiting.append(piece)
        self._waiting_bytes += len(piece)
        if self._waiting_bytes >= share // 2:
            self._wake()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(_WORTH_WAKING_SECONDS, self._wake)
        return None

    def _take_header(self, line: bytes) -> None:
        """A line of the header, or of a trailer, which says nothing that we want to know."""
        if self._answered:
            return
        text = line.decode("latin-1").strip()
        if not text:
            self._answered = self.status >= _FIRST_FINAL_STATUS
            self._wake()
        elif text.startswith("HTTP/"):
            self.status = int(text.split()[1])
            self.headers.clear()
        else:
            name, _, value = text.partition(":")
            self.headers.add(name.strip(), value.strip())

    def _end(self, transfer: asyncio.Future[pycurl.Curl]) -> None:
        self._over = True
        self._error = None if transfer.cancelled() else transfer.exception()
        self._wake()
