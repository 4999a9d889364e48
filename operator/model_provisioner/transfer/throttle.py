"""One bandwidth limit over all connections of a transfer."""

from model_provisioner.transfer.clock import Clock


class Throttle:
    """Spaces bytes out so that they come at `bytes_per_second` (None: unlimited) however many connections take."""

    def __init__(self, bytes_per_second: int | None, clock: Clock) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._free_at = clock.monotonic()

    async def take(self, size: int) -> None:
        """Waits until `size` bytes that have come are within the limit; time that passed unused is not saved up."""
        if self._rate is None:
            return
        now = self._clock.monotonic()
        self._free_at = max(now, self._free_at) + size / self._rate
        await self._clock.sleep(self._free_at - now)
