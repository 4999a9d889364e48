"""`model-provisioner worker`: the process of a worker pod. Called by `cli`; the operator's Job has the flags.

It keeps a connection to the operator (`connection`) and starts workers below it, which do what the operator asks for
(`requests`). What follows `--` are the flags of these workers, see `transfer.cli.command`.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from model_provisioner.aio.cancellation import cancel_at_sigterm
from model_provisioner.worker_pod.connection import Connection, Operator
from model_provisioner.worker_pod.outbox import Outbox
from model_provisioner.worker_pod.requests import Requests
from model_provisioner.worker_processes.child_process import WorkerProcess
from model_provisioner.worker_processes.worker_server import WorkerServer
from model_provisioner.worker_protocol.channel import SERVER_NAME
from model_provisioner.worker_protocol.copies import DoorAddress
from model_provisioner.worker_protocol.forking import Role

_WORKER_SERVER = [sys.executable, "-m", "model_provisioner.cli", "fetch", "--worker-server"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--connect", required=True, metavar="HOST:PORT", help="where the operator listens")
    parser.add_argument("--job", required=True, metavar="NAMESPACE/NAME", help="the Job that this pod belongs to")
    parser.add_argument(
        "--secret",
        required=True,
        type=Path,
        metavar="DIR",
        help="directory with ca.crt, which has signed the operator's certificate, and token",
    )
    parser.add_argument(
        "--server-name",
        default=SERVER_NAME,
        metavar="NAME",
        help=f"of the operator's certificate (default {SERVER_NAME})",
    )
    parser.add_argument(
        "--directory", default="/models", metavar="DIR", help="where the volume is mounted (default /models)"
    )
    parser.add_argument("flags", nargs="*", metavar="-- FLAG", help="flags of `fetch` that say which sources there are")


def run(args: argparse.Namespace) -> int:
    """Returns the exit code: 0 when the operator has ended the worker, 1 when it is gone; 143 after SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with contextlib.suppress(asyncio.CancelledError):
        operator = Operator(args.connect, args.job, args.secret, args.server_name)
        return asyncio.run(_run(operator, args.directory, args.flags))
    return 128 + signal.SIGTERM


async def _run(operator: Operator, directory: str, flags: Sequence[str]) -> int:
    cancel_at_sigterm()
    server = WorkerServer([*_WORKER_SERVER, *flags])
    workers = {role: WorkerProcess(partial(server.launch, role)) for role in (Role.FETCHER, Role.STORE)}
    outbox = Outbox()
    try:
        await server.start()
        door = DoorAddress(operator.address, operator.job, str(operator.files), operator.server_name)
        return await Connection(operator, Requests(workers, directory, outbox.post, door), outbox).run()
    finally:
        await asyncio.gather(*(worker.stop() for worker in workers.values()))
        await server.stop()
