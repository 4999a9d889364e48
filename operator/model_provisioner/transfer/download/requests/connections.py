"""The connections of one download: how many are open, which range each requests, and what happens when one fails.

Called by `file_download`. A connection requests range after range. One is open while bytes are missing; more are
opened while `domain.download.concurrency` finds that they help. A connection that fails tries again, leaves its range
to the others, or ends the download if it is the last one. This module alone changes a `RangeRequest`; it neither
writes nor hashes bytes.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.download.concurrency import ConnectionScaler
from model_provisioner.domain.download.ranges import (
    FAR_SOON_SECONDS,
    FIRST_RANGE,
    MIB,
    SOON_SECONDS,
    ByteRange,
    next_range,
    range_size,
)
from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.errors import (
    AccessDenied,
    LicenseNotAccepted,
    NameResolutionFailed,
    ProvisionError,
    RateLimited,
    Retryable,
    SourceNotFound,
    SourceUnavailable,
    TransferStalled,
)
from model_provisioner.domain.lifecycle.backoff import delay
from model_provisioner.domain.network.response_time import no_answer
from model_provisioner.transfer.download.requests.attempts import MAX_ATTEMPTS, MAX_PAUSE_SECONDS
from model_provisioner.transfer.download.requests.range_request import STALL_SECONDS, RangeRequest, RangeRequests
from model_provisioner.transfer.download.requests.remote_file import RangeReply, RangesNotSupported, RemoteFile
from model_provisioner.transfer.download.requests.throttle import Limits

_MIN_PARALLEL_BYTES = 64 * MIB
_WATCH_SECONDS = 1.0
_GRACE_SECONDS = 15 * 60.0
_TRANSIENT = (SourceUnavailable, TransferStalled)  # for anything else, waiting a second or two does not help
_REFUSALS = (AccessDenied, LicenseNotAccepted, SourceNotFound)
_CONNECTION_ERRORS = (*_TRANSIENT, *_REFUSALS, RateLimited, NameResolutionFailed)


class Body(Protocol):
    """The bytes of a file that one connection receives, in order. `position` is the offset in the file of the next."""

    @property
    def position(self) -> int: ...

    async def read(self, max_bytes: int) -> bytes:
        """The next bytes, at most about `max_bytes`; b"" at the end."""


class Target(Protocol):
    """Takes the bytes of the file. `size` is that of the file, in bytes."""

    size: int

    @property
    def written(self) -> Spans:
        """The bytes that are in the file and need no request."""

    async def receive(self, body: Body) -> None:
        """Reads `body` to its end. When it returns, `written` has all bytes that were read."""

    async def pace(self, size: int) -> None:
        """Counts `size` received bytes that are not needed, and waits until they are within the bandwidth limit."""

    def tick(self) -> None:
        """Called once a second, whether bytes were received or not."""


class RangeBody:
    """The bytes that one connection receives for its range, in order.

    `on_begun` is called when the first byte has come, `on_received` with the size in bytes of each chunk of the range.
    """

    def __init__(
        self,
        answer: RangeReply,
        request: RangeRequest,
        clock: Clock,
        on_begun: Callable[[], None],
        on_received: Callable[[int], None],
    ) -> None:
        self._reply = answer.reply
        self._skip = answer.skip
        self._open_ended = answer.open_ended
        self._continues = answer.continues
        self._request = request
        self._clock = clock
        self._on_begun = on_begun
        self._on_received = on_received
        self._left_over = b""

    @property
    def position(self) -> int:
        """The offset in the file of the next byte."""
        return self._request.position

    async def skip(self, pace: Callable[[int], Awaitable[None]]) -> None:
        """Receives and drops the bytes before the range. `pace` is called with the size of each chunk."""
        while self._skip and (chunk := await self._receive(None)):
            dropped = min(self._skip, len(chunk))
            self._skip, self._left_over = self._skip - dropped, chunk[dropped:]
            await pace(dropped)

    async def read(self, max_bytes: int) -> bytes:
        """The next bytes, at most about `max_bytes`; b"" at the end of the range or of the reply.

        Bytes beyond the end of the range are dropped: another connection may have taken over the tail of the range.
        Raises SourceUnavailable if the source sends more bytes than were requested, and what `Reply.read` raises.
        """
        request = self._request
        if request.done or self._skip:
            return b""
        chunk = self._left_over or await self._receive(max_bytes)
        self._left_over = b""
        await self._check_end(request.position + len(chunk))
        chunk = chunk[: max(0, request.stop - request.position)]
        request.position += len(chunk)
        if chunk:
            self._on_received(len(chunk))
        return chunk

    async def _check_end(self, end: int) -> None:
        """Raises SourceUnavailable if the body has bytes beyond the requested range.

        Called before the last bytes are handed out, so that they are requested again and the error stays visible.
        """
        asked = self._request.asked
        if self._continues:
            return
        if end > asked.stop or (self._open_ended and end == asked.stop and await self._receive(None)):
            raise SourceUnavailable(
                f"{self._reply.origin} sends more than it was asked for: the file has another size there, "
                "or a proxy interferes"
            )

    async def _receive(self, max_bytes: int | None) -> bytes:
        self._request.begin_wait(self._clock.monotonic())
        chunk = await self._reply.read(max_bytes)
        first = bool(chunk) and not self._request.begun
        self._request.end_wait(self._clock.monotonic(), len(chunk))
        if first:
            self._on_begun()
        return chunk


class ConnectionPool:
    """Downloads the bytes that `target` lacks.

    `limits.connections` may change while `run` is active. With `whole_file`, one connection requests all bytes from the
    first missing one to the end of the file, and accepts a reply with the whole file.
    """

    def __init__(
        self, target: Target, remote: RemoteFile, limits: Limits, clock: Clock, *, whole_file: bool = False
    ) -> None:
        self._target = target
        self._remote = remote
        self._limits = limits
        self._clock = clock
        self._whole_file = whole_file
        self._parallel_allowed = False
        self._scaler = ConnectionScaler()
        self._requests = RangeRequests(remote.response_timeout)
        self._header_seconds = 0.0
        self._round_trip = math.inf
        self._running = 0
        self._received = 0
        self._refused_since: float | None = None
        self._tasks = asyncio.TaskGroup()

    @property
    def running(self) -> int:
        """The number of open connections."""
        return self._running

    @property
    def wait(self) -> Wait | None:
        """What the connections wait for, if no byte comes on any of them."""
        return self._requests.wait(self._now)

    async def run(self) -> None:
        """Returns when no byte is missing. Raises the error of the last connection, or the first error of `target`."""
        try:
            async with self._watching(), self._tasks:
                self._open_connections()
        except BaseExceptionGroup as group:
            raise most_severe(group) from None

    def allow_parallel(self) -> None:
        """From now on ranges may be large and several connections may be open: the file begins as a GGUF file.

        A header has up to some 10 MiB. To wait for its end would cost seconds on a far path.
        """
        self._parallel_allowed = True

    @property
    def _now(self) -> float:
        return self._clock.monotonic()

    @property
    def _max_connections(self) -> int:
        several = self._parallel_allowed and not self._whole_file and self._target.size >= _MIN_PARALLEL_BYTES
        return self._limits.connections if several else 1

    def _count_received(self, size: int) -> None:
        self._received += size
        self._refused_since = None
        self._scaler = self._scaler.observe(
            self._now, self._received, self._max_connections, self._header_seconds, self._limits.bytes_per_second
        )
        self._open_connections()

    def _open_connections(self) -> None:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            return  # all connections are being stopped
        while self._scaler.may_open(self._running, self._requests.begun_count) and (request := self._next_request()):
            self._running += 1
            self._tasks.create_task(self._connection(request))

    async def _connection(self, first: RangeRequest) -> None:
        """Requests range after range, until no byte is left to request or fewer connections are wanted."""
        request: RangeRequest | None = first
        failures = 0
        try:
            while request:
                try:
                    await self._fetch(request)
                    failures = 0
                except _CONNECTION_ERRORS as error:
                    progressed = request.has_progressed if isinstance(error, TransferStalled) else request.has_received
                    failures = 1 if progressed else failures + 1
                    if self._can_close(error, failures):
                        self._scaler = self._scaler.refused(self._now, self._running)
                        return
                    await self._clock.sleep(self._pause(error, failures))
                request = self._next_request() if self._running <= self._scaler.wanted else None
        finally:
            self._running -= 1

    def _next_request(self) -> RangeRequest | None:
        target = self._target
        size = self._max_range_bytes
        wanted = next_range(target.written, self._requests.ranges, target.size, size)
        wanted = wanted or self._requests.take_tail(
            self._now, size, FAR_SOON_SECONDS if self._scaler.far else SOON_SECONDS
        )
        if wanted is None:
            return None
        if self._whole_file:
            wanted = ByteRange(wanted.start, target.size)
        request = RangeRequest.of(wanted, self._now)
        self._requests.add(request)
        return request

    @property
    def _max_range_bytes(self) -> int:
        """Until its first bytes are checked, ranges are small: the file may not be a GGUF file.

        So are those of connections on trial, which end with their range if they don't help.
        """
        if self._whole_file:
            return self._target.size
        if not self._parallel_allowed:
            return FIRST_RANGE
        size = range_size(self._target.size - self._target.written.total, self._scaler.wanted)
        return min(size, FIRST_RANGE) if self._scaler.trying else size

    async def _fetch(self, request: RangeRequest) -> None:
        try:
            async with asyncio.timeout(None) as request.timeout:
                await self._receive(request)
        except TimeoutError:
            if not request.done:
                raise self._stalled_error(request) from None
        finally:
            request.timeout = None
            self._requests.end(request, self._now)

    def _stalled_error(self, request: RangeRequest) -> TransferStalled:
        if request.stalled(self._now, self._remote.response_timeout) and not request.begun:
            return no_answer(request.origin, self._remote.response_timeout)
        return TransferStalled(
            f"the source of {self._remote.subject} sent too little for too long "
            f"({STALL_SECONDS:.0f} seconds of silence, or far less than on other connections)"
        )

    async def _receive(self, request: RangeRequest) -> None:
        asked = self._now
        answer = await self._remote.get(
            request.asked,
            allow_whole=self._whole_file,
            on_request=lambda origin: request.sent(str(origin), self._now),
        )
        async with answer.reply as reply:
            request.end_wait(self._now, 0)
            self._header_seconds = self._now - asked
            self._round_trip = min(self._round_trip, reply.round_trip)
            self._scaler = self._scaler.at_distance(self._round_trip)
            body = RangeBody(
                answer, request, self._clock, lambda: self._requests.begun(request, self._now), self._count_received
            )
            await body.skip(self._target.pace)
            await self._target.receive(body)
        if not request.done:
            missing = request.stop - request.position
            raise SourceUnavailable(f"{reply.origin} ended the connection {missing} bytes early")

    def _can_close(self, error: ProvisionError, failures: int) -> bool:
        """Whether the others go on without this one: after three failures, at once if the error is not transient."""
        passing = isinstance(error, _TRANSIENT) and error.retry_after is None
        return self._running > 1 and self._requests.any_received and (failures >= MAX_ATTEMPTS or not passing)

    def _pause(self, error: ProvisionError, failures: int) -> float:
        """Seconds until the next attempt. Raises `error` if there is none."""
        if isinstance(error, _REFUSALS) and self._received:
            self._raise_after_grace(error)
        elif (
            not isinstance(error, _TRANSIENT)
            or failures >= MAX_ATTEMPTS
            or (error.retry_after or 0) > MAX_PAUSE_SECONDS
        ):
            raise error
        retry_after = error.retry_after if isinstance(error, Retryable) else None
        return delay(failures, retry_after, self._clock.random())

    def _raise_after_grace(self, error: ProvisionError) -> None:
        """Raises `error` if the source has refused for 15 minutes.

        A source that sent bytes before may refuse by mistake. To give up at once could cost hours of downloading.
        """
        if self._refused_since is None:
            self._refused_since = self._now
        if self._now - self._refused_since >= _GRACE_SECONDS:
            raise error

    @contextlib.asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        watch = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(_WATCH_SECONDS)
            self._requests.cancel_stalled(self._now)
            self._target.tick()


def most_severe(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error of several tasks to act on: a permanent error before one that may pass."""
    return min(
        group.exceptions, key=lambda error: (isinstance(error, Retryable), isinstance(error, RangesNotSupported))
    )
