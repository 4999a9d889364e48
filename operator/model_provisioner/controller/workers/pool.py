"""The workers of one operator: their number, when they end, and the command line of the server that forks them.

Made by `controller.app`, which hands each worker to the part that uses it. How a process is called is in
`worker_processes.child_process`, how it is made in `worker_processes.worker_server`.
"""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any

from model_provisioner.domain.errors import InternalError
from model_provisioner.domain.scheduling.lanes import Lane
from model_provisioner.domain.store.claim import Claim
from model_provisioner.settings.operator import OperatorSettings
from model_provisioner.worker_processes.child_process import WorkerProcess
from model_provisioner.worker_processes.worker_server import WorkerServer
from model_provisioner.worker_protocol.forking import Role

_MAX_STORE_WORKERS = 4  # at work, a process takes some 15 MiB, and its records
_SLOW_TRANSFERS = 8
_HASHERS = 2  # hashing is limited by the processor and the disk: more at one time are not faster
_IDLE_SECONDS = {Role.FETCHER: 60.0, Role.RESOLVER: 60.0, Role.STORE: 5.0}
"""When a worker ends that has nothing to do. Models often come one after the other: a fetcher and a resolver keep their
connections to the hub for the next one. A store worker keeps nothing of worth, and it checks the files of Ready models
each minute: with more than that it would never end."""
_LOOK_SECONDS = 5.0


class WorkerPool:
    """The slots of each lane, a store worker for each of `claims`, and the resolver.

    In `slots`, the slow transfers share one process, because they do little; a hasher reads one file at a time. There
    are four store workers at most; more claims share them. Each is forked for its first request, and again when it has
    ended. `sleep` is in seconds.
    """

    def __init__(
        self,
        settings: OperatorSettings,
        claims: Collection[Claim],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._server = WorkerServer(worker_command(settings))
        self._sleep = sleep
        self._workers: list[tuple[WorkerProcess, float]] = []
        slow, *hashers = self._make(Role.FETCHER, 1 + _HASHERS)
        self.slots = {
            Lane.FETCHING: self._make(Role.FETCHER, settings.slots),
            Lane.SLOW: [slow] * _SLOW_TRANSFERS,
            Lane.HASHING: hashers,
        }
        store_workers = self._make(Role.STORE, min(len(claims), _MAX_STORE_WORKERS))
        self.store_workers = dict(zip(claims, itertools.cycle(store_workers), strict=False))
        senders = self._make(Role.STORE, min(len(claims), _MAX_STORE_WORKERS)) if settings.copies_from_cluster else []
        self.senders = dict(zip(claims, itertools.cycle(senders), strict=False)) if senders else {}
        """What sends files of each claim to worker pods. A volume that hangs then holds up no request to a store."""
        (self.resolver,) = self._make(Role.RESOLVER, 1)
        self._preparing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Starts the server, so that the first model does not wait for an interpreter to start."""
        await self._server.start()

    def on_event(self, kind: str, document: Mapping[str, Any]) -> None:
        """A listener of the watch of objects: forks what a new one needs, so that they are ready when it is reconciled.

        The first fetcher is the one that the queue gives away first.
        """
        if kind != "ADDED" or document.get("status"):
            return
        namespace = document["metadata"]["namespace"]
        stores = [worker for claim, worker in self.store_workers.items() if claim.namespace == namespace][:1]
        for worker in (self.resolver, *stores, self.slots[Lane.FETCHING][0]):
            if not worker.is_running:
                task = asyncio.create_task(_start(worker))
                self._preparing.add(task)
                task.add_done_callback(self._preparing.discard)

    async def run(self) -> None:
        """Ends the workers that have idled for long, until it is cancelled."""
        while True:
            await self._sleep(_LOOK_SECONDS)
            await asyncio.gather(*(worker.retire(idle_seconds) for worker, idle_seconds in self._workers))

    async def stop(self) -> None:
        await asyncio.gather(*(worker.stop() for worker, _ in self._workers))
        await self._server.stop()

    def _make(self, role: Role, number: int) -> list[WorkerProcess]:
        made = [WorkerProcess(partial(self._server.launch, role)) for _ in range(number)]
        self._workers += [(worker, _IDLE_SECONDS[role]) for worker in made]
        return made


async def _start(worker: WorkerProcess) -> None:
    with contextlib.suppress(InternalError):  # the request that needs the worker will report it
        await worker.start()


def worker_command(settings: OperatorSettings) -> list[str]:
    """The argv of the server that forks the workers.

    It says which sources may be reached; secrets are sent in requests, never in argv.
    """
    command = [sys.executable, "-m", "model_provisioner.cli", "fetch", "--worker-server", *source_flags(settings)]
    if settings.ambient_credentials:
        command += ["--ambient-credentials"]
    if settings.ca_file:
        command += ["--ca-file", str(settings.ca_file)]
    return command


def source_flags(settings: OperatorSettings) -> list[str]:
    """The flags of every worker, also of one in a pod: which sources may be reached, and how."""
    flags = ["--timeout", str(settings.response_timeout)]
    for endpoint in settings.endpoint:
        flags += ["--endpoint", endpoint]
    for network in settings.allow_network:
        flags += ["--allow-network", network]
    for host in settings.source_hosts:
        flags += ["--allow-host", host]
    if settings.proxy:
        flags += ["--proxy", settings.proxy]
    for entry in settings.no_proxy:
        flags += ["--no-proxy", entry]
    return flags
