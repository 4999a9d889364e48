"""Tasks that run for as long as the process does: the death of one of them ends the process.

A process of which a part has failed looks alive and no longer does what that part did. A restart by the kubelet puts
it right. Called by `controller.app` and `gateway.app`.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Any

from model_provisioner.aio.cancellation import cancel_and_wait

_LOG = logging.getLogger(__name__)
FAILED_EXIT_CODE = 4


def exit_on_failure(work: object, error: Exception) -> None:
    """Ends the process at once with exit code 4: a graceful exit would wait for parts that may depend on `work`."""
    _LOG.critical("%s has failed: exiting at once", work, exc_info=error)
    os._exit(FAILED_EXIT_CODE)


async def in_background(
    closing: contextlib.AsyncExitStack,
    work: Coroutine[Any, Any, None],
    on_failure: Callable[[object, Exception], None] = exit_on_failure,
) -> None:
    """Runs `work` until the stack closes, which cancels it and waits for its end.

    `on_failure` receives `work` and its error. Returns after the first step of `work`, so that the tasks which it
    starts are older than whatever is started next.
    """
    task = asyncio.create_task(_guarded(work, on_failure))
    await asyncio.sleep(0)
    closing.push_async_callback(cancel_and_wait, task)


async def _guarded(work: Coroutine[Any, Any, None], on_failure: Callable[[object, Exception], None]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 -- whatever it is, what that part did is not done any more
        on_failure(work, error)
