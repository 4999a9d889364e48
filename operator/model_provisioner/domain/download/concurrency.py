"""Decides how many connections a download uses: the fewest that reach the highest rate.

`transfer.download.connections` reports received bytes and refused connections, and opens or closes connections to match
`wanted`. On a fast link one connection is enough and more only cost memory; if the hub limits each connection, more
connections bring more bytes. The limits are not known in advance, so higher counts are tried and measured, unless the
rate is so high that this machine is the limit.
"""

from dataclasses import dataclass, replace
from enum import Enum

_MIN_GAIN = 0.15  # of the rate, for twice as many connections
_COLLAPSE = 0.5
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

    `ceiling` is the number that the source accepts, as far as known. Times are in seconds on one monotonic clock, rates
    in bytes per second. The present phase ends at `_until`. The measuring window began at `_window_start` with
    `_window_bytes` received. `_baseline` is the smaller count and its rate, which the present count must beat; None if
    nothing is compared. `_best` is the rate at the last hold, `_hold` is how long the next hold lasts, and `_limit` is
    the last `limit` of `observe`.
    """

    wanted: int = 1
    ceiling: int = 16
    _phase: _Phase = _Phase.SETTLING
    _until: float = 0.0
    _window_start: float = 0.0
    _window_bytes: int = 0
    _baseline: tuple[int, float] | None = None
    _best: float = 0.0
    _hold: float = _HOLD_SECONDS
    _limit: int = 16

    def observe(self, now: float, received: int, limit: int, first_byte: float) -> "ConnectionScaler":
        """The scaler at time `now`.

        `received` is the number of bytes received so far, `limit` the highest number of connections that is allowed,
        and `first_byte` the time from a request to its first byte, in seconds.
        """
        if limit != self._limit:
            changed = replace(self, wanted=min(self.wanted, limit), _baseline=None, _hold=_HOLD_SECONDS, _limit=limit)
            return changed._settle(now, first_byte)
        if now < self._until:
            return self
        match self._phase:
            case _Phase.SETTLING | _Phase.HOLDING:
                return self._measure(now, received, first_byte)
            case _Phase.MEASURING:
                return self._judge(now, (received - self._window_bytes) / (now - self._window_start), first_byte)

    def refused(self, now: float) -> "ConnectionScaler":
        """The scaler after the source refused a connection: one less is wanted, and more are tried later."""
        fewer = max(1, self.wanted - 1)
        return replace(self._holding(now, fewer, self._best), ceiling=fewer)

    def _judge(self, now: float, rate: float, first_byte: float) -> "ConnectionScaler":
        if self._baseline is not None and rate < self._rate_to_beat(*self._baseline):
            return self._holding(now, *self._baseline)
        if self._baseline is None and self.wanted > 1 and rate < self._best * _COLLAPSE:
            return replace(self, wanted=self.wanted // 2, _hold=_HOLD_SECONDS)._settle(now, first_byte)
        if self._baseline is None and rate >= _ENOUGH_RATE:
            return self._holding(now, self.wanted, rate)
        more = min(self._limit, self.ceiling, self.wanted * 2)
        if more <= self.wanted:
            return replace(self, _hold=_HOLD_SECONDS)._holding(now, self.wanted, rate)
        return replace(self, wanted=more, _baseline=(self.wanted, rate))._settle(now, first_byte)

    def _rate_to_beat(self, fewer: int, rate: float) -> float:
        """The rate that the present count must reach to be kept, if `fewer` connections reached `rate`."""
        return rate * (1 + _MIN_GAIN * (self.wanted - fewer) / fewer)

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
