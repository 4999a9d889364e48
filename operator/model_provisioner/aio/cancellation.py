"""Cancels tasks and waits until they have ended, so that nothing else writes what they may still write.

Every part that stops a task it started uses this. If the waiting task is cancelled itself, the wait still continues
until the end, and then CancelledError is raised. Otherwise a reconciler could miss its own cancellation and start again
for an object that was deleted.
"""

import asyncio
import signal
from typing import Any


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancels `tasks` and waits until all are done, with any result. Raises CancelledError as `wait_all` does."""
    for task in tasks:
        task.cancel()
    await wait_all(*tasks)


async def wait_all(*tasks: asyncio.Future[Any]) -> None:
    """Waits until all of `tasks` are done, with any result. Then raises CancelledError if the caller was cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while running := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(running)
        except asyncio.CancelledError as ours:
            cancelled = ours
    if cancelled is not None:
        raise cancelled


def cancel_at_sigterm() -> None:
    """Cancels the task that calls it at SIGTERM, at which the kernel does not end process 1 without a handler."""
    task = asyncio.current_task()
    if task:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
