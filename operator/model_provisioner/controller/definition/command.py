"""`model-provisioner definition`: reads the settings and runs `update`. Called by `cli` in a hook of the chart.

The flags and their help texts are in `settings.definition`. Whether the definition is changed is not decided here.
"""

import argparse
import asyncio
import logging
import sys

from pydantic import ValidationError

from model_provisioner.aio.cancellation import cancel_at_sigterm
from model_provisioner.controller.definition.update import Definition, NotUpdated, update
from model_provisioner.kube.client import KubeApi
from model_provisioner.settings.definition import DefinitionSettings
from model_provisioner.settings.flags import add_flags, explain, refuse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, DefinitionSettings)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code: 0 if the cluster has this definition or a newer one, 1 otherwise, 2 for wrong settings."""
    try:
        settings = DefinitionSettings(**vars(args))
        definition = Definition.parse(settings.file.read_text())
    except ValidationError as error:
        return refuse("definition", explain(error))
    except (OSError, ValueError) as error:
        return refuse("definition", str(error))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        said = asyncio.run(_run(settings, definition))
    except NotUpdated as error:
        return _fail(str(error))
    except asyncio.CancelledError:
        return _fail("stopped by a signal before the definition was updated")
    sys.stdout.write(f"{said}\n")
    return 0


async def _run(settings: DefinitionSettings, definition: Definition) -> str:
    cancel_at_sigterm()
    api = await KubeApi.connect(settings.kubeconfig)
    try:
        return await update(api, definition)
    finally:
        await api.close()


def _fail(why: str) -> int:
    sys.stderr.write(f"model-provisioner definition: {why}\n")
    return 1
