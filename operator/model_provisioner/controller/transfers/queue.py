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
        self._sequence = count(1)
        self._waiters: dict[str, tuple[Waiting, asyncio.Future[WorkerProcess]]] = {}
        self._unsynced: set[str] = set()

    def hold_until_synced(self, uids: Collection[str]) -> None:
        """Serves nobody until each of `uids` has `reported`, or a few seconds have passed."""
        self._unsynced = set(uids)
        asyncio.get_running_loop().call_later(_SYNC_SECONDS, self._stop_holding)

    def mark_synced(self, uid: str) -> None:
        """This object waits in the queue, or has found that it need not."""
        if self._unsynced:
            self._unsynced.discard(uid)
            self._dispatch()

    @contextlib.asynccontextmanager
    async def acquire(self, waiting: Waiting, synced: Collection[str] = ()) -> AsyncIterator[WorkerProcess]:
        """A worker for as long as the block runs; leaving the queue by cancellation loses no slot.

        The objects with the uids `synced` need not be waited for any longer.
        """
        future: asyncio.Future[WorkerProcess] = asyncio.get_running_loop().create_future()
        self._waiters[waiting.uid] = (waiting, future)
        self._unsynced.difference_update(synced)
        self._dispatch()
        try:
            worker = await future
        except asyncio.CancelledError:
            self._cancel(waiting, future)
            raise
        try:
            yield worker
        finally:
            self._release(waiting, worker)

    def reorder(self, waiting: Waiting) -> None:
        """Moves who waits; who runs is not touched."""
        if waiting.uid in self._waiters:
            _, future = self._waiters[waiting.uid]
            self._waiters[waiting.uid] = (waiting, future)

    @property
    def size(self) -> int:
        """How many workers there are."""
        return self._size

    def running(self, namespace: str) -> int:
        """How many workers have been handed out to it."""
        return self._share(namespace).running

    def waiting(self, namespace: str) -> int:
        """How many of it are in the queue."""
        return sum(waiting.namespace == namespace for waiting, _ in self._waiters.values())

    @property
    def busy(self) -> int:
        """How many workers are handed out."""
        return self._size - len(self._free)

    @property
    def stuck(self) -> bool:
        """TransferQueue are free and objects wait: this must never last."""
        return bool(self._free) and bool(self._waiters)

    def _share(self, namespace: str) -> Share:
        return self._shares.get(namespace, Share())

    def _stop_holding(self) -> None:
        self._unsynced.clear()
        self._dispatch()

    def _cancel(self, waiting: Waiting, future: asyncio.Future[WorkerProcess]) -> None:
        self._waiters.pop(waiting.uid, None)
        if future.done() and not future.cancelled():
            self._release(waiting, future.result())

    def _release(self, waiting: Waiting, worker: WorkerProcess) -> None:
        self._free.append(worker)
        self._shares[waiting.namespace] = self._share(waiting.namespace).ended()
        self._dispatch()

    def _dispatch(self) -> None:
        if self._unsynced:
            return
        while self._free and (first := next_in_line((waiting for waiting, _ in self._waiters.values()), self._shares)):
            _, future = self._waiters.pop(first.uid)
            if not future.done():
                self._shares[first.namespace] = self._share(first.namespace).served(next(self._sequence))
                future.set_result(self._free.pop(0))
