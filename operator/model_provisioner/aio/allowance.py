"""How much of something may come in a time. Asked by those who read from a side that is not trusted."""

import time
from collections.abc import Callable


class Allowance:
    """`rate` a second, and `most` at once. `monotonic` is in seconds."""

    def __init__(self, rate: float, most: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._most = most
        self._monotonic = monotonic
        self._left = most
        self._at = monotonic()

    def delay(self, amount: float) -> float:
        """Takes `amount`, and returns the seconds until the next may be taken."""
        now = self._monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._rate) - amount
        self._at = now
        return max(0.0, -self._left / self._rate)
