"""The worker processes of one operator: their number, their tasks and their command line.

Made by `controller.app`, which hands each worker to the part that uses it. How a process is called is in
`controller.workers.child_process`.
"""

import asyncio
import itertools
import sys
from collections.abc import Collection

from model_provisioner.controller.workers.child_process import WorkerProcess
from model_provisioner.domain.scheduling.lanes import Lane
from model_provisioner.domain.store.claim import Claim
from model_provisioner.settings.operator import OperatorSettings

_MAX_STORE_WORKERS = 4  # a process takes half a second to start, and some 40 MiB
_SLOW_TRANSFERS = 8
_HASHERS = 2  # hashing is limited by the processor and the disk: more at one time are not faster


class WorkerPool:
    """The slots of each lane, a store worker for each of `claims`, and the resolver.

    In `slots`, the slow transfers share one process, because they do little; a hasher reads one file at a time. Both
    are started when they are needed. There are four store workers at most; more claims share them.
    """

    def __init__(self, settings: OperatorSettings, claims: Collection[Claim]) -> None:
        command = worker_command(settings)
        self._fetchers = [WorkerProcess(command) for _ in range(settings.slots)]
        self._seldom = [WorkerProcess(command) for _ in range(1 + _HASHERS)]
        slow, *hashers = self._seldom
        self.slots = {Lane.FETCHING: self._fetchers, Lane.SLOW: [slow] * _SLOW_TRANSFERS, Lane.HASHING: hashers}
        self._store_workers = [WorkerProcess(command) for _ in range(min(len(claims), _MAX_STORE_WORKERS))]
        self.store_workers = dict(zip(claims, itertools.cycle(self._store_workers), strict=False))
        self.resolver = WorkerProcess([*command, "--resolver"])

    async def start(self) -> None:
        """Starts the processes, so that the first model does not wait for an interpreter to start."""
        await asyncio.gather(*(worker.start() for worker in self._always))

    async def stop(self) -> None:
        await asyncio.gather(*(worker.stop() for worker in [*self._always, *self._seldom]))

    @property
    def _always(self) -> list[WorkerProcess]:
        return [*self._fetchers, *self._store_workers, self.resolver]


def worker_command(settings: OperatorSettings) -> list[str]:
    """The argv of a worker. It says which sources may be reached; secrets are sent in requests, never in argv."""
    command = [sys.executable, "-m", "model_provisioner.cli", "fetch", "--worker"]
    for endpoint in settings.endpoint:
        command += ["--endpoint", endpoint]
    command += ["--timeout", str(settings.response_timeout)]
    for network in settings.allow_network:
        command += ["--allow-network", network]
    for host in settings.source_hosts:
        command += ["--allow-host", host]
    if settings.ca_file:
        command += ["--ca-file", str(settings.ca_file)]
    if settings.proxy:
        command += ["--proxy", settings.proxy]
    for entry in settings.no_proxy:
        command += ["--no-proxy", entry]
    return command
