"""How one who waits for ever is told that something is new, where thousands wait.

An asyncio.Event would do, but costs a kilobyte more for each, and can be waited for beside something else
only by a further task. For one waiter only, whom a cancellation ends. Used by lifecycles and status
writers.
"""

import asyncio


class Wakeup:
    """`future` is done from the first `set` on, until `clear`."""

    def __init__(self) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def set(self) -> None:
        """Wakes who waits, or will."""
        if not self.future.done():
            self.future.set_result(None)

    def clear(self) -> None:
        """What was told so far has been heard."""
        if self.future.done():
            self.future = asyncio.get_running_loop().create_future()
