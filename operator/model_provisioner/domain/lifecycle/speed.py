"""Computes speed and remaining time from byte counts, as an average that weights recent observations more.

The controller calls this for the status, `transfer` for its connections, and the command line for its progress bar.
"""

import math
from dataclasses import dataclass

_MEMORY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Meter:
    """The last observation and the average so far.

    `at` and `since` are in seconds on a monotonic clock, `rate` is in bytes per second. In the first seconds the rate
    is the plain average `since` the first observation, so that a slow start does not distort it.
    """

    at: float
    bytes: int
    rate: float | None = None
    since: float | None = None

    def observe(self, now: float, bytes_done: int) -> "Meter":
        """The meter after `bytes_done` at `now`. A smaller count than before (a new attempt) resets the average."""
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
        """The seconds until `total` bytes are reached at this rate; None if no bytes arrive."""
        if not self.rate or self.rate < 1:
            return None
        return math.ceil((total - self.bytes) / self.rate)
