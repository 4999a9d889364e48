"""Speed and time left from a row of byte counts: an average that forgets old observations.

Called by the controller for the status and by the command line for its progress bar.
"""

import math
from dataclasses import dataclass

_MEMORY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Meter:
    """Observations so far: the last one (seconds on a monotonic clock, bytes) and the average (bytes per second).

    In the first seconds it is the plain average `since` the start, so that a slow first moment is soon forgotten.
    """

    at: float
    bytes: int
    rate: float | None = None
    since: float | None = None

    def observe(self, now: float, bytes_done: int) -> "Meter":
        """After another observation. A count that fell (an attempt began anew) starts the average again."""
        elapsed = now - self.at
        if bytes_done < self.bytes:
            return Meter(now, bytes_done)
        if elapsed <= 0:
            return self
        current = (bytes_done - self.bytes) / elapsed
        since = self.at if self.since is None else self.since
        if self.rate is None:
            return Meter(now, bytes_done, current, since)
        weight = max(1 - math.exp(-elapsed / _MEMORY_SECONDS), elapsed / (now - since))
        return Meter(now, bytes_done, self.rate + weight * (current - self.rate), since)

    def seconds_left(self, total: int) -> int | None:
        """None while nothing moves."""
        if not self.rate or self.rate < 1:
            return None
        return math.ceil((total - self.bytes) / self.rate)
