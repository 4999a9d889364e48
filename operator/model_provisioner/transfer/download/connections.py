"""The connections of one download: how many there are, what each asks for, and what is done when one fails.

A connection takes range after range. There is always at least one while bytes are missing; more are opened while that
makes the download faster (`domain.download.concurrency`). A connection that fails tries again, leaves its work to the
others if they go on, or ends the download if it is the last. What becomes of the bytes is the download's.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.download.concurrency import ConnectionScaler
from model_provisioner.domain.download.ranges import MIB, SMALLEST_RANGE, next_range, range_size
from model_provisioner.domain.download.spans import Spans
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
from model_provisioner.transfer.download.range_request import STALL_SECONDS, RangeRequest, RangeRequests
from model_provisioner.transfer.download.remote_file import RangesNotSupported, RemoteFile
from model_provisioner.transfer.download.throttle import Limits
from model_provisioner.transfer.http.client import Reply

_MAX_ATTEMPTS = 3
_MIN_PARALLEL_BYTES = 64 * MIB
_WATCH_SECONDS = 1.0
_GRACE_SECONDS = 15 * 60.0
_MAX_PAUSE_SECONDS = 30.0  # for a longer one, the place is given to another download
_TRANSIENT = (SourceUnavailable, TransferStalled)  # for anything else, waiting a second or two does not help
_REFUSALS = (AccessDenied, LicenseNotAccepted, SourceNotFound)
_CONNECTION_ERRORS = (*_TRANSIENT, *_REFUSALS, RateLimited, NameResolutionFailed)


class Target(Protocol):
    """Where the bytes go."""

    size: int

    @property
    def written(self) -> Spans:
        """What nobody need ask for."""

    async def receive(self, body: "RangeBody") -> None:
        """Takes bytes until `body` ends; all that came is in `written` when it returns."""

    def tick(self) -> None:
        """A second has passed, whether bytes came or not."""


class RangeBody:
    """The bytes that one connection receives for its range, in order.

    `on_received` is called with the size in bytes of each chunk.
    """

    def __init__(self, reply: Reply, request: RangeRequest, clock: Clock, on_received: Callable[[int], None]) -> None:
        self._reply = reply
        self._request = request
        self._clock = clock
        self._on_received = on_received

    @property
    def position(self) -> int:
        """The offset in the file of the byte that comes next."""
        return self._request.position

    async def read(self, max_bytes: int | None) -> bytes:
        """The next bytes, at most about `max_bytes`; b"" at the end of the range or of the reply.

        Bytes after the end of the range are dropped: another connection may have taken over the end of it.
        Raises SourceUnavailable if more bytes come than the request asked for, and what `Reply.read` raises.
        """
        request = self._request
        if request.done:
            return b""
        request.begin_wait(self._clock.monotonic())
        chunk = await self._reply.read(max_bytes)
        request.end_wait(self._clock.monotonic(), len(chunk))
        if request.position + len(chunk) > request.asked.stop:
            raise SourceUnavailable(f"{self._reply.origin} sends more than it was asked for")
        chunk = chunk[: max(0, request.stop - request.position)]
        request.position += len(chunk)
        if chunk:
            self._on_received(len(chunk))
        return chunk


class ConnectionPool:
    """`run` brings what `target` lacks. With `whole_file` the file is asked for as a whole, by one connection."""

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
        self._requests = RangeRequests()
        self._running = 0
        self._received = 0
        self._first_byte_seconds = 0.0
        self._refused_since: float | None = None
        self._tasks = asyncio.TaskGroup()

    @property
    def running(self) -> int:
        return self._running

    async def run(self) -> None:
        """Raises what can't be waited for: the error of the last connection, or of the volume."""
        try:
            async with self._watching(), self._tasks:
                self._open_connections()
        except BaseExceptionGroup as group:
            raise most_severe(group) from None

    def allow_parallel(self) -> None:
        """The file is what it should be: large ranges, and more than one connection, are worth it from now on."""
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
        self._scaler = self._scaler.observe(self._now, self._received, self._max_connections, self._first_byte_seconds)
        self._open_connections()

    def _open_connections(self) -> None:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            return  # all connections are being stopped
        while self._running < self._scaler.wanted and (request := self._next_request()):
            self._running += 1
            self._tasks.create_task(self._connection(request))

    async def _connection(self, first: RangeRequest) -> None:
        """One connection: range after range, until nobody needs more or fewer connections do as well."""
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
                        self._scaler = self._scaler.refused(self._now)
                        return
                    await self._clock.sleep(self._pause(error, failures))
                request = self._next_request() if self._running <= self._scaler.wanted else None
        finally:
            self._running -= 1

    def _next_request(self) -> RangeRequest | None:
        target = self._target
        wanted = next_range(target.written, self._requests.ranges, target.size, self._max_range_bytes)
        wanted = wanted or self._requests.take_tail(self._now)
        if wanted is None:
            return None
        request = RangeRequest.of(wanted, self._now)
        self._requests.add(request)
        return request

    @property
    def _max_range_bytes(self) -> int:
        """The header comes in a small range of its own, because the file may turn out to be nothing of ours."""
        if self._whole_file:
            return self._target.size
        if not self._parallel_allowed:
            return SMALLEST_RANGE
        return range_size(self._target.size - self._target.written.total, self._scaler.wanted)

    async def _fetch(self, request: RangeRequest) -> None:
        try:
            async with asyncio.timeout(None) as request.timeout:
                await self._receive(request)
        except TimeoutError:
            if not request.done:
                raise TransferStalled(
                    f"the source of {self._remote.subject} sent too little for too long "
                    f"({STALL_SECONDS:.0f} seconds of silence, or far less than on other connections)"
                ) from None
        finally:
            request.timeout = None
            self._requests.end(request, self._now)

    async def _receive(self, request: RangeRequest) -> None:
        asked = self._now
        request.begin_wait(asked)
        async with await self._remote.get(request.asked) as reply:
            request.end_wait(self._now, 0)
            self._first_byte_seconds = self._now - asked
            await self._target.receive(RangeBody(reply, request, self._clock, self._count_received))
        if not request.done:
            missing = request.stop - request.position
            raise SourceUnavailable(f"{reply.origin} ended the connection {missing} bytes early")

    def _can_close(self, error: ProvisionError, failures: int) -> bool:
        """Whether the others go on without this one: at once if the source refuses it, else after some failures."""
        passing = isinstance(error, _TRANSIENT) and error.retry_after is None
        return self._running > 1 and self._requests.any_received and (failures >= _MAX_ATTEMPTS or not passing)

    def _pause(self, error: ProvisionError, failures: int) -> float:
        """Seconds until the next try. Raises `error` where there is none."""
        if isinstance(error, _REFUSALS) and self._received:
            self._raise_after_grace(error)
        elif (
            not isinstance(error, _TRANSIENT)
            or failures >= _MAX_ATTEMPTS
            or (error.retry_after or 0) > _MAX_PAUSE_SECONDS
        ):
            raise error
        retry_after = error.retry_after if isinstance(error, Retryable) else None
        return delay(failures, retry_after, self._clock.random())

    def _raise_after_grace(self, error: ProvisionError) -> None:
        """Who was given bytes a moment ago may be refused by mistake, and loses hours if that is believed at once."""
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
    """Of several tasks' errors the one to act on: what can't be mended before what may pass."""
    return min(
        group.exceptions, key=lambda error: (isinstance(error, Retryable), isinstance(error, RangesNotSupported))
    )
