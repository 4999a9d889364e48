"""Ending a task, and knowing that it has ended: whatever it wrote to, nothing else may write to before.

Used by all that gives up what it has started, in the operator and in its workers. Being cancelled meanwhile does not
cut the wait short, and is not forgotten either: a lifecycle that has missed its own end would begin anew, for an
object that is gone.
"""

import asyncio
from typing import Any


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancels `tasks` and returns when all of them are done, however they ended; then raises what cancelled us."""
    for task in tasks:
        task.cancel()
    await wait_all(*tasks)


async def wait_all(*tasks: asyncio.Future[Any]) -> None:
    """Returns when all of `tasks` are done, however they ended; then raises what cancelled us meanwhile."""
    cancelled: asyncio.CancelledError | None = None
    while running := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError as ours:
            cancelled = ours
    if cancelled is not None:
        raise cancelled
