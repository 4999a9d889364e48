"""Remembers which hosts have answered 429 (Too Many Requests), for all workers together.

After one worker has got the answer, no request goes to that host until the time in its Retry-After. Otherwise every
object of a long queue would send a request of its own first. Called by `controller.transfers.resolve_client` and
`controller.transfers.shared_transfer`.
"""

import time
from collections.abc import Callable

from model_provisioner.domain.errors import ProvisionError, RateLimited
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.quantity import format_duration

_DEFAULT_SECONDS = 5.0
_MAX_SECONDS = 3600.0


class RateLimits:
    """The limits of one operator, by origin; `url` is any URL of the origin. `monotonic` is in seconds."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._until: dict[Origin, float] = {}

    def check(self, url: str) -> None:
        """Raises RateLimited if the Retry-After of the origin is not over, with the seconds that are left."""
        origin = Origin.of(url)
        left = self._until.get(origin, 0.0) - self._monotonic()
        if left > 0:
            message = f"{origin} has asked us to slow down: nothing is asked of it for another {format_duration(left)}"
            raise RateLimited(message, left)
        self._until.pop(origin, None)

    def record(self, url: str, error: ProvisionError) -> None:
        """Records `error`, an answer of the origin, if it is RateLimited.

        Without a Retry-After the pause is five seconds; one of more than an hour counts as an hour.
        """
        if isinstance(error, RateLimited):
            seconds = _DEFAULT_SECONDS if error.retry_after is None else min(error.retry_after, _MAX_SECONDS)
            origin = Origin.of(url)
            self._until[origin] = max(self._until.get(origin, 0.0), self._monotonic() + seconds)
