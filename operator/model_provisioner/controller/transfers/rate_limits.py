"""Remembers which hosts have asked us to slow down (429), on behalf of all workers.

One worker learns it; from then on nobody asks that host until the time that it named. Without this,
every object of a long queue would find out for itself, which is what the host asked us not to do.
"""

import time
from collections.abc import Callable

from model_provisioner.domain.errors import ProvisionError, RateLimited
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.quantity import format_duration

_DEFAULT_SECONDS = 5.0
_MAX_SECONDS = 3600.0


class RateLimits:
    """`url` is any address of the host in question."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until: dict[Origin, float] = {}

    def check(self, url: str) -> None:
        """Raises RateLimited while the host is to be left alone."""
        origin = Origin.of(url)
        left = self._until.get(origin, 0.0) - self._monotonic()
        if left > 0:
            message = f"{origin} has asked us to slow down: nothing is asked of it for another {format_duration(left)}"
            raise RateLimited(message, left)
        self._until.pop(origin, None)

    def record(self, url: str, error: ProvisionError) -> None:
        """`error` is what the host answered."""
        if isinstance(error, RateLimited):
            seconds = _DEFAULT_SECONDS if error.retry_after is None else min(error.retry_after, _MAX_SECONDS)
            origin = Origin.of(url)
            self._until[origin] = max(self._until.get(origin, 0.0), self._monotonic() + seconds)
