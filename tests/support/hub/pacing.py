"""How fast bodies flow: a rate in bytes per second over everything that shares the pacer."""

import asyncio


class Pacer:
    """`rate` None is unlimited; it may change while bodies flow."""

    def __init__(self, rate: int | None = None) -> None:
        self.rate = rate
        self._free_at = 0.0  # on the event loop's clock

    def largest_piece(self, limit: int) -> int:
        """`limit`, or a twentieth of a second's worth, so that a slow body flows instead of coming in gulps."""
        return limit if self.rate is None else min(limit, max(1, self.rate // 20))

    async def take(self, size: int) -> None:
        """Returns when `size` more bytes may have been sent."""
        if self.rate is None:
            return
        now = asyncio.get_running_loop().time()
        self._free_at = max(now, self._free_at) + size / self.rate
        await asyncio.sleep(self._free_at - now)
