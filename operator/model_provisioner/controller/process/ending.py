"""How the operator's process ends when a part of it fails, or when its Lease is lost. Called by `app` and `command`.

The end is at once: after the loss of the Lease, a graceful exit would still write statuses.
"""

import contextlib
import logging
import os
from collections.abc import Coroutine
from typing import Any

from model_provisioner.aio import background
from model_provisioner.controller.process.lease import LeaseLost

_LOG = logging.getLogger(__name__)
_LEASE_LOST_EXIT_CODE = 3


async def in_background(closing: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` until `closing` ends it. Call it before kopf starts.

    At its end, kopf cancels all tasks that are younger than itself, and waits 5 s for them.
    """
    await background.in_background(closing, work, _exit)


def exit_without_lease(why: object = "it was not renewed: this process was stopped for a while") -> None:
    """Ends the process with code 3, and its workers with it."""
    _LOG.critical("the Lease is lost (%s): exiting at once, the workers with us", why)
    os._exit(_LEASE_LOST_EXIT_CODE)


def _exit(work: object, error: Exception) -> None:
    if isinstance(error, LeaseLost):
        exit_without_lease(error)
    else:
        _LOG.critical("%s has failed: exiting at once, the workers with us", work, exc_info=error)
        os._exit(background.FAILED_EXIT_CODE)
