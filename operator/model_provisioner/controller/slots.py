"""The download queue: at most N transfers at one time, the most urgent first.

A slot is a worker process. The order is rebuilt from the objects after a restart, because every
object asks for its slot again; nothing is stored. Called by the lifecycle of each object.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

from model_provisioner.controller.workers import WorkerProcess
from model_provisioner.domain.queueing import Waiting, next_in_line


class Slots:
    """Hands `workers` out, one holder at a time each."""

    def __init__(self, workers: list[WorkerProcess]) -> None:
        self._size = len(workers)
        self._free = list(workers)
        self._tickets: dict[str, tuple[Waiting, asyncio.Future[WorkerProcess]]] = {}

    @contextlib.asynccontextmanager
    async def slot(self, waiting: Waiting) -> AsyncIterator[WorkerProcess]:
        """A worker for as long as the block runs; leaving the queue by cancellation loses no slot."""
        ticket: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
        self._tickets[waiting.uid] = (waiting, ticket)
        self._grant()
        try:
            worker = await ticket
        except asyncio.CancelledError:
            self._leave(waiting.uid, ticket)
            raise
        try:
            yield worker
        finally:
            self._free.append(worker)
            self._grant()

    def reprioritise(self, uid: str, priority: int) -> None:
        """Moves an object that waits; one that runs is not touched."""
        if uid in self._tickets:
            waiting, ticket = self._tickets[uid]
            self._tickets[uid] = (replace(waiting, priority=priority), ticket)

    @property
    def busy(self) -> int:
        """How many workers are handed out."""
        return self._size - len(self._free)

    @property
    def stuck(self) -> bool:
        """Slots are free and objects wait: this must never last."""
        return bool(self._free) and bool(self._tickets)

    def _leave(self, uid: str, ticket: asyncio.Future[WorkerProcess]) -> None:
        self._tickets.pop(uid, None)
        if ticket.done() and not ticket.cancelled():
            self._free.append(ticket.result())
            self._grant()

    def _grant(self) -> None:
        while self._free and (first := next_in_line(waiting for waiting, _ in self._tickets.values())):
            _, ticket = self._tickets.pop(first.uid)
            if not ticket.done():
                ticket.set_result(self._free.pop(0))
