"""How fast bodies flow: a rate in bytes per second over everything that shares the pacer."""

import asyncio

_CREDIT = 0.1  # seconds: what a sleep overslept is made up for, a pause is not


class Pacer:
    """`rate` None is unlimited; it may change while bodies flow."""

    def __init__(self, rate: int | None = None) -> None:
        self.rate = rate
        self._free_at: float | None = None  # on the event loop's clock

    def largest_piece(self, limit: int) -> int:
        """`limit`, or a twentieth of a second's worth, so that a slow body flows instead of coming in gulps."""
        return limit if self.rate is None else min(limit, max(1, self.rate // 20))

    async def take(self, size: int) -> None:
        """Returns when `size` more bytes may have been sent."""
        if self.rate is None:
            return
        now = asyncio.get_running_loop().time()
        began = now if self._free_at is None else max(now - _CREDIT, self._free_at)
        self._free_at = began + size / self.rate
        await asyncio.sleep(self._free_at - now)
