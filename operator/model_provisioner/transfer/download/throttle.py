"""What a transfer may use, changed while it runs, and the one bandwidth limit over all its connections.

The worker changes `Limits` when the operator says so; the engine and the download read them.
"""

from dataclasses import dataclass

from model_provisioner.aio.clock import Clock

_MAX_SLEEP_SECONDS = 0.2  # so that a changed limit is soon felt
_BURST_SECONDS = 0.05


@dataclass(slots=True)
class Limits:
    """`connections` is the most at one time; `bytes_per_second` None: unlimited. Both may change at any moment."""

    connections: int
    bytes_per_second: int | None = None


class Throttle:
    """Spaces bytes out so that all connections together keep the limit.

    `received` bytes have come in all. Of the `_taken`, which came while there was a limit, `_allowed` are within it by
    now. Of time that passed unused only so much is saved up as naps are inexact.
    """

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self.received = 0
        self._taken = 0
        self._allowed = 0.0
        self._refilled_at = clock.monotonic()

    async def take(self, size: int) -> None:
        """Waits until `size` bytes that have come are within the limit, first come, first served."""
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
