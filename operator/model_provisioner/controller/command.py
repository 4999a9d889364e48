"""`model-provisioner operator`: reads the settings and runs `controller.app`. Called by `cli`.

The flags and their help texts are in `settings.operator`.
"""

import argparse
import asyncio
import contextlib
import logging
import time

from pydantic import ValidationError

from model_provisioner.aio.cancellation import cancel_at_sigterm
from model_provisioner.controller.app import run_operator
from model_provisioner.controller.process.ending import exit_without_lease
from model_provisioner.controller.process.fence import Fence, FencedSelector
from model_provisioner.controller.workers.pods import pod_settings
from model_provisioner.http_server.server import ListenError
from model_provisioner.proxy_file import load_proxy
from model_provisioner.settings.flags import add_flags, explain, fail, refuse
from model_provisioner.settings.operator import OperatorSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, OperatorSettings)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code.

    0 after a signal, 1 without the API server or if it can't listen, 2 for wrong settings, 3 if the Lease is lost, 4
    for a bug.
    """
    try:
        settings = OperatorSettings(**vars(args))
        _check_proxy(settings)
        _check_workers(settings)
    except ValidationError as error:
        return refuse("operator", explain(error))
    except (ValueError, OSError) as error:
        return refuse("operator", str(error))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    fence = Fence(time.monotonic, exit_without_lease)
    try:
        with (
            contextlib.suppress(asyncio.CancelledError),
            asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(FencedSelector(fence))) as runner,
        ):
            return runner.run(_run(settings, fence))
    except ListenError as error:
        return fail("operator", str(error))
    return 0


async def _run(settings: OperatorSettings, fence: Fence) -> int:
    """Handles SIGTERM until kopf does, for example while another operator holds the Lease."""
    cancel_at_sigterm()
    return await run_operator(settings, fence)


def _check_proxy(settings: OperatorSettings) -> None:
    """Reads the proxy's URL as the workers do, to report a wrong one before anything starts. Raises ValueError."""
    if settings.proxy is not None:
        try:
            load_proxy(settings.proxy)
        except ValueError as error:
            raise ValueError(f"--proxy: {error}") from None


def _check_workers(settings: OperatorSettings) -> None:
    """Raises ValueError or OSError if worker pods are on and can't be started with these settings."""
    if settings.worker_listen:
        pod_settings.check(settings)
