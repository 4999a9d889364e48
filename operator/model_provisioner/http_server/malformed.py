"""One line of the log for many failed requests, without a byte of them: a request may hold a token or a ticket."""

import logging
import math
from collections.abc import Callable

_LOG = logging.getLogger(__name__)
_PAUSE_SECONDS = 60.0


class MalformedRequests:
    """Counts them, and logs at most one line a minute. `monotonic` is a clock in seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._count = 0
        self._next = -math.inf

    def note(self, address: str, reason: str) -> None:
        """`reason` is the name of an error class, never its message."""
        self._count += 1
        now = self._monotonic()
        if now < self._next:
            return
        self._next = now + _PAUSE_SECONDS
        _LOG.warning(
            "%d malformed request(s) since the last such line, the newest from %s (%s); more are counted for a minute",
            self._count,
            address or "unknown",
            reason,
        )
        self._count = 0
