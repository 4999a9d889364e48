"""How many connections a download uses: as few as bring the bytes as fast as more would.

The download tells what has arrived, and when a connection was refused; it opens and closes
connections to match `wanted`. A fast link is filled by one connection and more only cost memory; a
hub that limits each connection needs as many as allowed. Neither can be known, so it is tried out, but where
the bytes come so fast that this machine, not the source, is what limits them.
"""

from dataclasses import dataclass, replace
from enum import Enum

_GAIN = 0.15  # of the rate, for twice as many connections
_COLLAPSE = 0.5
_PLENTY = 400 * 1024 * 1024  # bytes per second; a processor hashes some three times that, and moving them takes it too
_SETTLE_SECONDS = 0.06
_MEASURE_SECONDS = 0.15
_FIRST_BYTES = 4  # a window spans so many waits for a first byte, for a far connection to get up to speed
_HOLD_SECONDS = 2.0
_LONGEST_HOLD_SECONDS = 60.0


class _Phase(Enum):
    SETTLING = "settling"
    MEASURING = "measuring"
    HOLDING = "holding"


@dataclass(frozen=True, slots=True)
class ConnectionScaler:
    """`wanted` connections now. Times are in seconds of one monotonic clock, `_at` and `_moved` begin a window.

    `_below` is the count and rate that the present count has to beat; None while nothing is compared.
    """

    wanted: int = 1
    ceiling: int = 16
    _phase: _Phase = _Phase.SETTLING
    _until: float = 0.0
    _at: float = 0.0
    _moved: int = 0
    _below: tuple[int, float] | None = None
    _best: float = 0.0
    _hold: float = _HOLD_SECONDS
    _most: int = 16

    def observe(self, now: float, moved: int, most: int, first_byte: float) -> "ConnectionScaler":
        """`moved` bytes have come in all; `most` connections are allowed; `first_byte`: how long a request waits."""
        if most != self._most:
            changed = replace(self, wanted=min(self.wanted, most), _below=None, _hold=_HOLD_SECONDS, _most=most)
            return changed._settle(now, first_byte)
        if now < self._until:
            return self
        match self._phase:
            case _Phase.SETTLING | _Phase.HOLDING:
                return self._measure(now, moved, first_byte)
            case _Phase.MEASURING:
                return self._judge(now, (moved - self._moved) / (now - self._at), first_byte)

    def refused(self, now: float) -> "ConnectionScaler":
        """One connection more than the source wants: one less is used, and more are tried again after a while."""
        fewer = max(1, self.wanted - 1)
        return replace(self._holding(now, fewer, self._best), ceiling=fewer)

    def _judge(self, now: float, rate: float, first_byte: float) -> "ConnectionScaler":
        if self._below is not None and rate < self._worth(*self._below):
            return self._holding(now, *self._below)
        if self._below is None and self.wanted > 1 and rate < self._best * _COLLAPSE:
            return replace(self, wanted=self.wanted // 2, _hold=_HOLD_SECONDS)._settle(now, first_byte)
        if self._below is None and rate >= _PLENTY:
            return self._holding(now, self.wanted, rate)
        more = min(self._most, self.ceiling, self.wanted * 2)
        if more <= self.wanted:
            return replace(self, _hold=_HOLD_SECONDS)._holding(now, self.wanted, rate)
        return replace(self, wanted=more, _below=(self.wanted, rate))._settle(now, first_byte)

    def _worth(self, fewer: int, rate: float) -> float:
        """What the present count must reach to be kept."""
        return rate * (1 + _GAIN * (self.wanted - fewer) / fewer)

    def _settle(self, now: float, first_byte: float) -> "ConnectionScaler":
        return replace(self, _phase=_Phase.SETTLING, _until=now + max(_SETTLE_SECONDS, _FIRST_BYTES * first_byte))

    def _measure(self, now: float, moved: int, first_byte: float) -> "ConnectionScaler":
        until = now + max(_MEASURE_SECONDS, _FIRST_BYTES * first_byte)
        ceiling = self.ceiling * 2 if self._phase is _Phase.HOLDING else self.ceiling
        return replace(self, ceiling=ceiling, _phase=_Phase.MEASURING, _until=until, _at=now, _moved=moved)

    def _holding(self, now: float, wanted: int, rate: float) -> "ConnectionScaler":
        """Stays at `wanted` for a while; each time in a row that nothing is gained makes the next try later."""
        return replace(
            self,
            wanted=wanted,
            _phase=_Phase.HOLDING,
            _until=now + self._hold,
            _below=None,
            _best=rate,
            _hold=min(self._hold * 2, _LONGEST_HOLD_SECONDS),
        )
