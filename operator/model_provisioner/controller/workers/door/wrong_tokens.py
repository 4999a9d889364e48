"""Logs connections that were refused because of their token. Called by `pod_pool` with names of Jobs that it knows.

A token or a name that came from outside is not logged.
"""

import logging
import time
from collections.abc import Callable

_LOG = logging.getLogger(__name__)
_PAUSE_SECONDS = 60.0


class WrongTokens:
    """At most one line a minute for each Job. `monotonic` is in seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._logged_at: dict[str, float] = {}

    def note(self, job: str) -> None:
        """A connection in the name of `job`, NAMESPACE/NAME, was refused."""
        now = self._monotonic()
        self._logged_at = {name: at for name, at in self._logged_at.items() if now < at + _PAUSE_SECONDS}
        if job not in self._logged_at:
            self._logged_at[job] = now
            _LOG.warning(
                "a connection was refused: it is not the pod of Job %s, whose token is another one. Further ones are "
                "refused without a line for a minute",
                job,
            )
