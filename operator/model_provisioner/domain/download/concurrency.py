"""Decides how many connections a download uses: the fewest that reach the highest rate.

`transfer.download.requests.connections` reports received bytes and refused connections, and opens or closes connections
to match `wanted`. On a fast link one connection is enough and more only cost memory; if the hub limits each connection,
more connections bring more bytes. The limits are not known in advance, so higher counts are tried and measured, unless
the rate is so high that this machine is the limit. On a far path TCP limits each connection: its rate falls with the
round-trip time and with each lost packet (RFC 9438, 5.1). There all allowed connections are opened at once, because a
measurement of a few round trips would take seconds and mostly show which packets were lost.
"""

import math
from dataclasses import dataclass, replace
from enum import Enum

_MIN_GAIN = 0.15  # of the rate, for twice as many connections
_LINEAR = 0.75  # of the rate that as many connections would have if each brought as much
_COLLAPSE = 0.5
_MODEST_RATE = 100 * 1024 * 1024  # bytes per second; below it, the first trial is of all allowed connections
_OF_BANDWIDTH = 0.9  # of a bandwidth limit: it is met
_FAR_SECONDS = 0.02  # of round-trip time
_ENOUGH_RATE = 400 * 1024 * 1024  # bytes per second; a processor hashes about three times that, and also moves them
_SETTLE_SECONDS = 0.06
_MEASURE_SECONDS = 0.15
_FIRST_BYTES = 4  # a window is at least this many times the wait for a first byte, so that TCP reaches full speed
_HOLD_SECONDS = 2.0
_MAX_HOLD_SECONDS = 60.0


class _Phase(Enum):
    SETTLING = "settling"
    MEASURING = "measuring"
    HOLDING = "holding"


@dataclass(frozen=True, slots=True)
class ConnectionScaler:
    """The state of the search; `wanted` is the number of connections to use now.

    `ceiling` is the number that the source accepts, as far as known. `far`: the path is long, so all that are allowed
    are used. Times are in seconds on one monotonic clock, rates
    in bytes per second. The present phase ends at `_until`. The measuring window began at `_window_start` with
    `_window_bytes` received. `_baseline` is the smaller count and its rate, which the present count must beat; None if
    nothing is compared. `_best` is the rate at the last hold, `_hold` is how long the next hold lasts, and `_limit` is
    the last `limit` of `observe`.
    """

    wanted: int = 1
    ceiling: int = 16
    far: bool = False
    _phase: _Phase = _Phase.SETTLING
    _until: float = 0.0
    _window_start: float = 0.0
    _window_bytes: int = 0
    _baseline: tuple[int, float] | None = None
    _best: float = 0.0
    _hold: float = _HOLD_SECONDS
    _limit: int = 16

    @property
    def trying(self) -> bool:
        """Whether the present number is on trial: some of the connections may be closed soon."""
        return self._baseline is not None

    def at_distance(self, round_trip: float) -> "ConnectionScaler":
        """The scaler for a source at `round_trip` seconds. May change at any time."""
        return replace(self, far=round_trip >= _FAR_SECONDS)

    def observe(
        self, now: float, received: int, limit: int, first_byte: float, bandwidth: int | None = None
    ) -> "ConnectionScaler":
        """The scaler at time `now`.

        `received` is the number of bytes received so far, `limit` the highest number of connections that is allowed,
        `first_byte` the time from a request to its first byte in seconds, and `bandwidth` the limit of all connections
        together in bytes per second, if there is one.
        """
        if limit != self._limit:
            return self._limited(limit, bandwidth)._settle(now, first_byte)
        if now < self._until:
            return self
        match self._phase:
            case _Phase.SETTLING | _Phase.HOLDING:
                return self._measure(now, received, first_byte)
            case _Phase.MEASURING:
                rate = (received - self._window_bytes) / (now - self._window_start)
                return self._judge(now, rate, first_byte, bandwidth)

    def _limited(self, limit: int, bandwidth: int | None) -> "ConnectionScaler":
        allowed = min(limit, self.ceiling)
        wanted = allowed if self.far and bandwidth is None else min(self.wanted, limit)
        return replace(self, wanted=wanted, _baseline=None, _hold=_HOLD_SECONDS, _limit=limit)

    def may_open(self, opened: int, begun: int) -> bool:
        """Whether to open one more connection if `opened` are open and bytes have come on `begun` of them.

        On a near path each that works lets one more open, so that a source that refuses more is asked once.
        """
        return opened < (self.wanted if self.far else min(self.wanted, max(1, 2 * begun)))

    def refused(self, now: float, opened: int = 16) -> "ConnectionScaler":
        """The scaler after the source refused one of `opened` connections: one less is wanted, more are tried later."""
        fewer = max(1, min(self.wanted, opened) - 1)
        return replace(self._holding(now, fewer, self._best), ceiling=fewer)

    def _judge(self, now: float, rate: float, first_byte: float, bandwidth: int | None) -> "ConnectionScaler":
        if self._baseline is not None:
            useful = self._useful(rate, *self._baseline)
            if useful < self.wanted:
                return self._holding(now, useful, rate)
        elif self.wanted > 1 and rate < self._best * _COLLAPSE and not self.far:
            return replace(self, wanted=self.wanted // 2, _hold=_HOLD_SECONDS)._settle(now, first_byte)
        elif rate >= min(_ENOUGH_RATE, (bandwidth or _ENOUGH_RATE) * _OF_BANDWIDTH):
            return self._holding(now, self.wanted, rate)
        more = min(self._limit, self.ceiling, self._next_count(rate))
        if more <= self.wanted:
            return replace(self, _hold=_HOLD_SECONDS)._holding(now, self.wanted, rate)
        return replace(self, wanted=more, _baseline=(self.wanted, rate))._settle(now, first_byte)

    def _next_count(self, rate: float) -> int:
        """The count to try next: all, if one brings little and no trial has failed; else twice as many."""
        untried = self._best == 0.0
        return self._limit if untried and rate < _MODEST_RATE * self.wanted else self.wanted * 2

    def _useful(self, rate: float, fewer: int, fewer_rate: float) -> int:
        """How many of the present connections pay, if `fewer` reached `fewer_rate` and all of them reach `rate`.

        If each brings as much as before, all; if the line is full, as many as fill it.
        """
        gain = rate / max(fewer_rate, 1.0)
        if gain >= _LINEAR * self.wanted / fewer:
            return self.wanted
        return max(fewer, min(self.wanted, math.ceil(fewer * (gain - _MIN_GAIN))))

    def _settle(self, now: float, first_byte: float) -> "ConnectionScaler":
        return replace(self, _phase=_Phase.SETTLING, _until=now + max(_SETTLE_SECONDS, _FIRST_BYTES * first_byte))

    def _measure(self, now: float, received: int, first_byte: float) -> "ConnectionScaler":
        until = now + max(_MEASURE_SECONDS, _FIRST_BYTES * first_byte)
        ceiling = self.ceiling * 2 if self._phase is _Phase.HOLDING else self.ceiling
        return replace(
            self, ceiling=ceiling, _phase=_Phase.MEASURING, _until=until, _window_start=now, _window_bytes=received
        )

    def _holding(self, now: float, wanted: int, rate: float) -> "ConnectionScaler":
        """Stays at `wanted` for a while. Each hold without a gain in between doubles the time until the next try."""
        return replace(
            self,
            wanted=wanted,
            _phase=_Phase.HOLDING,
            _until=now + self._hold,
            _baseline=None,
            _best=rate,
            _hold=min(self._hold * 2, _MAX_HOLD_SECONDS),
        )
