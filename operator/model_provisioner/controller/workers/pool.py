"""The worker processes of one operator: how many there are, what for, and with which flags they start.

Made by `controller.app`, which hands each worker to the part that uses it.
"""

import asyncio
import itertools
import sys
from collections.abc import Collection

from model_provisioner.controller.workers.child_process import WorkerProcess
from model_provisioner.domain.store.claim import Claim
from model_provisioner.settings.operator import OperatorSettings

_MOST_STORE_WORKERS = 4  # a process takes half a second to start, and some 40 MiB


class WorkerPool:
    """The processes of one operator: a fetcher for each slot, store workers, and the resolver.

    Up to four claims have a store worker each; more claims share those.
    """

    def __init__(self, settings: OperatorSettings, claims: Collection[Claim]) -> None:
        command = worker_command(settings)
        self.fetchers = [WorkerProcess(command) for _ in range(settings.slots)]
        self._store_workers = [WorkerProcess(command) for _ in range(min(len(claims), _MOST_STORE_WORKERS))]
        self.store_workers = dict(zip(claims, itertools.cycle(self._store_workers), strict=False))
        self.resolver = WorkerProcess([*command, "--resolver"])

    async def start(self) -> None:
        """Warm them up, so that the first model does not wait for an interpreter to start."""
        await asyncio.gather(*(worker.start() for worker in self._all))

    async def stop(self) -> None:
        await asyncio.gather(*(worker.stop() for worker in self._all))

    @property
    def _all(self) -> list[WorkerProcess]:
        return [*self.fetchers, *self._store_workers, self.resolver]


def worker_command(settings: OperatorSettings) -> list[str]:
    """What sources may be reached is a setting of the process; secrets come in requests, never here."""
    command = [sys.executable, "-m", "model_provisioner.cli", "fetch", "--worker", "--endpoint", settings.endpoint]
    for network in settings.allow_network:
        command += ["--allow-network", network]
    for host in settings.allow_host:
        command += ["--allow-host", host]
    if settings.ca_file:
        command += ["--ca-file", str(settings.ca_file)]
    if settings.proxy:
        command += ["--proxy", settings.proxy]
    return command
