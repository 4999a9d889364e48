"""The process in a worker pod, as `worker_processes.child_process` uses one: lines in, lines out, an end.

It outlives its connections: what is written while there is none is sent over the next one, and nothing comes twice
(`worker_protocol.channel`). Made by `claim_pod`, which deletes the Job; `door` brings the connections. How fast and how
much a pod may send is limited here, what it may say in `pod_answers`.
"""

import asyncio
import contextlib
import logging
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from model_provisioner.aio.allowance import Allowance
from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.domain.errors import ProvisionError, WorkerLost
from model_provisioner.worker_protocol.channel import END, Channel, Hello, Welcome
from model_provisioner.worker_protocol.codec import LONGEST_LINE_BYTES

_LOG = logging.getLogger(__name__)
_SESSION_BYTES = 16
_MOST_UNCONFIRMED_BYTES = 4 * LONGEST_LINE_BYTES
_LINES_PER_SECOND, _LINES_AT_ONCE = 100.0, 400.0
_BYTES_PER_SECOND, _BYTES_AT_ONCE = 1024.0**2, 8 * 1024.0**2
_COMPLAINT_SECONDS = 60.0


class Socket(Protocol):
    """A connection to a pod. `receive` returns the next message, a text or a frame; None at the end."""

    async def send_text(self, text: str) -> None: ...

    async def send_frame(self, frame: bytes) -> None: ...

    async def receive(self) -> str | bytes | None: ...

    async def close(self) -> None: ...


class PodProcess:
    """`pid` is a number of the operator's own, for its log. `epoch` is `leaseTransitions` of the operator's Lease."""

    def __init__(
        self,
        pid: int,
        epoch: int,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.error: ProvisionError | None = None
        self.cut_off_since = monotonic()
        self.has_connected = False
        self.changed = asyncio.Event()
        """Set when a connection begins or ends, or the process has ended."""
        self.stdin = self
        self.stdout = asyncio.StreamReader(limit=LONGEST_LINE_BYTES)
        self._epoch = epoch
        self._monotonic = monotonic
        self._sleep = sleep
        self._session = secrets.token_hex(_SESSION_BYTES)
        self._channel = Channel()
        self._frames: list[bytes] = []
        self._to_send = asyncio.Event()
        self._is_confirming = False
        self.bytes_allowed = Allowance(_BYTES_PER_SECOND, _BYTES_AT_ONCE, monotonic)
        """Of all its connections together, as the lines are."""
        self._lines_allowed = Allowance(_LINES_PER_SECOND, _LINES_AT_ONCE, monotonic)
        self._complained_at: float | None = None
        self._newest: Socket | None = None
        self._socket: Socket | None = None
        self._is_closing = False
        self._ended = asyncio.Event()

    @property
    def is_connected(self) -> bool:
        return self._socket is not None

    @property
    def is_cut_off(self) -> bool:
        """Whether it had a connection and has none now."""
        return self.has_connected and self._socket is None and self.returncode is None

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        """Ends it at once as far as requests are concerned. `claim_pod` deletes its Job then."""
        self.end(-signal.SIGKILL)

    def end(self, code: int, error: ProvisionError | None = None) -> None:
        """The pod is gone, because of `error` unless it was told to end."""
        if self.returncode is None:
            self.returncode, self.error = code, error or self.error
            self.stdout.feed_eof()
            self._ended.set()
            self._to_send.set()
            self.changed.set()

    def write(self, line: bytes, /) -> None:
        """Sends a line now, or over the next connection."""
        frame = self._channel.pack(line)
        if self._socket:
            self._frames.append(frame)
            self._to_send.set()
        if self._channel.unconfirmed_bytes > _MOST_UNCONFIRMED_BYTES:
            self.kill()

    async def drain(self) -> None:
        """Returns at once: a pod that is cut off may take its requests in minutes."""

    def close(self) -> None:
        """Tells the worker to end. Without a connection nothing is told, and it is killed after a while."""
        self._is_closing = True
        self._to_send.set()

    def is_closing(self) -> bool:
        return self._is_closing

    def complain(self, what: str) -> None:
        """Logs what the pod did wrong, once a minute at most."""
        now = self._monotonic()
        if self._complained_at is None or now - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = now
            _LOG.warning("%s; more of it is not logged for a minute", what)

    async def serve(self, socket: Socket, hello: Hello, greet: Callable[[Welcome], Awaitable[None]]) -> None:
        """Carries frames until the connection ends. `greet` sends the answer to `hello`.

        A new connection replaces the one before, which may be cut without the operator having noticed.
        Raises ValueError if the pod breaks the protocol.
        """
        self._newest = socket
        if before := self._socket:
            self._lose(before)
            await before.close()
        if not self._is_wanted(socket):
            return
        is_same = hello.session == self._session
        if not is_same and self._channel.received:
            self.end(-signal.SIGKILL, WorkerLost("the worker pod was started anew; what it had written is kept"))
            return
        await greet(Welcome(self._session, self._epoch, self._channel.received))
        if not self._is_wanted(socket):
            return
        self._frames = self._channel.resume(hello.received if is_same else 0)
        self._socket = socket
        self.has_connected = True
        self._to_send.set()
        self.changed.set()
        sending = asyncio.create_task(self._send(socket))
        receiving = asyncio.create_task(self._receive(socket))
        try:
            await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._lose(socket)  # first: aiohttp cancels this task, perhaps for a second time, when the connection ends
            await cancel_and_wait(sending, receiving)
        for task in (sending, receiving):
            if not task.cancelled() and isinstance(error := task.exception(), ValueError):
                raise error

    def _is_wanted(self, socket: Socket) -> bool:
        """Whether the pod lives, and has not connected again since."""
        return self.returncode is None and self._newest is socket

    def _lose(self, socket: Socket) -> None:
        if self._socket is not socket:
            return
        self._socket = None
        self._frames = []
        self.cut_off_since = self._monotonic()
        self.changed.set()
        if self._is_closing:
            self.end(0)

    async def _receive(self, socket: Socket) -> None:
        while isinstance(message := await socket.receive(), bytes) and self._socket is socket:
            line, is_numbered = self._channel.unpack(message)
            if is_numbered:
                self._is_confirming = True
                self._to_send.set()
            if line:
                self._feed(line)
            if delay := self._lines_allowed.delay(1):
                await self._sleep(delay)  # it is not read meanwhile, so that it can't send either

    def _feed(self, line: bytes) -> None:
        """Passes one line on. Raises ValueError if it is not one."""
        if line.find(b"\n") != len(line) - 1:
            raise ValueError("an answer is not one line")
        self.stdout.feed_data(line)

    async def _send(self, socket: Socket) -> None:
        with contextlib.suppress(ConnectionError):  # the receiver sees it too
            while True:
                await self._to_send.wait()
                self._to_send.clear()
                frames, self._frames = self._frames, []
                if self._is_confirming and not frames:
                    frames = [self._channel.confirmation()]
                self._is_confirming = False
                for frame in frames:
                    await socket.send_frame(frame)
                if self.returncode is not None:
                    return
                if self._is_closing:
                    await socket.send_text(END)
