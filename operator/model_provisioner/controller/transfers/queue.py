"""The download queue: at most N transfers at one time, the most urgent first.

A slot is a worker process. The order is rebuilt from the objects after a restart, because every
object asks for its slot again; nothing is stored. So that then the fastest to ask is not served before
the most urgent, nobody is served until all that were there have asked, or some seconds have passed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection
from itertools import count

from model_provisioner.controller.workers.child_process import WorkerProcess
from model_provisioner.domain.scheduling.queueing import Share, Waiting, next_in_line

_SYNC_SECONDS = 5.0


class TransferQueue:
    """Hands `workers` out, one holder at a time each."""

    def __init__(self, workers: list[WorkerProcess]) -> None:
        self._size = len(workers)
        self._free = list(workers)
        self._shares: dict[str, Share] = {}
        self._served = count(1)
        self._tickets: dict[str, tuple[Waiting, asyncio.Future[WorkerProcess]]] = {}
        self._expected: set[str] = set()

    def hold_until_synced(self, uids: Collection[str]) -> None:
        """Serves nobody until each of `uids` has `reported`, or a few seconds have passed."""
        self._expected = set(uids)
        asyncio.get_running_loop().call_later(_SYNC_SECONDS, self._begin)

    def mark_synced(self, uid: str) -> None:
        """This object waits in the queue, or has found that it need not."""
        if self._expected:
            self._expected.discard(uid)
            self._grant()

    @contextlib.asynccontextmanager
    async def acquire(self, waiting: Waiting, reporting: Collection[str] = ()) -> AsyncIterator[WorkerProcess]:
        """A worker for as long as the block runs; leaving the queue by cancellation loses no slot.

        The objects with the uids `reporting` need not be waited for any longer.
        """
        ticket: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
        self._tickets[waiting.uid] = (waiting, ticket)
        self._expected.difference_update(reporting)
        self._grant()
        try:
            worker = await ticket
        except asyncio.CancelledError:
            self._leave(waiting, ticket)
            raise
        try:
            yield worker
        finally:
            self._take_back(waiting, worker)

    def reorder(self, waiting: Waiting) -> None:
        """Moves who waits; who runs is not touched."""
        if waiting.uid in self._tickets:
            _, ticket = self._tickets[waiting.uid]
            self._tickets[waiting.uid] = (waiting, ticket)

    @property
    def size(self) -> int:
        """How many workers there are."""
        return self._size

    def running(self, namespace: str) -> int:
        """How many workers have been handed out to it."""
        return self._share(namespace).running

    def waiting(self, namespace: str) -> int:
        """How many of it are in the queue."""
        return sum(waiting.namespace == namespace for waiting, _ in self._tickets.values())

    @property
    def busy(self) -> int:
        """How many workers are handed out."""
        return self._size - len(self._free)

    @property
    def stuck(self) -> bool:
        """TransferQueue are free and objects wait: this must never last."""
        return bool(self._free) and bool(self._tickets)

    def _share(self, namespace: str) -> Share:
        return self._shares.get(namespace, Share())

    def _begin(self) -> None:
        self._expected.clear()
        self._grant()

    def _leave(self, waiting: Waiting, ticket: asyncio.Future[WorkerProcess]) -> None:
        self._tickets.pop(waiting.uid, None)
        if ticket.done() and not ticket.cancelled():
            self._take_back(waiting, ticket.result())

    def _take_back(self, waiting: Waiting, worker: WorkerProcess) -> None:
        self._free.append(worker)
        self._shares[waiting.namespace] = self._share(waiting.namespace).ended()
        self._grant()

    def _grant(self) -> None:
        if self._expected:
            return
        while self._free and (first := next_in_line((waiting for waiting, _ in self._tickets.values()), self._shares)):
            _, ticket = self._tickets.pop(first.uid)
            if not ticket.done():
                self._shares[first.namespace] = self._share(first.namespace).served(next(self._served))
                ticket.set_result(self._free.pop(0))
