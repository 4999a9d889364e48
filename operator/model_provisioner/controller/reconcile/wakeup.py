"""A flag that wakes one waiting task. Used by reconcilers and status writers, of which there are thousands.

It does what an asyncio.Event does, but needs a kilobyte less for each object, and a task can wait for it together
with another future without a further task. It is for one waiter only: cancelling that one ends the wait.
"""

import asyncio


class Wakeup:
    """`future` is done from the first `set` until `clear`. Read it anew before each wait: `clear` replaces it."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def set(self) -> None:
        """Wakes the waiter now, or at its next wait."""
        if not self.future.done():
            self.future.set_result(None)

    def clear(self) -> None:
        """Forgets every `set` so far."""
        if self.future.done():
            self.future = asyncio.get_running_loop().create_future()
