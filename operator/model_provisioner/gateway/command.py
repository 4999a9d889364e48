"""`model-provisioner gateway`: reads the settings and runs `gateway.app`. Called by `cli`.

The flags and their help texts are in `settings.gateway`.
"""

import argparse
import asyncio
import logging

from pydantic import ValidationError

from model_provisioner.gateway.app import run_gateway
from model_provisioner.http_server.server import ListenError
from model_provisioner.settings.flags import add_flags, explain, fail, refuse
from model_provisioner.settings.gateway import GatewaySettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, GatewaySettings)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code.

    0 after a signal, 1 if it can't listen, 2 for wrong settings, 4 for a bug that ended a part of the gateway.
    """
    try:
        settings = GatewaySettings(**vars(args))
    except ValidationError as error:
        return refuse("gateway", explain(error))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        return asyncio.run(run_gateway(settings))
    except ListenError as error:
        return fail("gateway", str(error))
