"""Limits the rate of bodies: bytes per second for all bodies that share a pacer. Called by `bodies`."""

import asyncio

_CREDIT = 0.1  # seconds: a sleep that was too long is made up for, a longer pause is not


class Pacer:
    """`rate` is in bytes per second, None without a limit. It may change while bodies are sent."""

    def __init__(self, rate: int | None = None) -> None:
        self.rate = rate
        self._free_at: float | None = None  # on the event loop's clock

    def largest_piece(self, limit: int) -> int:
        """At most `limit` bytes, and at most the bytes of 1/20 s, so that a slow body is sent in small pieces."""
        return limit if self.rate is None else min(limit, max(1, self.rate // 20))

    async def take(self, size: int) -> None:
        """Returns when `size` more bytes may have been sent."""
        if self.rate is None:
            return
        now = asyncio.get_running_loop().time()
        began = now if self._free_at is None else max(now - _CREDIT, self._free_at)
        self._free_at = began + size / self.rate
        await asyncio.sleep(self._free_at - now)
