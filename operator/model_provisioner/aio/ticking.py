"""Calls a function again and again while a block runs: what waits is shown to be alive.

Called by the downloads of `transfer.download`, whose receiver expects a report every second.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from model_provisioner.aio.clock import Clock


@contextlib.asynccontextmanager
async def ticking(clock: Clock, seconds: float, tick: Callable[[], None]) -> AsyncIterator[None]:
    """Calls `tick`, which must not block, every `seconds` until the block ends."""

    async def run() -> None:
        while True:
            await clock.sleep(seconds)
            tick()

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
