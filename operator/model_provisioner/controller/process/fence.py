"""Ends the process before it acts on, if it did not run for so long that its Lease is over. Made by `command`.

A process that was stopped (SIGSTOP, a frozen cgroup) goes on where it was: the timers that are due run in any order,
and a status may be written before the Lease is looked at. So the event loop asks here before each turn. What a turn
that had begun before the stop still sends is not held back. The clock of a machine that was paused as a whole stands
still meanwhile: its operator learns of the loss by the next renewal, after five seconds at most.
"""

import math
import selectors
from collections.abc import Callable


class Fence:
    """`monotonic` is in seconds; `end` ends the process, and need not return. Open until `close_at` is called."""

    def __init__(self, monotonic: Callable[[], float], end: Callable[[], object]) -> None:
        self._monotonic = monotonic
        self._end = end
        self._closes_at = math.inf

    def close_at(self, moment: float) -> None:
        """From `moment` on, on the clock of `monotonic`, the process may do nothing; infinity: it may."""
        self._closes_at = moment

    def check(self) -> None:
        """Ends the process if the time is over."""
        if self._monotonic() >= self._closes_at:
            self._end()


class FencedSelector(selectors.DefaultSelector):
    """The selector of an event loop that checks `fence` before each turn, which begins when `select` returns."""

    def __init__(self, fence: Fence) -> None:
        super().__init__()
        self._fence = fence

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(timeout)
        self._fence.check()
        return ready
