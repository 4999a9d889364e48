"""The limits of one job, and the bandwidth limit over all its connections.

`transfer.worker` changes `Limits` when the operator requests it; `engine`, `file_download` and `connections` read them.
"""

from dataclasses import dataclass

from model_provisioner.aio.clock import Clock

_MAX_SLEEP_SECONDS = 0.2  # so that a changed limit takes effect soon
_BURST_SECONDS = 0.05


@dataclass(slots=True)
class Limits:
    """`connections` may be open at one time; `bytes_per_second` None: unlimited. Both may change at any moment."""

    connections: int
    bytes_per_second: int | None = None


class Throttle:
    """A token bucket: delays readers so that all connections together keep the limit.

    `received` counts all bytes of the job. `_taken` counts those that came while a limit was set; `_allowed` of them
    are within the limit by now. Unused time allows a burst of 0.05 seconds only: a sleep is about that inexact.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self.received = 0
        self._taken = 0
        self._allowed = 0.0
        self._refilled_at = clock.monotonic()

    async def take(self, size: int) -> None:
        """Counts `size` received bytes and waits until they are within the limit; callers are served in order."""
        self.received += size
        if self._limits.bytes_per_second is None:
            return
        self._refill()
        self._taken += size
        ticket = self._taken
        while (rate := self._limits.bytes_per_second) is not None and (owed := ticket - self._allowed) >= 1:
            await self._clock.sleep(min(owed / rate, _MAX_SLEEP_SECONDS))
            self._refill()

    def _refill(self) -> None:
        now = self._clock.monotonic()
        rate = self._limits.bytes_per_second
        if rate is None:
            self._allowed = float(self._taken)
        else:
            due = self._allowed + (now - self._refilled_at) * rate
            self._allowed = min(due, self._taken + rate * _BURST_SECONDS)
        self._refilled_at = now
