"""How one who waits for ever is told that something is new, where thousands wait.

An asyncio.Event would do, but costs a kilobyte more for each, and can be waited for beside something else
only by a further task. For one waiter only, whom a cancellation ends. Used by lifecycles and status
writers.
"""

import asyncio


class Bell:
    """`rung` is done from the first `ring` on, until `mute`."""

    def __init__(self) -> None:
        self.rung: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def ring(self) -> None:
        """Wakes who waits, or will."""
        if not self.rung.done():
            self.rung.set_result(None)

    def mute(self) -> None:
        """What was told so far has been heard."""
        if self.rung.done():
            self.rung = asyncio.get_running_loop().create_future()
