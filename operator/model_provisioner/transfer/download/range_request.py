"""A request for a range of a file (RFC 9110, section 14) on one connection, and whether its bytes come.

Made, changed and ended by `connections` alone; nothing here reads from a connection.
"""

import asyncio
from dataclasses import dataclass, field
from statistics import median

from model_provisioner.domain.download.ranges import ByteRange, tail_to_give
from model_provisioner.domain.lifecycle.speed import Meter

STALL_SECONDS = 30.0
_MIN_BYTES = 30 * 1024  # within STALL_SECONDS of waiting: 1 KiB/s is slow, less is not a transfer
_SLOW_FRACTION = 0.1
_SLOW_SECONDS = 5.0
_RATE_MEMORY_SECONDS = 10.0


@dataclass(eq=False, slots=True)
class RangeRequest:
    """The bytes from `asked.start` up to `stop`, of which everything before `position` has come.

    Times are in seconds of the monotonic clock. Only time in which the connection owes us something counts
    as waiting: not that in which we are busy, or hold back because of a limit.
    """

    asked: ByteRange
    started_at: float
    meter: Meter
    stop: int = field(init=False)
    position: int = field(init=False)
    timeout: asyncio.Timeout | None = None
    _waiting_since: float | None = None
    _waited: float = 0.0
    _received: int = 0

    def __post_init__(self) -> None:
        self.position, self.stop = self.asked.start, self.asked.stop

    @classmethod
    def of(cls, asked: ByteRange, now: float) -> "RangeRequest":
        return cls(asked, now, Meter(now, 0))

    @property
    def range(self) -> ByteRange | None:
        """What nobody else need ask for; None where its tail was given away up to where it stands."""
        return ByteRange(self.asked.start, self.stop) if self.stop > self.asked.start else None

    @property
    def has_received(self) -> bool:
        return self.position > self.asked.start

    @property
    def has_progressed(self) -> bool:
        """Is this a transfer, however slow, and not a trickle?"""
        return self.done or self.position - self.asked.start >= _MIN_BYTES

    @property
    def done(self) -> bool:
        return self.position >= self.stop

    @property
    def rate(self) -> float:
        """Bytes per second as of the last measurement."""
        return self.meter.rate or 0.0

    def begin_wait(self, now: float) -> None:
        self._waiting_since = now

    def end_wait(self, now: float, size: int) -> None:
        """`size` bytes have come, or an answer's header (0)."""
        if self._waiting_since is not None:
            self._waited += now - self._waiting_since
        self._waiting_since = None
        self._received += size
        if self._received >= _MIN_BYTES:
            self._waited, self._received = 0.0, 0

    def measure_rate(self, now: float) -> None:
        """Once in a while, for `rate` to be of late."""
        self.meter = self.meter.observe(now, self.position - self.asked.start)

    def stalled(self, now: float) -> bool:
        """Has there been so much waiting for so little that nothing more can be expected?"""
        waiting = now - self._waiting_since if self._waiting_since is not None else 0.0
        return self._waited + waiting >= STALL_SECONDS

    def cancel_wait(self) -> None:
        """Ends the wait for the connection, with a TimeoutError where `timeout` is entered. What has come is kept."""
        if self.timeout is not None and self._waiting_since is not None:
            self.timeout.reschedule(asyncio.get_running_loop().time())


class RangeRequests:
    """All claims of one file."""

    def __init__(self) -> None:
        self._open: set[RangeRequest] = set()
        self._recent_rates: list[tuple[float, float]] = []

    @property
    def ranges(self) -> list[ByteRange]:
        return [request.range for request in self._open if request.range]

    def add(self, request: RangeRequest) -> None:
        self._open.add(request)

    def end(self, request: RangeRequest, now: float) -> None:
        """Its rate stays known for a while, for the last ones to be compared with."""
        request.measure_rate(now)
        self._open.discard(request)
        self._recent_rates = [
            *(item for item in self._recent_rates if now - item[0] < _RATE_MEMORY_SECONDS),
            (now, request.rate),
        ]

    @property
    def any_received(self) -> bool:
        """Have bytes come on any of them?"""
        return any(request.has_received for request in self._open)

    def take_tail(self, now: float) -> ByteRange | None:
        """The end of the range that would take longest, taken away from it; None where all will be done soon."""
        self._measure_rates(now)
        slowest = max(
            self._open, key=lambda request: (request.stop - request.position) / max(request.rate, 1.0), default=None
        )
        if slowest is None or now - slowest.started_at < _SLOW_SECONDS / 2:
            return None
        cut = tail_to_give(slowest.position, slowest.stop, slowest.rate, median(request.rate for request in self._open))
        if cut is None:
            return None
        tail = ByteRange(cut, slowest.stop)
        slowest.stop = cut
        return tail

    def cancel_stalled(self, now: float) -> None:
        """Gives up connections that stall, that are far slower than the others, or whose bytes others fetch."""
        self._measure_rates(now)
        for request in tuple(self._open):
            if request.stalled(now) or request.done or self._is_far_slower(request, now):
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
            and now - request.started_at >= _SLOW_SECONDS
            and request.rate < median(others) * _SLOW_FRACTION
        )
