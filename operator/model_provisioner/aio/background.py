"""Runs tasks for as long as the process runs. If one of them fails, the process exits.

A process with a failed part looks alive but no longer does the work of that part; a restart by the kubelet repairs it.
Called by `controller.app` and `gateway.app`.
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
    """Exits the process at once with code 4. A graceful exit would wait for parts that may depend on `work`."""
    _LOG.critical("%s has failed: exiting at once", work, exc_info=error)
    os._exit(FAILED_EXIT_CODE)


async def in_background(
    closing: contextlib.AsyncExitStack,
    work: Coroutine[Any, Any, None],
    on_failure: Callable[[object, Exception], None] = exit_on_failure,
) -> None:
    """Runs `work` until the stack closes, which cancels it and waits for its end.

    `on_failure` is called with `work` and its error. Returns after the first step of `work`, so that the tasks that it
    starts run before those of the next call.
    """
    task = asyncio.create_task(_guarded(work, on_failure))
    await asyncio.sleep(0)
    closing.push_async_callback(cancel_and_wait, task)


async def _guarded(work: Coroutine[Any, Any, None], on_failure: Callable[[object, Exception], None]) -> None:
    try:
        await work
    except Exception as error:  # noqa: BLE001 -- any error means that the work of this part stops
        on_failure(work, error)
