"""`model-provisioner release`: reads the settings and runs `uninstall`. Called by `cli` in the chart's pre-delete hook.

The flags and their help texts are in `settings.release`. Which requests are sent is not decided here.
"""

import argparse
import asyncio
import logging
import sys

from pydantic import ValidationError

from model_provisioner.aio.cancellation import cancel_at_sigterm
from model_provisioner.controller.release.uninstall import NotReleased, release
from model_provisioner.kube.client import KubeApi
from model_provisioner.settings.flags import add_flags, explain, refuse
from model_provisioner.settings.release import ReleaseSettings

_STOPPED = "stopped by a signal before all objects were released"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ReleaseSettings)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code: 0 when no object has our finalizer, 1 otherwise, 2 for wrong settings."""
    try:
        settings = ReleaseSettings(**vars(args))
    except ValidationError as error:
        return refuse("release", explain(error))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_run(settings))
    except NotReleased as error:
        return _fail(str(error))
    except asyncio.CancelledError:
        return _fail(_STOPPED)
    return 0


async def _run(settings: ReleaseSettings) -> None:
    cancel_at_sigterm()
    api = await KubeApi.connect(settings.kubeconfig)
    try:
        await release(api, settings, _print)
    finally:
        await api.close()


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _fail(why: str) -> int:
    sys.stderr.write(f"model-provisioner release: {why}\n")
    return 1
