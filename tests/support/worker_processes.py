"""A worker that is a program of its own, for tests that need no worker server."""

import asyncio
import sys
from collections.abc import Sequence

from model_provisioner.worker_processes.child_process import WorkerProcess
from model_provisioner.worker_protocol.codec import LONGEST_LINE_BYTES

COMMAND = (sys.executable, "-m", "model_provisioner.cli", "fetch", "--worker")


def worker_of(command: Sequence[str] = COMMAND) -> WorkerProcess:
    """A worker whose process is that of `command`."""

    async def launch() -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=LONGEST_LINE_BYTES
        )

    return WorkerProcess(launch)
