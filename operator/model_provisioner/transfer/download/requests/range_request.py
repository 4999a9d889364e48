"""A request for a range of a file (RFC 9110, section 14) on one connection, and whether its bytes arrive fast enough.

Made, changed and ended by `connections` alone. Nothing here reads from a connection.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from model_provisioner.domain.download.ranges import LARGEST_RANGE, SOON_SECONDS, ByteRange, split_position
from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.lifecycle.speed import Meter

STALL_SECONDS = 30.0
_MIN_BYTES = 30 * 1024  # within STALL_SECONDS of waiting: a connection with less than 1 KiB/s is stalled
_SLOW_FRACTION = 0.1  # of the median rate of the other requests
_SLOW_SECONDS = 5.0
_TAIL_SECONDS = 1.5  # until the rate of a request says when it would end
_RATE_MEMORY_SECONDS = 10.0


@dataclass(eq=False, slots=True)
class RangeRequest:
    """The bytes from `asked.start` up to `stop`; those before `position` are received.

    `stop` falls below `asked.stop` when another connection takes over the tail. `timeout` is the one of the task that
    receives the range, while it does. `origin` is where the newest request was sent to, and `begun` is True from the
    first byte of the body on. Times are in seconds of the monotonic clock. Only the time in which this process waits
    for the connection counts as waiting, not the time for writing or for a bandwidth limit.
    """

    asked: ByteRange
    started_at: float
    meter: Meter
    stop: int = field(init=False)
    position: int = field(init=False)
    timeout: asyncio.Timeout | None = None
    origin: str = ""
    begun: bool = False
    _measured_since: float = field(init=False)
    _waiting_since: float | None = None
    _waited: float = 0.0
    _received: int = 0

    def __post_init__(self) -> None:
        self.position, self.stop = self.asked.start, self.asked.stop
        self._measured_since = self.started_at

    @classmethod
    def of(cls, asked: ByteRange, now: float) -> "RangeRequest":
        return cls(asked, now, Meter(now, 0))

    @property
    def range(self) -> ByteRange | None:
        """The bytes that no other connection should request; None if the whole range was taken over."""
        return ByteRange(self.asked.start, self.stop) if self.stop > self.asked.start else None

    @property
    def has_received(self) -> bool:
        return self.position > self.asked.start

    @property
    def has_progressed(self) -> bool:
        """Whether it received enough for a slow but working connection: everything, or 30 KiB."""
        return self.done or self.position - self.asked.start >= _MIN_BYTES

    @property
    def done(self) -> bool:
        return self.position >= self.stop

    @property
    def rate(self) -> float:
        """Bytes per second at the last measurement."""
        return self.meter.rate or 0.0

    def sent(self, origin: str, now: float) -> None:
        """A request was sent to `origin`; after a redirect, this is called again."""
        self.origin, self._waited, self._waiting_since = origin, 0.0, now

    def begin_wait(self, now: float) -> None:
        self._waiting_since = now

    def end_wait(self, now: float, size: int) -> None:
        """The wait ended with `size` bytes; 0 for the header of the response."""
        if self._waiting_since is not None:
            self._waited += now - self._waiting_since
        self._waiting_since = None
        if size and not self.begun:
            self.begun, self._waited = True, 0.0
            self._measured_since, self.meter = now, Meter(now, 0)
        self._received += size
        if self._received >= _MIN_BYTES:
            self._waited, self._received = 0.0, 0

    def age(self, now: float) -> float:
        """The time since the first byte of the body; before it, since the start."""
        return now - self._measured_since

    def measure_rate(self, now: float) -> None:
        """Updates `rate`. Called about once a second."""
        self.meter = self.meter.observe(now, self.position - self.asked.start)

    def stalled(self, now: float, response_timeout: float) -> bool:
        """Whether it waited `response_timeout` seconds for its first byte, or later 30 seconds for less than 30 KiB."""
        if not self.begun:
            return self.silence(now) >= response_timeout
        return self._waited + self.silence(now) >= STALL_SECONDS

    def silence(self, now: float) -> float:
        """How long it has waited since the last byte, or since the request was sent; 0 if it does not wait."""
        if self._waiting_since is None:
            return 0.0
        return now - self._waiting_since + (0.0 if self.begun else self._waited)

    def cancel_wait(self) -> None:
        """Raises TimeoutError in the task that waits for the connection, if one waits. Received bytes are kept.

        After a pause of the whole process, the task may not have learnt of the call before, and there is nothing to do.
        """
        if self.timeout is not None and self._waiting_since is not None and not self.timeout.expired():
            self.timeout.reschedule(asyncio.get_running_loop().time())


class RangeRequests:
    """All open requests for one file. Belongs to the connection pool, which alone calls it.

    `response_timeout` is how long a request may wait for its first byte. `first_byte_seconds` is how long the newest
    answer took to begin. A request that waits for its answer is not called slow before twice that time.
    """

    def __init__(self, response_timeout: float) -> None:
        self._response_timeout = response_timeout
        self.first_byte_seconds = 0.0
        self._open: set[RangeRequest] = set()
        self._recent_rates: list[tuple[float, float]] = []

    @property
    def ranges(self) -> list[ByteRange]:
        return [request.range for request in self._open if request.range]

    def add(self, request: RangeRequest) -> None:
        self._open.add(request)

    def end(self, request: RangeRequest, now: float) -> None:
        """Remembers the rate for ten seconds, so that the last open requests have something to be compared with."""
        request.measure_rate(now)
        self._open.discard(request)
        self._recent_rates = [
            *(item for item in self._recent_rates if now - item[0] < _RATE_MEMORY_SECONDS),
            (now, request.rate),
        ]

    def begun(self, request: RangeRequest, now: float) -> None:
        """The first byte of `request` has come."""
        self.first_byte_seconds = now - request.started_at

    def wait(self, now: float) -> Wait | None:
        """What all open requests wait for; None if one of them does not."""
        newest = min(self._open, key=lambda request: request.silence(now), default=None)
        return Wait.of(newest.origin, newest.silence(now), begun=newest.begun) if newest else None

    @property
    def begun_count(self) -> int:
        """On how many open requests the first byte has come."""
        return sum(request.begun for request in self._open)

    @property
    def any_received(self) -> bool:
        """Whether an open request has received bytes."""
        return any(request.has_received for request in self._open)

    def take_tail(self, now: float, largest: int = LARGEST_RANGE, soon: float = SOON_SECONDS) -> ByteRange | None:
        """Takes the tail away from the request that would end last; None if all end in `soon` seconds.

        Returns the first `largest` bytes of it. The others are for further idle connections.
        """
        self._measure_rates(now)
        slowest = max(
            self._open, key=lambda request: (request.stop - request.position) / max(request.rate, 1.0), default=None
        )
        if slowest is None or self._is_early(slowest, now, _TAIL_SECONDS):
            return None
        cut = split_position(
            slowest.position, slowest.stop, slowest.rate, _median(request.rate for request in self._open), soon
        )
        if cut is None:
            return None
        tail = ByteRange(cut, min(slowest.stop, cut + largest))
        slowest.stop = cut
        return tail

    def cancel_stalled(self, now: float) -> None:
        """Cancels requests that stall, that are far slower than the others, or whose rest was taken over."""
        self._measure_rates(now)
        for request in tuple(self._open):
            if request.stalled(now, self._response_timeout) or request.done or self._is_far_slower(request, now):
                request.cancel_wait()

    def _measure_rates(self, now: float) -> None:
        for request in self._open:
            request.measure_rate(now)

    def _is_far_slower(self, request: RangeRequest, now: float) -> bool:
        others = [other.rate for other in self._open if other is not request]
        others += [
            rate
            for ended, rate in self._recent_rates
            if request.started_at < ended and now - ended < _RATE_MEMORY_SECONDS
        ]
        return (
            bool(others)
            and not self._is_early(request, now, _SLOW_SECONDS)
            and request.rate < _median(others) * _SLOW_FRACTION
        )

    def _is_early(self, request: RangeRequest, now: float, seconds: float) -> bool:
        """Whether it is too early to compare the rate of `request`, which is `seconds` old or less."""
        patience = 0.0 if request.begun else 2 * self.first_byte_seconds
        return request.age(now) < seconds + patience


def _median(rates: Iterable[float]) -> float:
    """Of at least one rate. `statistics` has the same, and takes as long to import as the modules of `download`."""
    ordered = sorted(rates)
    middle = len(ordered) // 2
    return (ordered[middle] + ordered[~middle]) / 2
