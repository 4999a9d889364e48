"""Tries a part of a download that has one connection only again, until it succeeds or it is better to give up.

Called by `archive_digest` and `unpacking`. `connections`, which has several connections, decides for each of them, and
shares the limits.
"""

from collections.abc import Awaitable, Callable

from model_provisioner.aio.clock import Clock
from model_provisioner.aio.ticking import ticking
from model_provisioner.domain.errors import SourceUnavailable, TransferStalled
from model_provisioner.domain.lifecycle.backoff import delay

MAX_ATTEMPTS = 3
MAX_PAUSE_SECONDS = 30.0  # for a longer pause the download ends, so that another one can use its place
_TICK_SECONDS = 1.0


async def with_attempts(
    attempt: Callable[[], Awaitable[None]], position: Callable[[], int], tick: Callable[[], None], clock: Clock
) -> None:
    """Calls `attempt` until it returns. `position` grows with each byte that need not be requested again.

    `tick` is called every second. Raises what `attempt` raises; SourceUnavailable and TransferStalled only after three
    attempts without a byte, or if the source asks for a pause of more than 30 seconds.
    """
    failures = 0
    async with ticking(clock, _TICK_SECONDS, tick):
        while True:
            before = position()
            try:
                return await attempt()
            except (SourceUnavailable, TransferStalled) as error:
                failures = 1 if position() > before else failures + 1
                if failures >= MAX_ATTEMPTS or (error.retry_after or 0) > MAX_PAUSE_SECONDS:
                    raise
                await clock.sleep(delay(failures, error.retry_after, clock.random()))
